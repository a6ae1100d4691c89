"""Redis as the broker hears of ids and nothing else: every word to it is searched."""

import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.receiver import Receiver
from tests.redis_server import running_redis
from tests.security.needles import Haystack, Needle
from tests.security.site import site_of
from tests.security.test_canary import DESTINATIONS, _create, _publish, echo
from tests.world import TOKENS, until


@pytest.mark.timeout(180)
async def test_no_secret_and_no_payload_is_ever_said_to_redis(
    database_url: str, tmp_path: Path
) -> None:
    key, header, payload = secrets.token_bytes(32), secrets.token_hex(20), secrets.token_hex(20)
    with running_redis() as redis, redis.overheard() as heard:
        async with site_of(database_url, tmp_path) as site, Receiver(echo) as receiver:
            site.queue = redis.url
            needles = [
                Needle("signing secret", key),
                Needle("header value", header.encode()),
                Needle("payload", payload.encode()),
                Needle("endpoint", receiver.url.encode()),
                Needle("encryption key", site.keys[0]),
                Needle("token", TOKENS["acme_admin"].encode()),
            ]
            client = await site.serve()
            client.headers["Authorization"] = f"Bearer {TOKENS['acme_admin']}"
            await site.start("worker", "worker.started")
            made = await _create(client, receiver.url, key, header)
            event = {"type": "alert.created", "data": {"plan": payload}}
            (await client.post("/api/v1/events", json=event)).raise_for_status()
            await until(lambda: arrived(receiver, 2), within_s=20)  # it fails once
            await _publish(client)
            job = await replayed(client, made)
            await until(lambda: arrived(receiver, 4), within_s=20)

    haystack = Haystack()
    haystack.add("redis", bytes(heard))

    assert set() == haystack.leaks(needles)
    assert job.encode() in heard, "the replay did go this way"
    assert b"wake" in heard or not database_url.startswith("sqlite")


async def replayed(client: httpx.AsyncClient, made: dict[str, Any]) -> str:
    wanted = {"since": made["created_at"], "states": ["delivered"]}
    answer = await client.post(f"{DESTINATIONS}/{made['id']}/replay", json=wanted)
    assert 202 == answer.status_code, answer.text
    return str(answer.json()["id"])


async def arrived(receiver: Receiver, count: int) -> bool:
    return len(receiver.requests) >= count
