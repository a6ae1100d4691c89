"""What an attempt sent, told afterwards: every header, no secret; and the same as a command."""

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from tests.behaviours import Received, fail_first
from tests.receiver import Receiver
from tests.world import World

#: Whatever a shell could take for its own.
HOSTILE = {"q": 'it\'s $(id) `id` \\ "x" !! ; rm -rf / & \n\t* ~ # %s @f ü\u2028', "'": "''"}
HIDDEN = {"x-oneprotect-signature", "webhook-signature", "x-api-key"}


async def delivered(world: World, receiver: Receiver, count: int = 1, **fields: Any) -> Any:
    """Deliver one event and return its delivery as the API tells it."""
    await world.make_destination(receiver.url, **fields)
    async with world.worker():
        await world.publish(data=HOSTILE)
        await receiver.wait_for(count)
        (delivery,) = await world.until(lambda: world.deliveries(state="delivered"))
    return await world.delivery(delivery["id"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    empty = tmp_path / "empty"
    empty.mkdir()
    return empty


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def of_request(request: Received) -> dict[str, str]:
    """Return what we chose to send: not what the connection needs."""
    return {n: v for n, v in request.headers if n.lower() not in {"host", "content-length"}}


async def test_every_header_is_told_as_it_was_sent_and_secrets_are_hidden(world: World) -> None:
    headers = {"X-Api-Key": "hunter2-hunter2"}
    async with Receiver(fail_first(1)) as receiver:
        detail = await delivered(world, receiver, 2, headers=headers)
        sent = [of_request(request) for request in receiver.requests]

    told = [attempt["request_headers"] for attempt in detail["attempts"]]
    for really, said in zip(sent, told, strict=True):
        assert list(really) == list(said)
        for name, value in really.items():
            expected = "[hidden]" if name.lower() == "x-api-key" else value
            if "signature" in name.lower():
                expected = "v1,[hidden]"
            assert expected == said[name], name
    assert f"OneProtect-Webhooks/{__version__}" == told[0]["User-Agent"]
    assert "hunter2" not in json.dumps(detail)


async def test_each_kind_of_signature_is_counted(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url, asymmetric_signature=True)
        path = f"/integrations/destinations/{made['id']}/rotate-secret"
        assert 200 == (await world.as_("acme_admin").post(path)).status_code
        async with world.worker():
            await world.publish()
            (delivery,) = await world.until(lambda: world.deliveries(state="delivered"))
        really = receiver.requests[0].header("webhook-signature")

    (attempt,) = (await world.delivery(delivery["id"]))["attempts"]
    said = attempt["request_headers"]["webhook-signature"]
    assert [one.partition(",")[0] for one in really.split()] == [
        one.partition(",")[0] for one in said.split()
    ]
    assert "v1,[hidden] v1,[hidden] v1a,[hidden]" == said


async def test_names_are_those_of_the_time_not_of_today(world: World) -> None:
    async with Receiver() as receiver:
        detail = await delivered(world, receiver, headers={"X-Then": "then"})
        path = f"/integrations/destinations/{detail['destination_id']}"
        await world.as_("acme_admin").patch(path, json={"headers": {"X-Now": "now"}})

    (attempt,) = (await world.delivery(detail["id"]))["attempts"]
    assert {"X-Then"} == {"X-Then", "X-Now"} & set(attempt["request_headers"])


async def test_the_command_sends_what_the_attempt_sent(world: World, folder: Path) -> None:
    async with Receiver() as receiver:
        detail = await delivered(world, receiver, headers={"X-Api-Key": "hunter2-hunter2"})
        path = f"/integrations/deliveries/{detail['id']}/curl"
        answer = await world.as_("acme_admin").get(path)
        await run(answer.text, folder)
        (first, again) = await receiver.wait_for(2)

    assert "text/plain" in answer.headers["content-type"]
    assert first.body == again.body
    assert HOSTILE == json.loads(again.body)["data"]
    for name, value in of_request(first).items():
        if name.lower() not in HIDDEN:
            assert value == again.header(name), name
    assert "v1,SIGNATURE" == again.header("webhook-signature")
    assert "VALUE-OF-X-API-KEY" == again.header("x-api-key")
    assert "hunter2" not in answer.text


async def run(command: str, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, told = await process.communicate()
    assert 0 == process.returncode, told.decode()
    assert [] == names_in(folder), "nothing but the request happened"


async def test_who_may_not_see_payloads_gets_the_command_without_one(world: World) -> None:
    async with Receiver() as receiver:
        detail = await delivered(world, receiver)

    path = f"/integrations/deliveries/{detail['id']}/curl"
    seen = {
        who: (await world.as_(who).get(path)).text
        for who in ("acme_admin", "acme_operator", "acme_auditor")
    }
    assert seen["acme_admin"] == seen["acme_operator"]
    assert ["--data-raw", "--data-binary"] == [
        next(word for word in shlex.split(seen[who]) if word.startswith("--data"))
        for who in ("acme_operator", "acme_auditor")
    ]
    assert "rm -rf" not in seen["acme_auditor"]


async def test_a_large_body_is_read_from_a_file(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish(data={"text": "x" * 200_000})
            (delivery,) = await world.until(lambda: world.deliveries(state="delivered"))

    path = f"/integrations/deliveries/{delivery['id']}/curl"
    text = (await world.as_("acme_admin").get(path)).text
    assert text.endswith("--data-binary @payload.json")
    assert len(text) < 2_000


async def test_the_attempt_is_chosen_by_its_number(world: World) -> None:
    async with Receiver(fail_first(1)) as receiver:
        detail = await delivered(world, receiver, 2)

    path, admin = f"/integrations/deliveries/{detail['id']}/curl", world.as_("acme_admin")
    for query, number in (("", "2"), ("?attempt=1", "1"), ("?attempt=2", "2")):
        assert f"X-OneProtect-Attempt: {number}'" in (await admin.get(path + query)).text
    assert 404 == (await admin.get(f"{path}?attempt=3")).status_code
    wrong = await admin.get(f"{path}?attempt=x")
    assert (400, "attempt") == (wrong.status_code, wrong.json()["errors"][0]["field"])


async def test_without_an_attempt_there_is_no_command(world: World) -> None:
    await world.make_destination("https://93.184.216.34/hook")
    await world.publish()
    (delivery,) = await world.deliveries()

    path = f"/integrations/deliveries/{delivery['id']}/curl"
    assert 404 == (await world.as_("acme_admin").get(path)).status_code
