"""Composition root of a worker: SAQ's stock Worker beside the delivery engine, in one loop."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import uuid4

import structlog
from prometheus_client import start_http_server
from saq.job import CronJob
from saq.queue.base import Queue
from saq.worker import Worker
from sqlalchemy.exc import SQLAlchemyError

from app import audit
from app.audit import Action, Target, upkeep
from app.audit.models import SYSTEM
from app.collector import calm_collector
from app.crypto import Keyring
from app.database import Database, utcnow
from app.deliveries import control, heartbeat, partitions, replaying, retention, watch
from app.deliveries.engine import SHUTDOWN_GRACE_S, Engine
from app.deliveries.store import Settled, store_for
from app.deliveries.telemetry import Telemetry, Traces
from app.destinations import signing_keys
from app.errors import NotFound, SettingsError
from app.identity.models import PLATFORM
from app.observability.logs import set_up_logs
from app.observability.tracing import Tracing
from app.runtime import check_before_start, egress_of, keyring_of, tracing_of
from app.sending.transport import Sender
from app.settings import Settings
from app.wakeup import (
    DUE_CHANNEL,
    JOB_TIMEOUT_S,
    REPLAY_JOB,
    WAKE_JOB,
    Bell,
    listen,
    open_queue,
)

log = structlog.get_logger(__name__)

Context = dict[str, Any]

#: A job of SAQ works on a replay for so long, then lets others have its place.
REPLAY_SLICE_S: Final = 2.0


def main(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    set_up_logs(settings.env, settings.log_level)
    calm_collector()
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop()) as runner:
        runner.run(run(settings))


def _loop() -> Any:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


async def run(settings: Settings) -> None:
    async with contextlib.AsyncExitStack() as stack:
        # A record lost to a power cut is an attempt made twice, never an event lost: no fsync.
        database = Database(settings.database_url, durable=False)
        stack.push_async_callback(database.close)
        await check_before_start(settings, database)
        egress = egress_of(settings)
        sender = Sender(
            egress.policy,
            timeout_s=settings.delivery_timeout,
            resolver=egress.resolver,
            proxy=settings.egress_proxy or None,
        )
        stack.push_async_callback(sender.aclose)
        queue = await open_queue(settings.broker_url)
        stack.push_async_callback(queue.disconnect)
        bell = await stack.enter_async_context(Bell(database, queue=None))
        tracing = tracing_of(settings, "worker")
        if tracing:
            stack.callback(tracing.close)
        stack.enter_context(_metrics_listener(settings))
        office = Office(settings, database, sender, keyring_of(settings), bell, tracing)
        await _saq_worker(queue, office).start()


@contextlib.contextmanager
def _metrics_listener(settings: Settings) -> Iterator[None]:
    """Answer a Prometheus that asks this worker; only if a port was given for it.

    In a thread of prometheus_client's own: what a worker counts stands in its memory alone, and
    a scrape must not wait for, nor hold up, the loop that delivers.
    """
    if not (settings.metrics and settings.metrics_port):
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.host)
    except OSError as fault:
        place = f"{settings.host}:{settings.metrics_port}"
        raise SettingsError(
            f"ONEPROTECT_METRICS_PORT: cannot listen on {place}: {fault.strerror}"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _saq_worker(queue: Queue, office: "Office") -> "Worker[Any]":
    return Worker(
        queue,
        functions=[(WAKE_JOB, office.wake), (REPLAY_JOB, office.replay)],
        cron_jobs=[
            CronJob(office.revive_replays, cron="* * * * * */5", timeout=10, ttl=-1),
            CronJob(office.sweep, cron="* * * * *", timeout=60, ttl=-1),
            CronJob(office.watch, cron="* * * * * */10", timeout=60, ttl=-1),
            CronJob(office.retention, cron="17 * * * *", timeout=3600, ttl=-1),
            CronJob(office.seal_audit, cron="* * * * *", timeout=300, ttl=-1),
            CronJob(office.prune_audit, cron="41 3 * * *", timeout=3600, ttl=-1),
        ],
        concurrency=8,
        startup=[office.open],
        shutdown=[office.close],
        shutdown_grace_period_s=1,
    )


class Office:
    """What a worker process does besides delivering: wake-ups, upkeep, heartbeat."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        sender: Sender,
        keyring: Keyring,
        bell: Bell,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._keyring = keyring
        self._bell = bell
        self._store = store_for(database.dialect)
        self._id = uuid4().hex
        traces = Traces(tracing) if tracing else None
        self.engine = Engine(database, sender, keyring, settings, self.after_record, traces)
        self._telemetry = Telemetry(
            counts=settings.metrics, traces=traces, wide=settings.log_level == "debug"
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, _ctx: Context) -> None:
        self._tasks = [
            asyncio.create_task(self.engine.run(), name="engine"),
            asyncio.create_task(self._beat_forever(), name="heartbeat"),
        ]
        if self._database.dialect == "postgresql":
            await partitions.make_ahead(self._database)
            wake = self.engine.wake
            ear = listen(self._database, DUE_CHANNEL, lambda _: wake(), wake)
            self._tasks.append(asyncio.create_task(ear, name="listen"))
        self._tasks[0].add_done_callback(_must_not_end)
        log.info("worker.started", worker_id=self._id)

    async def close(self, _ctx: Context) -> None:
        engine, *others = self._tasks
        engine.remove_done_callback(_must_not_end)
        self.engine.stop()
        await asyncio.wait([engine], timeout=SHUTDOWN_GRACE_S + 1)
        for task in others:
            task.cancel()
        self._telemetry.summarise()
        log.info("worker.stopped", worker_id=self._id)

    async def wake(self, _ctx: Context) -> None:
        self.engine.wake()

    async def sweep(self, _ctx: Context) -> None:
        await self.engine.sweep()

    async def watch(self, _ctx: Context) -> None:
        if await watch.look(self._database, store_for(self._database.dialect)):
            self.engine.wake()

    async def replay(self, ctx: Context, *, tenant_id: str, job_id: str) -> None:
        """Work on a replay for a slice of time; what is left is another job's."""
        is_left = await replaying.work(
            self._database, self._store, tenant_id, job_id,
            for_s=REPLAY_SLICE_S, on_step=self._after_replay_step,
        )  # fmt: skip
        if is_left:
            await _take_up(ctx, tenant_id, job_id)

    def _after_replay_step(self, tenant_id: str) -> None:
        self.engine.wake()
        self._bell.ring()
        self._bell.changed({tenant_id})

    async def revive_replays(self, ctx: Context) -> None:
        """Take up the replays whose worker died, or whose job was lost."""
        for tenant_id, job_id in await replaying.abandoned(self._database):
            await _take_up(ctx, tenant_id, job_id)

    async def retention(self, _ctx: Context) -> None:
        await partitions.make_ahead(self._database)
        days = self._settings.retention_days
        removed = await retention.run(self._database, days=days)
        if any(removed.values()):
            target = Target("installation", PLATFORM, "retention")
            changes = {"days": days, "removed": removed}
            async with self._database.transaction() as session:
                await audit.record(session, PLATFORM, SYSTEM, Action.DATA_PRUNED, target, changes)

    async def seal_audit(self, _ctx: Context) -> None:
        notary = await signing_keys.notary(self._database, self._keyring)
        if notary.key_id is None:
            log.error("audit.unsealed", reason="no key of ours opens the signing key")
            return
        await upkeep.seal_heads(self._database, notary)

    async def prune_audit(self, _ctx: Context) -> None:
        notary = await signing_keys.notary(self._database, self._keyring)
        if notary.key_id is not None:  # else seal_audit has said so
            days = self._settings.audit_retention_days
            await upkeep.prune(self._database, notary, days=days)

    async def after_record(self, settled: Sequence[Settled]) -> None:
        """Tell the watchers; switch off a destination whose receiver wants no more."""
        self._telemetry.recorded(settled)
        self._bell.changed({s.lease.tenant_id for s in settled})
        unwanted = {
            (s.lease.tenant_id, s.lease.destination_id): s.disable_reason
            for s in settled
            if s.disable_reason
        }
        for (tenant_id, destination_id), reason in unwanted.items():
            try:
                async with self._database.transaction() as session:
                    await control.disable_destination(
                        session, tenant_id, destination_id, reason=reason, actor=SYSTEM
                    )
            except NotFound:
                pass  # deleted meanwhile
            except (SQLAlchemyError, OSError) as fault:
                # Its next answer will say the same; the record that called us must go on.
                log.warning("disable.failed", fault=type(fault).__name__)

    async def _beat_forever(self) -> None:
        started_at = utcnow()
        while True:
            began = time.monotonic()
            try:
                async with self._database.transaction() as session:
                    load = self.engine.in_flight
                    await heartbeat.beat(session, self._id, started_at=started_at, load=load)
            except Exception as fault:  # noqa: BLE001  # a missed beat is what a beat is for
                log.warning("heartbeat.missed", fault=type(fault).__name__)
            self._telemetry.summarise()
            await asyncio.sleep(max(0.0, heartbeat.BEAT_EVERY_S - (time.monotonic() - began)))


async def _take_up(ctx: Context, tenant_id: str, job_id: str) -> None:
    queue: Queue = ctx["worker"].queue
    await queue.enqueue(
        REPLAY_JOB, ttl=-1, timeout=JOB_TIMEOUT_S, retries=1, tenant_id=tenant_id, job_id=job_id
    )


_EXIT_CODE: Final = 70  # EX_SOFTWARE


def _must_not_end(engine: asyncio.Task[None]) -> None:
    # A worker without its engine looks alive and delivers nothing: let the supervisor restart it.
    if not engine.cancelled() and (fault := engine.exception()):
        log.critical("engine.died", exc_info=fault)
    raise SystemExit(_EXIT_CODE)
