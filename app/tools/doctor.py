"""Look at everything a working installation needs, and say what is wrong in words."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from app.crypto import KEY_FILE, Keyring, UndecryptableError
from app.database import Database, utcnow
from app.database.migrate import current_revision, known_revisions, newest_revision
from app.deliveries import heartbeat
from app.destinations.models import SigningSecret, secret_context
from app.errors import SettingsError
from app.runtime import keyring_of
from app.sending.egress import EgressAllow
from app.sending.resolver import SystemResolver
from app.settings import Settings

#: One check may take this long: a server that drops packets must not hang the doctor.
DEADLINE_S: Final = 5.0
MAX_CLOCK_OFFSET: Final = timedelta(seconds=2)
#: A key that was lost or left behind shows at the first of them.
SECRETS_TRIED: Final = 100
#: A name that is always there (RFC 2606): only whether any name resolves is asked.
PROBE_NAME: Final = "example.com"


class State(StrEnum):
    OK = "ok"  # as it should be
    WARN = "warn"  # works, but somebody should look
    FAIL = "fail"  # does not work


class Check(msgspec.Struct, frozen=True):
    """One line of the report."""

    name: str
    state: State
    detail: str


Finding = tuple[State, str]


async def examine(environ: Mapping[str, str]) -> list[Check]:
    """Run every check; the database's are left out when the settings or it cannot be had."""
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        return [Check("settings", State.FAIL, str(error))]
    checks = [Check("settings", State.OK, f"environment {settings.env}")]
    checks += await _examine_database(settings)
    checks.append(await _check("queue", lambda: _queue(settings)))
    checks.append(await _check("egress", lambda: _egress(settings)))
    return checks


async def _examine_database(settings: Settings) -> list[Check]:
    if settings.sqlite_path and not settings.sqlite_path.is_file():
        missing = f"there is no file {settings.sqlite_path}; run: oneprotect migrate"
        return [Check("database", State.FAIL, missing)]
    database = Database(settings.database_url)
    try:
        checks = [await _check("database", lambda: _reachable(database))]
        if checks[0].state is not State.OK:
            return checks
        checks.append(await _check("schema", lambda: _schema(database)))
        checks.append(await _check("clock", lambda: _clock(database)))
        if checks[1].state is not State.FAIL:
            checks.append(await _check("worker", lambda: _worker(database)))
            checks.append(await _check("keys", lambda: _keys(database, settings)))
            checks.append(await _check("tenancy", lambda: _tenancy(database)))
        return checks
    finally:
        await database.close()


