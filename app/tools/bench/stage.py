"""Everything a measurement stands on: scratch database, receiver, ceiling, tenant, processes."""

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import SYSTEM
from app.crypto import KEY_BYTES
from app.database import Database, new_id
from app.database.migrate import migrate
from app.deliveries.engine import USER_AGENT
from app.deliveries.models import OPEN, Delivery, Heartbeat
from app.deliveries.store import Owed, store_for
from app.destinations import service as destinations
from app.destinations.models import Lane
from app.destinations.rules import Draft
from app.events.intake import EventIn, NewEvent, compose
from app.identity import service as identity
from app.identity.permissions import Role
from app.runtime import keyring_of
from app.sending.signing import Secret, delivery_headers, signature
from app.settings import Settings
from app.tools import ports
from app.tools.bench import processes, procfs
from app.tools.bench.ceiling import Ceiling, Postings, standing_by
from app.tools.bench.plan import Plan, Profile, Progress
from app.tools.bench.publishers import EVENT_TYPE, Publisher, data_of
from app.tools.bench.scratch import scratch_database, scratch_folder
from app.tools.bench.sink import NEVER, Sink, running_sink

TENANT: Final = "bench"
NEVER_TYPE: Final = "bench.unheard"
#: Rows are written in sets of this many.
CHUNK: Final = 2_000
#: … or so many bytes of payload.
CHUNK_BYTES: Final = 16 * 1024 * 1024
#: With nothing new at the receiver for so long, what is missing counts as lost.
STALLED_S: Final = 30.0
LOOK_EVERY_S: Final = 0.05


