"""Plant known secrets, do all that the product can do with them, then look for them everywhere."""

import asyncio
import base64
import json
import secrets
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.behaviours import Conversation
from tests.receiver import Receiver
from tests.security.needles import Needle
from tests.security.site import Site, site_of
from tests.security.stored import execute
from tests.security.walk import Ids, Portal, every_get_route, every_row
from tests.tools.programs import Program, environment
from tests.world import TOKENS, until

FAULTS = Path(__file__).parent / "faults"
ADMIN = {"Authorization": f"Bearer {TOKENS['acme_admin']}"}
DESTINATIONS = "/api/v1/integrations/destinations"


async def echo(talk: Conversation) -> None:
    """Fail once, and answer with all that came, as request bins and debug pages do."""
    came = dict(talk.request.headers)
    secret = came.get("Authorization", "")
    body = json.dumps({"headers": came, "plain": secret, "word": secret.partition(" ")[2]})
    headers = [("x-request-id", came.get("X-Canary", "none"))]
    await talk.answer(500 if talk.number == 1 else 200, body.encode(), headers)


def whsec(key: bytes) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


@pytest.mark.timeout(180)
async def test_a_planted_secret_is_found_nowhere(database_url: str, tmp_path: Path) -> None:
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    header, password = secrets.token_hex(20), secrets.token_urlsafe(24)
    async with site_of(database_url, tmp_path) as site, Receiver(echo) as receiver:
        needles = [
            Needle("signing secret", first),
            Needle("rotated secret", second),
            Needle("header value", header.encode()),
            Needle("password", password.encode()),
            Needle("encryption key", site.keys[0]),
        ]
        client = await site.serve()
        worker = await site.start("worker", "worker.started")
        token = (
            await site.run("token", "create", "--tenant", "acme", "--name", "canary",
                           "--role", "tenant_admin")
        ).strip()  # fmt: skip
        needles.append(Needle("token", token.encode()))
        admin = {"Authorization": f"Bearer {token}"}
        client.headers.update(admin)
        await site.run(
            "user", "create", "--tenant", "acme", "--email", "canary@acme.example",
            "--name", "Canary", "--role", "tenant_admin", stdin=password,
        )  # fmt: skip

        # The two answers that may show a secret: they do, once each, and are not searched.
        control = Needle("control", secrets.token_hex(16).encode())
        made = await _create(client, receiver.url, first, header, control.raw.decode())
        rotated = await client.post(
            f"{DESTINATIONS}/{made['id']}/rotate-secret", json={"signing_secret": whsec(second)}
        )
        assert (whsec(first), whsec(second)) == (
            made["signing_secret"],
            rotated.json()["signing_secret"],
        )

        ids = await _live_through(site, client, receiver, made["id"], first, header)
        await _be_refused(site, client, first, header, token)
        await _be_refused_by_forms(site, whsec(first), password, made["id"])
        await _crash(site, client, worker)
        await _rekey(site, client, needles)
        await _look_at_everything(site, client, ids, token, password)

        for program in site.programs:
            program.end()
            site.haystack.add("log", program.output)
        await asyncio.to_thread(every_row, site.url, site.haystack)

    assert any("attempt.crashed" in program.output for program in site.programs)
    assert len(site.haystack) > 150, "the walk saw too little to prove anything"
    assert [] == site.broken, site.programs[0].output[-3000:]
    assert set() == site.haystack.leaks(needles)
    seen = {place.partition(" ")[0] for _, place in site.haystack.leaks([control])}
    assert {"GET", "page"} < seen
    assert seen & {"file", "table"}, "the search finds what is there"
    assert receiver.requests[0].header("X-Canary") == header, "the receiver did get it"


