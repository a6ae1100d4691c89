"""Lists as files: all that the filters find, streamed, and safe to open in a spreadsheet."""

import csv
import io
import json

import pytest

from app.deliveries import queries
from app.exporting import Format, file_of
from tests.conftest import ENGINES
from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor
from tests.world import World


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every row of an export comes from SQL: it is asked of both engines."""
    return str(request.param)


async def publish(world: World, **counts: int) -> None:
    await world.make_destination("http://127.0.0.1:9/hook", name="=HYPERLINK(1)")
    for event_type, count in counts.items():
        events = [{"type": event_type.replace("_", "."), "data": {}} for _ in range(count)]
        await world.as_("acme_admin").post("/events/batch", json={"events": events})


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


async def test_deliveries_are_exported_as_filtered_whatever_their_number(
    admin: Visitor, world: World
) -> None:
    await publish(world, alert_created=queries.CHUNK + 3, incident_opened=2)

    whole = await admin.get("/deliveries/export?format=ndjson")
    some = await admin.get("/deliveries/export?type=incident.opened&format=ndjson")

    ids = [json.loads(line)["id"] for line in whole.text.splitlines()]
    assert queries.CHUNK + 5 == len(ids) == len(set(ids))
    assert ids == sorted(ids, reverse=True)
    assert ids[:2] == [json.loads(line)["id"] for line in some.text.splitlines()]
    assert "application/x-ndjson" in whole.headers["content-type"]
    assert 'attachment; filename="deliveries-' in whole.headers["content-disposition"]


async def test_a_cell_that_looks_like_a_formula_is_text(admin: Visitor, world: World) -> None:
    await publish(world, alert_created=1)

    answered = await admin.get("/deliveries/export")

    (row,) = rows_of(answered.text)
    assert "'=HYPERLINK(1)" == row["destination_name"]
    assert ("alert.created", "pending", "") == (row["event_type"], row["state"], row["last_status"])
    assert "text/csv; charset=utf-8" == answered.headers["content-type"]


async def test_events_are_exported_without_their_payloads(admin: Visitor, world: World) -> None:
    await publish(world, alert_created=2, incident_opened=1)

    found = rows_of((await admin.get("/events/export?type=alert.created")).text)

    assert ["alert.created"] * 2 == [row["type"] for row in found]
    assert {"id", "type", "created_at", "size_bytes", "delivery_count", "idempotency_key"} == set(
        found[0]
    )


async def test_the_trail_is_exported_oldest_first_and_as_filtered(
    admin: Visitor, world: World
) -> None:
    await publish(world)

    whole = rows_of((await admin.get("/audit/export")).text)
    some = (await admin.get("/audit/export?action=destination.created&format=ndjson")).text

    *whole, closing = whole
    assert [int(row["sequence"]) for row in whole] == list(range(1, len(whole) + 1))
    assert "#oneprotect-audit" == closing["id"]  # signed, as the API's
    entry, signed = (json.loads(line) for line in some.splitlines())
    assert "=HYPERLINK(1)" == entry["changes"]["name"]  # no spreadsheet reads NDJSON
    assert {"action": "destination.created"} == signed["signed_head"]["filters"]


async def test_the_pages_link_to_the_export_of_what_they_show(admin: Visitor, world: World) -> None:
    await publish(world, alert_created=1)

    for path, link in (
        ("/deliveries?state=pending", "/deliveries/export?state=pending&amp;format=csv"),
        ("/events?type=alert.created", "/events/export?type=alert.created&amp;format=ndjson"),
        ("/audit?action=destination.created", "/audit/export?action=destination.created&amp;"),
    ):
        assert link in (await admin.get(path)).text, path


async def test_nobody_exports_what_they_may_not_read(world: World, signed_in: SignedIn) -> None:
    await publish(world, alert_created=1)
    async with signed_in("operator") as visitor:
        assert 403 == (await visitor.get("/audit/export")).status_code
        assert 200 == (await visitor.get("/deliveries/export")).status_code
    async with signed_in("neighbour") as visitor:
        assert [] == rows_of((await visitor.get("/deliveries/export")).text)
        assert [] == rows_of((await visitor.get("/events/export")).text)


@pytest.mark.parametrize("path", ["/deliveries", "/events", "/audit"])
async def test_a_format_that_there_is_not_is_refused(admin: Visitor, path: str) -> None:
    assert 400 == (await admin.get(f"{path}/export?format=xlsx")).status_code


async def test_an_export_reads_on_only_as_its_reader_does(world: World) -> None:
    await publish(world, alert_created=60)
    read = 0

    async def counted():
        nonlocal read
        rows = queries.every_delivery(world.database, "acme", queries.DeliveryFilter(), chunk=20)
        async for row in rows:
            read += 1
            yield row

    lines = file_of(Format.NDJSON, queries.DeliveryRow, counted())
    text = b"".join([piece async for piece in lines])

    assert 60 == read == text.count(b"\n")
