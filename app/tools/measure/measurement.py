"""One measurement of the portal: fill, start, ask for every page, let many watch."""

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec
from sqlalchemy import select

from app.audit.models import SYSTEM
from app.crypto import KEY_BYTES, mint_token, token_hash
from app.database import Database, new_id, utcnow
from app.database.migrate import migrate
from app.deliveries.models import Delivery
from app.deliveries.store import Owed, store_for
from app.destinations import service as destinations
from app.destinations.rules import Draft
from app.identity import service as identity
from app.identity.models import Member, PortalSession
from app.identity.permissions import TENANT_ROLES
from app.runtime import keyring_of
from app.settings import Settings
from app.tools import ports
from app.tools.bench import procfs
from app.tools.bench.children import answer, child
from app.tools.bench.plan import BenchError, Progress
from app.tools.bench.processes import environment
from app.tools.bench.scratch import scratch_database, scratch_folder
from app.tools.measure import rows
from app.tools.measure.plan import CHANGES_PER_S, Live, PageTimes, Plan, Report
from app.tools.measure.viewers import LAST_S, Crowd, Seen, delays_of, read_answer, watch
from app.tools.measure.web import Web, serve
from app.wakeup import Bell

TENANT: Final = "bench"
#: How long the viewers may take to come in.
COMING_S: Final = 60.0
#: Asked for before the times count: connections, caches and statements are warm then, as they
#: are in a process that has been running for a minute.
WARM_UP: Final = 2


class Stage(msgspec.Struct, kw_only=True):
    """What is measured."""

    plan: Plan
    settings: Settings
    own: dict[str, str]
    database: Database
    tell: Progress
    places: list[str] = []
    cookies: list[str] = []


async def run(plan: Plan, tell: Progress) -> Report:
    async with _open(plan, tell) as stage:
        await _seed(stage)
        began = time.perf_counter()
        tell("Writing deliveries", 0, 0)
        await rows.fill(stage.database, TENANT, stage.places, plan.deliveries)
        fill_s = time.perf_counter() - began
        with child(serve, Web(stage.settings.port, stage.own)) as web:
            web.send("hello")
            await asyncio.to_thread(answer, web)  # it listens
            pages = await _pages(stage)
            report = Report(
                engine=stage.database.dialect,
                deliveries=plan.deliveries,
                fill_seconds=round(fill_s, 1),
                pages=pages,
                slowest_p95_ms=max(page.p95_ms for page in pages.values()),
            )
            if plan.viewers:
                report.live = await _live(stage, web)
            return report


@contextlib.asynccontextmanager
async def _open(plan: Plan, tell: Progress) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder(plan.database_url))
        url = stack.enter_context(scratch_database(plan.database_url, folder))
        with ports.listen("127.0.0.1", 0, setting="ONEPROTECT_PORT") as sock:
            port = int(sock.getsockname()[1])
        key = base64.b64encode(os.urandom(KEY_BYTES)).decode()
        own = environment(url, web_port=port, egress_allow="127.0.0.1:9", secret_key=key)
        database = Database(url)
        stack.push_async_callback(database.close)
        yield Stage(
            plan=plan, settings=Settings.from_env(own), own=own, database=database, tell=tell
        )


async def _seed(stage: Stage) -> None:
    """Make the schema, a tenant with destinations, and a signed-in member for every viewer."""
    await migrate(stage.database)
    async with stage.database.transaction() as session:
        await identity.create_tenant(session, tenant_id=TENANT, name="Bench", actor=SYSTEM)
        for number in range(stage.plan.destinations):
            draft = Draft(name=f"Place {number}", endpoint_url=f"http://127.0.0.1:9/{number}")
            made, _ = await destinations.register(
                session, TENANT, draft, keyring=keyring_of(stage.settings), actor=SYSTEM
            )
            stage.places.append(made.id)
        members = [
            Member(
                tenant_id=TENANT,
                id=new_id("usr"),
                email=f"{role}@bench.example",
                name=role.label,
                role=role,
                password_hash="",
            )
            for role in TENANT_ROLES
        ]
        session.add_all(members)
        await session.flush()
        for number in range(max(1, stage.plan.viewers)):
            stage.cookies.append(mint_token(""))
            session.add(_session(members[number % len(members)], stage.cookies[-1]))


def _session(member: Member, cookie: str) -> PortalSession:
    return PortalSession(
        tenant_id=TENANT,
        id=new_id("ses"),
        member_id=member.id,
        token_hash=token_hash(cookie),
        expires_at=utcnow() + identity.SESSION_LIFETIME,
        address="127.0.0.1",
        user_agent="",
    )


async def _paths(stage: Stage) -> dict[str, str]:
    newest = select(Delivery.id, Delivery.event_id).where(Delivery.tenant_id == TENANT)
    async with stage.database.reading(TENANT) as session:
        row = (await session.execute(newest.order_by(Delivery.id.desc()).limit(1))).one()
    place, common, rare = stage.places[0], "type=alert.kind_3", "type=license.expired"
    day = f"{utcnow():%Y-%m-%dT00:00}"
    deliveries = {
        "all": "",
        "failed": "?state=failed",
        "retrying": "?state=retrying",
        "pending": "?state=pending",
        "delivering": "?state=delivering",
        "delivered": "?state=delivered",
        "time-out": "?outcome=timeout",
        "destination": f"?destination={place}",
        "type": f"?{common}",
        "rare type": f"?{rare}",
        "today": f"?after={day}",
        "failed, rare type": f"?state=failed&{rare}",
        "failed, time-out": "?state=failed&outcome=timeout",
        "destination, rare type": f"?destination={place}&{rare}",
        "no match": f"?state=cancelled&outcome=gone&destination={place}&{rare}&before={day}",
        "one opened": f"?delivery={row.id}",
        "far back": f"?below=dlv_{'0192' + '0' * 28}",
    }
    return {
        "integrations": "/integrations",
        "integrations, 1 h": "/integrations?window=1h",
        "integrations, 7 d": "/integrations?window=7d",
        "destination": f"/integrations/{place}",
        "destination, failed": f"/integrations/{place}?state=failed",
        **{f"deliveries: {name}": f"/deliveries{query}" for name, query in deliveries.items()},
        "events": "/events",
        "events: rare type": f"/events?{rare}",
        "event": f"/events/{row.event_id}",
        "audit": "/audit",
        "audit: rare action": "/audit?action=destination.disabled",
        "audit: no match": "/audit?actor=nobody",
        "settings": "/settings",
    }