class Stage:
    """What the profiles act on."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        database: Database,
        sink: Sink,
        fleet: processes.Fleet,
        tell: Progress,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.database = database
        self.store = store_for(database.dialect)
        self.sink = sink
        self.fleet = fleet
        self.tell = tell
        self.destinations: list[str] = []
        self.unheard = ""  # the destination that never answers
        self._token = ""
        self._postmaster: int | None = None

    async def seed(self) -> None:
        """Make the schema, the tenant, its token and its destinations."""
        await migrate(self.database)
        async with self.database.transaction() as session:
            await identity.create_tenant(session, tenant_id=TENANT, name="Bench", actor=SYSTEM)
            _, self._token = await identity.create_token(
                session, tenant_id=TENANT, name="Bench", role=Role.TENANT_ADMIN, actor=SYSTEM
            )
            for number in range(self.plan.destinations):
                self.destinations.append(await self._register(session, path(number), EVENT_TYPE))
            if self.plan.profile is Profile.NEIGHBOUR:
                self.unheard = await self._register(session, NEVER, NEVER_TYPE)
        if self.database.dialect == "postgresql":
            self._postmaster = procfs.postmaster(self.settings.database_url)

    async def _register(self, session: AsyncSession, path: str, event_type: str) -> str:
        draft = Draft(name=path, endpoint_url=self.sink.url(path), event_types=[event_type])
        made, _ = await destinations.register(
            session, TENANT, draft, keyring=keyring_of(self.settings), actor=SYSTEM
        )
        return made.id

    def publisher(self) -> Publisher:
        return Publisher(self.settings.port, self._token, self.plan.payload_bytes)

    def cpu_seconds(self) -> float | None:
        if self.database.dialect == "postgresql" and self._postmaster is None:
            return None  # a server elsewhere: half a figure would mislead
        return procfs.cpu_seconds(self.fleet.pids, self._postmaster)

    async def insert_due(
        self, count: int, targets: Sequence[str], *, with_events: bool = True
    ) -> list[str]:
        """Write rows that are due, round and round the targets; return the event of each."""
        made: list[str] = []
        chunk = max(1, min(CHUNK, CHUNK_BYTES // self.plan.payload_bytes))
        while len(made) < count:
            events = new_events(min(chunk, count - len(made)), self.plan.payload_bytes)
            owed = [
                Owed(TENANT, new_id("dlv"), targets[n % len(targets)], event.id, event.type)
                for n, event in enumerate(events, start=len(made))
            ]
            async with self.database.begin() as c:
                if with_events:
                    await self.store.insert_events(c, events, [1] * len(events))
                await self.store.insert_deliveries(c, owed)
            made += [event.id for event in events]
            self.tell("Writing due rows", len(made), count)
        return made

    async def let_rest(self, seconds: float) -> None:
        """Close every lane for so long; with 0, open them."""
        until = datetime.now(UTC) + timedelta(seconds=seconds) if seconds else None
        async with self.database.transaction() as session:
            await session.execute(update(Lane).values(open_until=until))

    async def start(self, *, web: bool) -> None:
        """Start the processes; return when web answers and every worker has shown that it lives."""
        self.tell("Starting", 0, 0)
        self.fleet.start_workers(self.plan.workers)
        if web:
            await self.fleet.start_web(self.settings)
        while await self._alive() < self.plan.workers:
            self.fleet.check()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _alive(self) -> int:
        async with self.database.reading() as session:
            query = select(func.count()).select_from(Heartbeat)
            return int((await session.execute(query)).scalar_one())

    async def received(self, expected: int) -> None:
        """Return when so many requests came, or when nothing has come for long."""
        seen, moved = -1, time.monotonic()
        while (count := self.sink.count()) < expected:
            if count > seen:
                seen, moved = count, time.monotonic()
            elif time.monotonic() - moved > STALLED_S:
                break
            self.fleet.check()
            self.tell("Delivering", count, expected)
            await asyncio.sleep(LOOK_EVERY_S)

    async def recorded(self) -> None:
        """Return when every delivery to a destination that answers is settled, or after long."""
        deadline = time.monotonic() + STALLED_S
        owed = select(Delivery.id).where(
            Delivery.state.in_(OPEN), Delivery.destination_id != self.unheard
        )
        while time.monotonic() < deadline:
            async with self.database.reading() as session:
                if (await session.execute(owed.limit(1))).first() is None:
                    return
            await asyncio.sleep(LOOK_EVERY_S)


def path(number: int) -> str:
    """Return the path of a destination: every one has its own, so that pairs can be told apart."""
    return f"/ok/{number}"


def new_events(count: int, payload_bytes: int) -> list[NewEvent]:
    given = EventIn(type=EVENT_TYPE, data=msgspec.Raw(data_of(payload_bytes)))
    return compose([given] * count, own_tenant=TENANT, batch=True)


@contextlib.asynccontextmanager
async def open_stage(plan: Plan, tell: Progress) -> AsyncIterator[tuple[Stage, Ceiling]]:
    """Build everything but the processes; take all of it down again, whatever happens."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder(plan.database_url))
        url = stack.enter_context(scratch_database(plan.database_url, folder))
        sink = stack.enter_context(running_sink())
        # Answers 200 to whatever it is sent, which is all that an exporter asks of a collector.
        collector = stack.enter_context(running_sink()) if plan.tracing else None
        own = processes.environment(
            url,
            web_port=_free_port(),
            egress_allow=f"127.0.0.1:{sink.port}",
            secret_key=base64.b64encode(os.urandom(KEY_BYTES)).decode(),
            metrics=plan.metrics,
            collector_url=collector.url("") if collector else None,
        )
        settings = Settings.from_env(own)
        ceiling = await stack.enter_async_context(
            standing_by(_postings(plan, settings, sink), plan.workers)
        )
        database = Database(url)
        stack.push_async_callback(database.close)
        fleet = stack.enter_context(processes.fleet(folder, own))
        stage = Stage(plan, settings, database, sink, fleet, tell)
        await stage.seed()
        yield stage, ceiling


def _postings(plan: Plan, settings: Settings, sink: Sink) -> Postings:
    at_once = settings.max_in_flight_per_destination * plan.destinations
    event = new_events(1, plan.payload_bytes)[0]
    now = int(time.time())
    headers = delivery_headers(
        message_id=event.id,
        event_type=event.type,
        attempt=1,
        timestamp=now,
        signature=signature([Secret.generate()], event.id, now, event.body),
        user_agent=USER_AGENT,
        extra={},
    )
    return Postings(
        urls=[sink.url(path(number)) for number in range(plan.destinations)],
        allow=settings.egress_allow,
        headers=headers,
        body=event.body,
        at_once=min(at_once, settings.max_in_flight),
    )


def _free_port() -> int:
    with ports.listen("127.0.0.1", 0, setting="ONEPROTECT_PORT") as sock:
        return int(sock.getsockname()[1])
