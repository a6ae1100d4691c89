"""A worker as it runs: scraped on its own port, traced to a collector, heard in its log."""

import asyncio
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from app.observability.tracing import Tracing
from tests.receiver import Receiver
from tests.tools.programs import free_port, running
from tests.world import World


def spans_in(collector: Receiver) -> list[tuple[str, str]]:
    """Return (trace id, name) of every span that the collector was sent."""
    return [
        (span.trace_id.hex(), span.name)
        for request in list(collector.requests)
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def test_a_worker_is_seen_from_outside_in_all_three_ways(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver() as receiver, Receiver() as collector:
        endpoint = f"http://127.0.0.1:{collector.port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        world.services.tracing = Tracing("web", ratio=1.0)
        made = await world.make_destination(receiver.url, trace_context=True)
        event = await world.publish()
        port = free_port()
        env = {
            "DATABASE_URL": world.url, "EGRESS_ALLOW": "127.0.0.1/32",
            "SECRET_KEYS": ",".join(world.settings.secret_keys),
            "METRICS_PORT": str(port), "LOG_LEVEL": "debug",
        }  # fmt: skip
        with running(tmp_path, "worker", **env) as worker:
            await receiver.wait_for(1, timeout_s=30)
            line = await asyncio.to_thread(worker.wait_for, "attempt.recorded")
            page = await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{port}/metrics")
            await world.until(lambda: _both(collector), within_s=20)
            worker.process.terminate()
            await asyncio.to_thread(worker.process.wait, 20)
        await asyncio.to_thread(world.services.tracing.close)
        header = receiver.requests[0].header("traceparent")

    for told in ("outcome=delivered", f"event_id={event['id']}", f"destination_id={made['id']}"):
        assert told in line
    counted = {
        sample.name: sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
        if sample.labels == {"outcome": "delivered"}
    }
    assert 1 == counted["oneprotect_attempts_total"]
    assert 1 == counted["oneprotect_attempt_duration_seconds_count"]
    assert header
    assert {(header[3:35], "publish"), (header[3:35], "deliver")} == set(spans_in(collector))


async def _both(collector: Receiver) -> bool:
    return len(spans_in(collector)) >= 2