async def _pages(stage: Stage) -> dict[str, PageTimes]:
    """Ask for each page, round after round, over one connection, as one tenant admin."""
    paths = await _paths(stage)
    times: dict[str, list[float]] = {name: [] for name in paths}
    sizes: dict[str, int] = {}
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.settings.port)
    with contextlib.closing(writer):
        for number in range(stage.plan.rounds + WARM_UP):
            for name, path in paths.items():
                lines = [
                    f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Accept-Encoding: gzip",
                    f"Cookie: session={stage.cookies[0]}", "", "",
                ]  # fmt: skip
                began = time.perf_counter()
                writer.write("\r\n".join(lines).encode())
                status, body = await read_answer(reader)
                sizes[name] = len(body)
                if status != b"200":
                    raise BenchError(f"{path} answered {status.decode()}")
                if number >= WARM_UP:
                    times[name].append((time.perf_counter() - began) * 1000)
            stage.tell("Asking for pages", number + 1, stage.plan.rounds + WARM_UP)
    return {
        name: PageTimes(_share(found, 0.5), _share(found, 0.95), round(sizes[name] / 1024, 1))
        for name, found in times.items()
    }


async def _live(stage: Stage, web: Connection) -> Live:
    """Let the viewers come, change the tenant again and again, and see what it costs."""
    pid = (await _counts(web))[0]
    rss_before = procfs.rss_mb(pid)
    places = [f"/integrations/{place}" for place in stage.places[:2]]
    crowd = Crowd(
        stage.settings.port,
        stage.cookies,
        ["/integrations", "/deliveries", "/integrations", *places],
    )
    with child(watch, crowd) as viewers:
        await _all_came(stage, viewers)
        await asyncio.sleep(1)
        await _seen(viewers)
        _, statements, pulses = await _counts(web)
        cpu, began = procfs.cpu_seconds([pid]), time.perf_counter()
        changes = await _changes(stage)
        took = time.perf_counter() - began
        after = procfs.cpu_seconds([pid])
        _, statements_after, pulses_after = await _counts(web)
        await asyncio.sleep(LAST_S)
        seen = await _seen(viewers)
    delays = [s * 1000 for s in delays_of(changes, seen.sights)]
    refreshes = [s * 1000 for s in seen.seconds]
    used = None if cpu is None or after is None else after - cpu
    return Live(
        viewers=seen.streams,
        changes=len(changes),
        refreshes=len(refreshes),
        failed=seen.failed,
        statements_per_change=round((statements_after - statements) / len(changes), 1),
        pulse_looks_per_s=round((pulses_after - pulses) / took, 1),
        refresh_p50_ms=_share(refreshes, 0.5) if refreshes else None,
        refresh_p95_ms=_share(refreshes, 0.95) if refreshes else None,
        seen_p50_ms=_share(delays, 0.5) if delays else None,
        seen_p95_ms=_share(delays, 0.95) if delays else None,
        cpu_percent=None if used is None else round(100 * used / took, 1),
        rss_before_mb=rss_before,
        rss_mb=procfs.rss_mb(pid),
    )


async def _all_came(stage: Stage, viewers: Connection) -> None:
    deadline = time.monotonic() + COMING_S
    while (seen := await _seen(viewers)).streams < stage.plan.viewers:
        if time.monotonic() > deadline:
            raise BenchError(f"only {seen.streams} of {stage.plan.viewers} streams came to stand")
        stage.tell("Opening streams", seen.streams, stage.plan.viewers)
        await asyncio.sleep(0.2)


async def _changes(stage: Stage) -> list[tuple[str, float]]:
    """Owe deliveries at a steady pace, as publishing does, and tell of each; return them."""
    store = store_for(stage.database.dialect)
    made: list[tuple[str, float]] = []
    async with Bell(stage.database, queue=None) as bell:
        began = time.monotonic()
        while (passed := time.monotonic() - began) < stage.plan.seconds:
            owed = Owed(TENANT, new_id("dlv"), stage.places[0], new_id("evt"), "alert.kind_1")
            async with stage.database.begin() as c:
                await store.insert_deliveries(c, [owed])
            made.append((owed.id, time.monotonic()))
            bell.changed({TENANT})
            stage.tell("Watching", int(passed), int(stage.plan.seconds))
            await asyncio.sleep(max(0.0, began + len(made) / CHANGES_PER_S - time.monotonic()))
    return made


async def _counts(web: Connection) -> tuple[int, int, int]:
    web.send("counts")
    found: tuple[int, int, int] = await asyncio.to_thread(answer, web)
    return found


async def _seen(viewers: Connection) -> Seen:
    viewers.send("seen")
    found: Any = await asyncio.to_thread(answer, viewers)
    seen: Seen = found
    return seen


def _share(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return round(ranked[int(share * (len(ranked) - 1))], 1)