async def _check(name: str, look: Callable[[], Coroutine[Any, Any, Finding]]) -> Check:
    try:
        async with asyncio.timeout(DEADLINE_S):
            state, detail = await look()
    except TimeoutError:
        state, detail = State.FAIL, f"no answer within {DEADLINE_S:.0f} s"
    except (OSError, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        state, detail = State.FAIL, " ".join(str(cause).split())
    return Check(name, state, detail)


async def _reachable(database: Database) -> Finding:
    version = "sqlite_version()" if database.dialect == "sqlite" else "version()"
    async with database.reading() as session:
        said = (await session.execute(text(f"SELECT {version}"))).scalar_one()
    engine = "SQLite " if database.dialect == "sqlite" else ""
    return State.OK, f"{engine}{str(said).partition(' on ')[0]}"


async def _schema(database: Database) -> Finding:
    current, newest = await current_revision(database), newest_revision()
    if current == newest:
        return State.OK, f"{newest}, the newest"
    if current is not None and current not in known_revisions():
        return State.WARN, f"{current} is newer than this version, which knows {newest}"
    return State.FAIL, f"{current or 'none'}, the newest is {newest}; run: oneprotect migrate"


async def _clock(database: Database) -> Finding:
    sqlite = "CAST((julianday('now') - 2440587.5) * 86400 AS REAL)"
    postgresql = "extract(epoch FROM clock_timestamp())"
    query = f"SELECT {sqlite if database.dialect == 'sqlite' else postgresql}"
    async with database.reading() as session:
        await session.execute(text("SELECT 1"))  # connecting must not count as an offset
        before = time.time()
        theirs = float((await session.execute(text(query))).scalar_one())
        ours = (before + time.time()) / 2
    return judge_clock(timedelta(seconds=theirs - ours))


def judge_clock(offset: timedelta) -> Finding:
    seconds = offset.total_seconds()
    if abs(offset) <= MAX_CLOCK_OFFSET:
        return State.OK, f"{abs(seconds):.1f} s from the database's"
    word = "behind" if seconds > 0 else "ahead of"
    return State.FAIL, (
        f"{abs(seconds):.1f} s {word} the database's;"
        " signatures and retries need clocks within 2 s (check NTP)"
    )


async def _worker(database: Database) -> Finding:
    async with database.reading() as session:
        return judge_worker(await heartbeat.last_seen(session), utcnow())


def judge_worker(last_seen: datetime | None, now: datetime) -> Finding:
    if last_seen is None:
        return State.FAIL, "none has run yet, nothing is delivered; run: oneprotect worker"
    silence = max(timedelta(), now - last_seen)
    if silence > timedelta(seconds=heartbeat.SILENT_AFTER_S):
        since = f"{last_seen:%Y-%m-%d %H:%M:%S} UTC"
        return State.FAIL, f"last seen {since}, nothing is delivered; run: oneprotect worker"
    return State.OK, f"last seen {silence.total_seconds():.0f} s ago"


async def _keys(database: Database, settings: Settings) -> Finding:
    made = settings.secret_keys or (settings.data_dir / KEY_FILE).is_file()
    query = select(SigningSecret).order_by(SigningSecret.created_at.desc()).limit(SECRETS_TRIED)
    async with database.reading() as session:
        secrets = (await session.execute(query)).scalars().all()
    if not made:
        verdict = State.FAIL if secrets else State.OK
        return verdict, f"none yet, {len(secrets)} stored secrets need one"
    keyring = keyring_of(settings)
    lost = sum(not _opens(keyring, one) for one in secrets)
    if lost:
        return State.FAIL, (
            f"{lost} of the newest {len(secrets)} stored secrets open with no key of"
            " ONEPROTECT_SECRET_KEYS; add the one that sealed them"
        )
    if old := sum(not keyring.is_current(one.sealed) for one in secrets):
        return State.OK, f"open all, {old} under an older key; run: oneprotect rekey"
    return State.OK, f"open the newest {len(secrets)} stored secrets"


def _opens(keyring: Keyring, secret: SigningSecret) -> bool:
    try:
        keyring.open(secret.sealed, secret_context(secret.tenant_id, secret.destination_id))
    except UndecryptableError:
        return False
    return True


async def _tenancy(database: Database) -> Finding:
    if database.dialect == "sqlite":
        return State.OK, "kept apart by every query; SQLite has no second wall"
    query = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    async with database.reading() as session:
        if (await session.execute(text(query))).scalar_one():
            return State.WARN, (
                "the role is above row-level security; use one that is no superuser, as"
                " app/deploy/roles.sh makes it"
            )
    return State.OK, "row-level security holds for this role"


async def _queue(settings: Settings) -> Finding:
    scheme = urlsplit(settings.broker_url).scheme
    if not settings.queue_url:
        return State.OK, "in the same database"
    if not scheme.startswith("redis"):
        return State.OK, f"in a {scheme} database of its own"
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    redis: Any = Redis.from_url(settings.broker_url)
    try:
        await redis.ping()
    except RedisError as error:
        return State.FAIL, f"redis does not answer: {error}"
    finally:
        await redis.aclose()
    return State.OK, "redis answers"


async def _egress(settings: Settings) -> Finding:
    allow = EgressAllow.parse(settings.egress_allow)
    count = len(allow.names) + len(allow.networks)
    rule = f"{'https only' if settings.require_https else 'http allowed'}, {count} private allowed"
    if settings.egress_proxy:
        return await _proxy(settings.egress_proxy, rule)
    resolver = SystemResolver()
    try:
        await resolver.resolve(PROBE_NAME, 443)
    except OSError:
        # An installation may serve only addresses or names of its own network.
        return State.WARN, f"{rule}; {PROBE_NAME} does not resolve here, outside names may not"
    finally:
        resolver.close()
    return State.OK, f"{rule}; names resolve"


async def _proxy(proxy: str, rule: str) -> Finding:
    parts = urlsplit(proxy)
    place = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    host, _, port = place.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError as error:
        return State.FAIL, f"the proxy {place} cannot be reached: {error.strerror or error}"
    writer.close()
    return State.OK, f"{rule}; through the proxy {place}"
