"""Rows that no check has seen: an old version's, or written by hand. The worker refuses them."""

import json
from typing import Any

from app.audit.models import SYSTEM
from app.destinations import service
from app.destinations.rules import Draft
from tests.receiver import Receiver
from tests.security.corpus import egress_for, entries, is_storable
from tests.world import World

#: What reaches this machine's loopback through one library or another (ssrf.md, threat 2).
LOOPBACK_SPELLINGS = (
    "127.0.0.1", "0", "127.1", "0x7f.1", "2130706433", "017700000001", "0.0.0.0",
    "127。0。0。1", "①②⑦.⓪.⓪.①", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost",
    "localhost.localdomain", "*", "x@127.0.0.1", "127.0.0.1.",
)  # fmt: skip


async def _insert(world: World, urls: list[str]) -> None:
    """Register destinations without any check of their URLs."""
    async with world.database.transaction() as session:
        for url in urls:
            draft = Draft(name="stored before", endpoint_url=url)
            await service.register(session, "acme", draft, keyring=world.keyring, actor=SYSTEM)


async def _settled(world: World, event_id: str, count: int) -> list[dict[str, Any]]:
    """Wait until every delivery of the event has ended; return each with its attempts."""

    async def all_ended() -> list[dict[str, Any]] | None:
        detail = (await world.as_("acme_admin").get(f"/events/{event_id}")).json()
        ended = [row for row in detail["deliveries"] if row["state"] in {"failed", "delivered"}]
        return ended if len(ended) == count else None

    rows = await world.until(all_ended, within_s=30)
    return [await world.delivery(row["id"]) for row in rows]


async def test_every_private_url_in_a_row_is_refused_and_its_tenant_sees_no_address(
    world: World, dialled: list[str]
) -> None:
    chosen = [entry for entry in entries("reject", private=True) if is_storable(entry["url"])]
    urls = [entry["url"] for entry in chosen]
    await _insert(world, urls)
    world.services.egress = egress_for(*chosen)

    async with world.worker(egress_allow="", retry_schedule=()):
        event = await world.publish()
        deliveries = await _settled(world, event["id"], len(urls))

    assert len(deliveries) > 150
    attempts = [attempt for delivery in deliveries for attempt in delivery["attempts"]]
    assert {("destination_not_allowed", None, None)} == {
        (attempt["outcome"], attempt["response_status"], attempt["resolved_address"])
        for attempt in attempts
    }
    assert len(urls) == len(attempts)
    assert [] == dialled
    shown = json.dumps(deliveries)
    addresses = {ip for one in chosen for answer in one.get("dns", {}).values() for ip in answer}
    assert [] == [address for address in addresses if address in shown]


async def test_no_spelling_of_loopback_reaches_a_listening_sink(world: World) -> None:
    async with Receiver() as sink:
        urls = [f"http://{spelling}:{sink.port}/hook" for spelling in LOOPBACK_SPELLINGS]
        await _insert(world, urls)
        async with world.worker(egress_allow="", retry_schedule=()):
            event = await world.publish()
            deliveries = await _settled(world, event["id"], len(urls))
        connections = sink.connections

    assert 0 == connections
    assert {"destination_not_allowed"} == {delivery["last_outcome"] for delivery in deliveries}


async def test_the_same_sink_is_reached_once_the_operator_allows_it(world: World) -> None:
    """The proof that the tests above could fail."""
    async with Receiver() as sink:
        await world.make_destination(sink.url)
        async with world.worker(egress_allow=sink.place, retry_schedule=()):
            event = await world.publish()
            (delivery,) = await _settled(world, event["id"], 1)
        connections = sink.connections

    assert (1, "delivered") == (connections, delivery["state"])


async def test_a_row_that_turns_private_after_its_creation_is_refused(world: World) -> None:
    chosen = {"dns": {"hooks.public.example": ["10.0.0.7"]}}
    destination = await world.make_destination("https://hooks.public.example/hook")
    world.services.egress = egress_for(chosen)

    async with world.worker(egress_allow="", retry_schedule=()):
        event = await world.publish()
        (delivery,) = await _settled(world, event["id"], 1)

    assert destination["id"] == delivery["destination_id"]
    assert "destination_not_allowed" == delivery["last_outcome"]