async def _create(
    client: httpx.AsyncClient, url: str, secret: bytes, header: str, name: str = "Canary"
) -> dict[str, Any]:
    fields = {
        "name": name,
        "endpoint_url": url,
        "signing_secret": whsec(secret),
        "headers": {"X-Canary": header, "Authorization": f"Bearer {header}"},
    }
    answer = await client.post(DESTINATIONS, json=fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def _publish(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/v1/events", json={"type": "alert.created", "data": {}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def _states(client: httpx.AsyncClient, event_id: str) -> dict[str, str]:
    answer = await client.get(f"/api/v1/integrations/deliveries?event_id={event_id}")
    return {item["destination_id"]: item["state"] for item in answer.json()["items"]}


async def _live_through(
    site: Site,
    client: httpx.AsyncClient,
    receiver: Receiver,
    destination_id: str,
    secret: bytes,
    header: str,
) -> Ids:
    """Deliver after a retry, fail for good, be refused at the guard; return ids of each kind."""
    dead = await _create(client, "http://127.0.0.1:9/nobody", secret, header)
    stolen = await _create(client, f"{receiver.url}/moved", secret, header)
    await asyncio.to_thread(_aim, site.url, stolen["id"], "http://169.254.169.254/latest")
    event_id = await _publish(client)

    async def settled() -> bool:
        states = await _states(client, event_id)
        return [states[destination_id], states[dead["id"]], states[stolen["id"]]] == [
            "delivered",
            "failed",
            "failed",
        ]

    await until(settled, within_s=30)
    listed = await client.get(f"/api/v1/integrations/deliveries?destination_id={stolen['id']}")
    assert "destination_not_allowed" == listed.json()["items"][0]["last_outcome"]
    delivery_id = listed.json()["items"][0]["id"]
    return Ids(destination_id=destination_id, delivery_id=delivery_id, event_id=event_id)


def _aim(url: str, destination_id: str, at: str) -> None:
    """Change a stored URL behind the product's back."""
    execute(url, "UPDATE destination SET endpoint_url = ? WHERE id = ?", at, destination_id)


async def _be_refused(
    site: Site, client: httpx.AsyncClient, secret: bytes, header: str, token: str
) -> None:
    """Make every kind of mistake with a secret in it; no refusal may repeat it."""
    text = whsec(secret)
    good = {"name": "x", "endpoint_url": "https://hooks.example.com"}
    full = good | {"signing_secret": text, "headers": {"X": header}}
    bad: list[dict[str, Any]] = [
        full | {"endpoint_url": "http://10.0.0.1"},
        full | {"name": ""},
        good | {"signing_secret": f"{text}!"},
        good | {"signing_secret": [text]},
        good | {"signing_secret": text[6:]},
        good | {"headers": {"X": f"{header}\r\n"}},
        good | {"headers": {"Host": header}},
        good | {"headers": {"X": [header]}},
        good | {"ordered": header},
        good | {"rate_limit_per_second": header, "event_types": [text]},
    ]
    for fields in bad:
        answer = await client.post(DESTINATIONS, json=fields)
        assert answer.status_code == 400, (fields, answer.text)
        site.haystack.add("refused create", answer.content)
    answer = await client.post(DESTINATIONS, content=f'{{"signing_secret": "{text}"')
    site.haystack.add("broken JSON", answer.content)
    for wrong in (f"{token}x", token[:-1], f" {token[3:]}"):
        answer = await client.get("/api/v1/me", headers={"Authorization": f"Bearer {wrong}"})
        assert answer.status_code == 401
        site.haystack.add("refused token", answer.content)


async def _be_refused_by_forms(site: Site, secret: str, password: str, destination_id: str) -> None:
    """The same mistakes in the portal's forms, which come back filled in."""
    portal = Portal(str(site.client.base_url))
    where, page = "/integrations", f"/integrations/{destination_id}"
    wrong = await portal.sign_in("canary@acme.example", f"{password}!")
    await portal.sign_in("canary@acme.example", password)
    fields = {"name": "x", "endpoint_url": "http://10.0.0.1", "signing_secret": secret}
    answers = [
        wrong,
        await portal.post(where, page=where, **fields),
        await portal.post(where, page=where, **fields | {"signing_secret": f"{secret}!"}),
        await portal.post(
            f"{page}/rotate-secret", page=page, signing_secret=f"{secret}!", overlap_seconds="0"
        ),
    ]
    await portal.close()
    assert [401, 400, 400, 400] == [answer.status_code for answer in answers]
    for answer in answers:
        site.haystack.add("refused form", _whole(answer))


async def _crash(site: Site, client: httpx.AsyncClient, worker: Program) -> None:
    """Kill a worker at work, then run one whose code raises with the secrets in reach."""
    await _publish(client)
    await asyncio.to_thread(worker.stop, signal.SIGKILL)
    fault = site.folder / "fault"
    fault.touch()
    path = f"{FAULTS}:{environment()['PYTHONPATH']}"
    broken = await site.start("worker", "worker.started", FAULT_FILE=str(fault), PYTHONPATH=path)
    await _publish(client)
    await asyncio.to_thread(broken.wait_for, "attempt.crashed")
    fault.unlink()
    await asyncio.to_thread(broken.stop, signal.SIGABRT)


async def _rekey(site: Site, client: httpx.AsyncClient, needles: list[Needle]) -> None:
    """Seal everything under a new key, and deliver once more without the old one."""
    old, new = site.keys[0], secrets.token_bytes(32)
    needles.append(Needle("new encryption key", new))
    site.keys = [new, old]
    assert "re-encrypted" in await site.run("rekey")
    site.keys = [new]
    await site.start("worker", "worker.started")
    event_id = await _publish(client)

    async def delivered() -> bool:
        return "delivered" in (await _states(client, event_id)).values()

    await until(delivered, within_s=30)


async def _look_at_everything(
    site: Site, client: httpx.AsyncClient, ids: Ids, token: str, password: str
) -> None:
    for who, path, answer in await every_get_route(client, ids, TOKENS | {"canary": token}):
        site.broken += [f"{who} {path}"] * (answer.status_code >= 500)
        site.haystack.add(f"GET {path} as {who}", _whole(answer))
    for email, text in {
        "canary@acme.example": password,
        "operator@acme.example": "oneprotect-local",
        "auditor@acme.example": "oneprotect-local",
    }.items():
        portal = Portal(str(client.base_url))
        site.haystack.add("sign-in", _whole(await portal.sign_in(email, text)))
        for path, answer in (await portal.every_page()).items():
            site.broken += [f"{email} {path}"] * (answer.status_code >= 500)
            site.haystack.add(f"page {path} of {email}", _whole(answer))
        await portal.close()


def _whole(answer: httpx.Response) -> bytes:
    return repr(answer.headers.multi_items()).encode() + answer.content
