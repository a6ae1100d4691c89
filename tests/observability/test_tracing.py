"""Traces from publish to receipt, with the real SDK: in memory, and over OTLP to a collector."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import select, text

from app.events.models import Event
from app.observability.tracing import Parent, Tracing, child_of
from app.runtime import tracing_of
from tests.behaviours import answer, fail_first
from tests.receiver import Receiver
from tests.world import World, open_world

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = CALLER[:-2] + "00"


class Traced:
    """A world whose web and worker trace into one memory."""

    def __init__(self, world: World, ratio: float) -> None:
        self.world = world
        self._memory = InMemorySpanExporter()
        self.tracing = Tracing("test", ratio=ratio, processor=SimpleSpanProcessor(self._memory))
        world.services.tracing = self.tracing

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._memory.get_finished_spans() if span.name == name]

    async def contexts(self) -> list[str | None]:
        async with self.world.database.reading() as session:
            rows = await session.execute(select(Event.trace_context).order_by(Event.id))
            return list(rows.scalars())

    async def publish(self, traceparent: str | None = None, **fields: Any) -> None:
        headers = {"traceparent": traceparent} if traceparent else {}
        body = {"type": "alert.created", "data": {"severity": "high"}} | fields
        done = await self.world.as_("acme_admin").post("/events", json=body, headers=headers)
        assert done.status_code == 202


@contextlib.asynccontextmanager
async def traced(world: World, ratio: float = 1.0) -> AsyncIterator[Traced]:
    made = Traced(world, ratio)
    yield made
    made.tracing.close()


async def settle(made: Traced, count: int) -> Sequence[ReadableSpan]:
    async def all_there() -> Any:
        return len(made.spans("deliver")) >= count

    await made.world.until(all_there)
    return made.spans("deliver")


async def test_every_attempt_is_a_child_of_its_publish(world: World) -> None:
    async with traced(world) as made, Receiver(fail_first(2)) as receiver:
        shown = await world.make_destination(receiver.url)
        async with world.worker(tracing=made.tracing):
            await made.publish()
            attempts = await settle(made, 3)
        (publish,) = made.spans("publish")
        (delivery,) = await world.deliveries()

    assert publish.context
    assert {publish.context.trace_id} == {span.context.trace_id for span in attempts}
    assert {publish.context.span_id} == {span.parent.span_id for span in attempts}
    assert 3 == len({span.context.span_id for span in attempts})
    facts = [dict(span.attributes or {}) for span in attempts]
    assert [(1, "http_error", 500), (2, "http_error", 500), (3, "delivered", 200)] == [
        (f["oneprotect.attempt"], f["oneprotect.outcome"], f["http.response.status_code"])
        for f in facts
    ]
    assert {(delivery["id"], delivery["event_id"], shown["id"])} == {
        (f["oneprotect.delivery_id"], f["oneprotect.event_id"], f["oneprotect.destination_id"])
        for f in facts
    }
    assert ["ERROR", "ERROR", "OK"] == [span.status.status_code.name for span in attempts]
    for span in attempts:
        assert publish.start_time - 5_000_000 <= span.start_time <= span.end_time


async def test_the_callers_trace_goes_on(world: World) -> None:
    async with traced(world, ratio=0.0) as made:
        await made.publish(CALLER)
        (span,) = made.spans("publish")
        (stored,) = await made.contexts()

    assert (CALLER[3:35], CALLER[36:52]) == (
        f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}",
    )  # fmt: skip
    assert f"00-{CALLER[3:35]}-{span.context.span_id:016x}-01" == stored


async def test_what_is_not_sampled_is_not_stored_unless_the_caller_has_a_trace(
    world: World,
) -> None:
    async with traced(world, ratio=0.0) as made:
        await made.publish()
        await made.publish(UNSAMPLED)
        none, theirs = await made.contexts()

    assert none is None
    assert (CALLER[3:35], "00") == (theirs[3:35], theirs[-2:])  # type: ignore[index]
    assert [] == made.spans("publish")


async def test_a_batch_is_one_trace(world: World) -> None:
    async with traced(world) as made:
        events = [{"type": "a.b", "data": {}}] * 3
        await world.as_("acme_admin").post("/events/batch", json={"events": events})
        (span,) = made.spans("publish")

        assert 1 == len(set(await made.contexts()))
    assert 3 == span.attributes["oneprotect.events"]


async def test_a_receiver_that_asks_gets_the_attempts_own_context(world: World) -> None:
    async with traced(world) as made, Receiver(fail_first(1)) as receiver:
        await world.make_destination(receiver.url + "/asks", trace_context=True)
        await world.make_destination(receiver.url + "/does-not")
        async with world.worker(tracing=made.tracing):
            await made.publish()
            spans = await settle(made, 3)

        given = {}
        for request in receiver.requests:
            given.setdefault(request.path, []).append(request.header("traceparent"))

    ours = {
        f"00-{s.context.trace_id:032x}-{s.context.span_id:016x}-{int(s.context.trace_flags):02x}"
        for s in spans
    }
    assert {None} == set(given["/hook/does-not"])
    assert set(given["/hook/asks"]) <= ours
    assert len(given["/hook/asks"]) == len(set(given["/hook/asks"])) >= 1


async def test_a_receiver_that_asks_gets_a_trace_that_is_not_sampled_too(world: World) -> None:
    async with traced(world, ratio=0.0) as made, Receiver() as receiver:
        await world.make_destination(receiver.url, trace_context=True)
        async with world.worker(tracing=made.tracing):
            await made.publish(UNSAMPLED)
            await made.publish()
            await world.until(lambda: _all_delivered(world, 2))

        headers = [request.header("traceparent") for request in receiver.requests]

    assert [] == made.spans("deliver")
    (header,) = [one for one in headers if one]
    assert (CALLER[3:35], "00") == (header[3:35], header[-2:])


async def _all_delivered(world: World, count: int) -> bool:
    return len(await world.deliveries(state="delivered")) == count


async def test_without_tracing_nothing_is_stored_and_nothing_sent(world: World) -> None:
    assert world.services.tracing is None
    async with Receiver() as receiver:
        await world.make_destination(receiver.url, trace_context=True)
        async with world.worker():
            body = {"type": "a.b", "data": {}}
            await world.as_("acme_admin").post("/events", json=body,
                                               headers={"traceparent": CALLER})  # fmt: skip
            await world.until(lambda: _all_delivered(world, 1))
        (request,) = receiver.requests

    assert request.header("traceparent") is None
    async with world.database.reading() as session:
        stored = await session.execute(text("SELECT DISTINCT trace_context FROM event"))
        assert [None] == list(stored.scalars())


async def test_a_publish_that_fails_is_told_by_the_type_of_its_fault_alone(world: World) -> None:
    async with traced(world) as made:
        await made.publish(id="own-key")
        wrong = {"type": "alert.created", "data": {"severity": "s3cret"}, "id": "own-key"}
        refused = await world.as_("acme_admin").post("/events", json=wrong)
        _, span = made.spans("publish")

    assert 409 == refused.status_code
    assert ("ERROR", "Conflict", ()) == (
        span.status.status_code.name, span.status.description, span.events,
    )  # fmt: skip


async def test_the_option_is_shown_changed_and_checked(world: World) -> None:
    made = await world.make_destination("https://93.184.216.34/hook")
    path = f"/integrations/destinations/{made['id']}"
    admin = world.as_("acme_admin")

    on = await admin.patch(path, json={"trace_context": True})
    wrong = await admin.patch(path, json={"trace_context": "yes"})
    trail = (await admin.get("/audit")).json()["items"][0]

    assert (False, True) == (made["trace_context"], on.json()["trace_context"])
    assert (400, "trace_context must be true or false") == (
        wrong.status_code, wrong.json()["detail"],
    )  # fmt: skip
    assert {"trace_context": {"from": False, "to": True}} == trail["changes"]


async def test_spans_reach_a_collector_over_otlp(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver(answer(200, b"")) as collector, Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "ONEPROTECT_TRACING_RATIO": "1"}
        async with open_world(database_url, **given) as world:
            await world.make_destination(receiver.url)
            tracing = tracing_of(world.settings, "worker")
            async with world.worker(tracing=tracing):
                await world.publish()
                await world.until(lambda: _names(collector, {"publish", "deliver"}))
            assert tracing
            await asyncio.to_thread(tracing.close)
        services = {
            (attribute.key, attribute.value.string_value)
            for request in collector.requests
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans
            for attribute in resource.resource.attributes
        }

    assert {"/hook/v1/traces"} == {request.path for request in collector.requests}
    assert {("service.name", "oneprotect-webhooks"), ("oneprotect.process", "web"),
            ("oneprotect.process", "worker")} <= services  # fmt: skip


async def _names(collector: Receiver, wanted: set[str]) -> bool:
    found = {
        span.name
        for request in collector.requests
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    return wanted <= found


def test_a_collector_that_is_away_does_not_hold_up_a_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    tracing = Tracing("test", ratio=1.0)
    with tracing.publishing(None, 1):
        pass
    started = time.monotonic()

    tracing.close()

    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "text",
    ["", "00", "x" * 55, CALLER[:-1], f"{CALLER}-00", CALLER.replace("4bf9", "zzzz"),
     "00-" + "0" * 32 + "-00f067aa0ba902b7-01"],
)  # fmt: skip
def test_what_is_no_traceparent_starts_a_trace_of_ours(text: str) -> None:
    assert Parent.parse(text) is None


def test_a_childs_id_follows_from_its_name() -> None:
    parent = Parent.parse(CALLER)
    assert parent
    ids = [child_of(parent, name) for name in ("dlv_1:1", "dlv_1:2", "dlv_1:1")]

    assert ids[0] == ids[2] != ids[1]
    assert CALLER == str(parent)
    assert {parent.trace_id} == {one.trace_id for one in ids}
