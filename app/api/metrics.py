"""Prometheus' page of a web process: what it counted, and what the database says of all."""

import time
from typing import Final

import structlog
from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from saq.types import CountKind

from app.deliveries import backlog, heartbeat
from app.errors import NotFound
from app.services import Services

log = structlog.get_logger(__name__)

#: However often somebody asks, the database is asked this often at most.
KEPT_S: Final = 5.0
_JOBS: Final[tuple[CountKind, ...]] = ("queued", "active", "incomplete")
_SHARED: Final = "The same from every web process: take the largest, not the sum."


class Overview:
    """The figures that no process counts: they are read when Prometheus asks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._read_at = -KEPT_S

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"oneprotect_{name}", text, labels, registry=self.registry)

        self._up = gauge("database_up", "Whether the database answered this process.")
        self._backlog = gauge(
            "backlog_deliveries",
            f"Deliveries still owed; counted up to {backlog.MOST}. {_SHARED}",
            "state",
        )
        self._oldest = gauge("oldest_due_seconds", f"How late the latest one is. {_SHARED}")
        self._worker = gauge("worker_alive", f"Whether any worker is alive. {_SHARED}")
        self._jobs = gauge("queue_jobs", f"Jobs at the SAQ broker. {_SHARED}", "state")
        self._viewers = gauge("live_viewers", "Live streams that this process serves.")

    async def read(self, services: Services) -> bytes:
        self._viewers.set(services.hub.watchers)
        if time.monotonic() - self._read_at >= KEPT_S:
            self._read_at = time.monotonic()
            await self._ask(services)
        return generate_latest(self.registry)

    async def _ask(self, services: Services) -> None:
        try:
            async with services.database.reading() as session:
                owed = await backlog.read(session)
                self._worker.set(await heartbeat.is_alive(session))
            for state, count in owed.deliveries.items():
                self._backlog.labels(state.value).set(count)
            self._oldest.set(owed.oldest_due_s)
            self._up.set(1)
        except Exception as fault:  # noqa: BLE001  # what is left of the page is needed most then
            log.warning("metrics.database_away", fault=type(fault).__name__)
            self._backlog.clear()
            self._up.set(0)
        try:
            for kind in _JOBS:
                self._jobs.labels(kind).set(await services.queue.count(kind))
        except Exception as fault:  # noqa: BLE001  # as above
            log.warning("metrics.queue_away", fault=type(fault).__name__)
            self._jobs.clear()


@get("/metrics", summary="Prometheus metrics", tags=["System"], media_type=MediaType.TEXT)
async def metrics(
    request: Request[None, None, State], services: NamedDependency[Services]
) -> Response[bytes]:
    if not services.settings.metrics:
        raise NotFound
    state = request.app.state
    if "overview" not in state:
        state["overview"] = Overview()
    overview: Overview = state["overview"]
    # Litestar adds the charset itself.
    kind = CONTENT_TYPE_LATEST.partition("; charset")[0]
    return Response(await overview.read(services) + generate_latest(), media_type=kind)
