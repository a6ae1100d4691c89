"""Bring the database to the newest schema, and say which one it has."""

import functools
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from app.database.engine import Database

SCRIPTS: Final = Path(__file__).resolve().parents[2] / "migrations"
#: Any number of ours, the same in every process, so that two migrations never interleave.
_LOCK: Final = 0x0E_9207EC7
#: A migration that meets live traffic may be the one that PostgreSQL ends to break a deadlock.
DEADLOCK: Final = "40P01"
TRIES: Final = 5


async def migrate(database: Database) -> tuple[str | None, str]:
    """Upgrade to the newest schema in one transaction; return the revision before and after."""
    for _ in range(TRIES - 1):
        try:
            return await _migrate(database)
        except OperationalError as fault:
            if getattr(fault.orig, "sqlstate", None) != DEADLOCK:
                raise
    return await _migrate(database)


async def _migrate(database: Database) -> tuple[str | None, str]:
    async with database.begin() as connection:
        if database.dialect == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        before = await connection.run_sync(_current)
        await connection.run_sync(_upgrade)
    return before, newest_revision()


async def current_revision(database: Database) -> str | None:
    async with database.engine.connect() as connection:
        return await connection.run_sync(_current)


def newest_revision() -> str:
    head = _scripts(SCRIPTS).get_current_head()
    if head is None:
        raise RuntimeError("migrations/ holds no revision")
    return head


def known_revisions() -> frozenset[str]:
    """Every revision this code knows; a database beyond them is newer than the code."""
    return frozenset(script.revision for script in _scripts(SCRIPTS).walk_revisions())


@functools.cache
def _scripts(_folder: Path) -> ScriptDirectory:
    """Read the migrations once: they do not change while a process lives."""
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
