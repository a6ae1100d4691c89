"""Engines for SQLite and PostgreSQL behind one face: `transaction`, `begin`, `reading`."""

import contextlib
import select
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

import psycopg
from sqlalchemy import Insert, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import AsyncAdaptedQueuePool

from app.database.base import Base

BUSY_TIMEOUT_MS: Final = 5_000
#: How a connection acts for every tenant, until a transaction narrows it (migration 0002).
ALL_TENANTS: Final = "-c oneprotect.tenant=*"

Dialect = Literal["sqlite", "postgresql"]


class Database:
    """One database, seen from one process.

    SQLite keeps a single writing connection per process, so that writers queue fairly here
    rather than spin on the file's lock, and separate readers, which WAL never blocks.
    `durable=False` skips the fsync of a commit on SQLite: a power cut may then lose the newest
    commits, but never order or consistency. Only the record of an attempt may be written so.
    On PostgreSQL `transaction` and `reading` of one tenant can neither see nor write another's
    rows, whatever their statements say; the role must not be a superuser, who is above that.
    """

    def __init__(self, url: str, *, durable: bool = True, pool_size: int = 10) -> None:
        self.url = _async_url(url)
        self.dialect: Dialect = (
            "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql"
        )
        if self.dialect == "sqlite":
            self.engine = _sqlite_engine(self.url, writing=True, durable=durable)
            self._readers = _sqlite_engine(self.url, writing=False, durable=durable)
        else:
            self.engine = _postgres_engine(self.url, pool_size)
            self._readers = self.engine
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._reading_sessions = async_sessionmaker(self._readers, expire_on_commit=False)
        self._wide_readers = (
            self._reading_sessions
            if self.dialect == "sqlite"
            else async_sessionmaker(self._autocommit, expire_on_commit=False)
        )

    @contextlib.asynccontextmanager
    async def transaction(self, tenant_id: str | None = None) -> AsyncIterator[AsyncSession]:
        """Yield a session that commits at the end, before any answer is given, or rolls back."""
        async with self._sessions() as session, session.begin():
            await self._act_for(session, tenant_id)
            yield session

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """As `transaction`, without the ORM: for the statements of the hot path."""
        async with self.engine.begin() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def hot(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for statements that are whole by themselves.

        On PostgreSQL each commits by itself, which saves two round trips; on SQLite they share a
        transaction, which saves a lock.
        """
        if self.dialect == "sqlite":
            async with self.engine.begin() as connection:
                yield connection
            return
        async with self._autocommit.connect() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def reading(self, tenant_id: str | None = None) -> AsyncIterator[AsyncSession]:
        """Yield a session for reads; it never takes the write lock and nothing is committed.

        Without a tenant to narrow it to, it costs PostgreSQL no BEGIN and no ROLLBACK.
        """
        sessions = self._wide_readers if tenant_id is None else self._reading_sessions
        async with sessions() as session:
            await self._act_for(session, tenant_id)
            yield session

    async def _act_for(self, session: AsyncSession, tenant_id: str | None) -> None:
        """Narrow the session's transaction to one tenant; None leaves it to act for all."""
        if tenant_id is not None and self.dialect == "postgresql":
            await session.execute(_NARROW, {"tenant_id": tenant_id})

    async def close(self) -> None:
        await self.engine.dispose()
        await self._readers.dispose()


def insert_if_absent(session: AsyncSession, table: type[Base], values: dict[str, Any]) -> Insert:
    """Return an INSERT that leaves an existing row of the same key alone."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table).values(values).on_conflict_do_nothing()
    return postgresql.insert(table).values(values).on_conflict_do_nothing()


#: For this transaction only: the pool hands the connection on as it was.
_NARROW: Final = text("SELECT set_config('oneprotect.tenant', :tenant_id, true)")


def _with_option(url: URL, option: str) -> str:
    given = url.query.get("options", "")
    return f"{given if isinstance(given, str) else ' '.join(given)} {option}".strip()


def _async_url(url: str) -> URL:
    parsed = make_url(url)
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
    return parsed.set(drivername=driver.get(parsed.get_backend_name(), parsed.drivername))


def _postgres_engine(url: URL, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=5,
        hide_parameters=True,
        connect_args={"options": _with_option(url, ALL_TENANTS)},
    )

    @event.listens_for(engine.sync_engine, "checkout")
    def _leave_out_the_dead(connection: Any, _record: Any, _proxy: Any) -> None:
        # An idle server says nothing: what can be read is its farewell. A look at the socket tells
        # it without the round trip of a ping; the pool then connects anew by itself.
        if _has_something_to_read(connection.driver_connection.pgconn):
            raise InvalidatePoolError

    return engine


def _has_something_to_read(pgconn: Any) -> bool:
    try:
        watched = select.poll()
        watched.register(pgconn.socket, select.POLLIN)
        return bool(watched.poll(0))
    except psycopg.OperationalError:  # closed already
        return True


class _SqliteCompiler(SQLiteCompiler):
    """Says a `with_hint` such as `INDEXED BY` to SQLite, which SQLAlchemy itself does not."""

    def get_from_hint_text(self, _table: Any, text: str | None) -> str | None:
        return text


def _sqlite_engine(url: URL, *, writing: bool, durable: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if writing else 4,
        max_overflow=0,
        pool_timeout=30,
        hide_parameters=True,  # a failed statement's values are tenants' data: not for a log
    )
    engine.sync_engine.dialect.statement_compiler = _SqliteCompiler
    pragmas = (
        f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
        "PRAGMA journal_mode=WAL",
        # FULL: the commit is on the disk before the caller hears of it (sqlite.org/pragma.html).
        f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}",
        "PRAGMA foreign_keys=ON",
        "PRAGMA temp_store=MEMORY",
        "PRAGMA cache_size=-32000",
        "PRAGMA mmap_size=268435456",
        f"PRAGMA query_only={'OFF' if writing else 'ON'}",
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        # IMMEDIATE takes the write lock at once: no upgrade from a stale read fails later.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    @event.listens_for(engine.sync_engine, "reset")
    def _reset(connection: Any, _record: Any, _state: Any) -> None:
        # A failed COMMIT leaves the transaction open; the pool must not hand it on.
        connection.rollback()

    return engine
