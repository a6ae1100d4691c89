"""A database that exists for one measurement: made beside the one named, gone at the end."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy.engine import make_url

from app.settings import Settings
from app.tools.bench.plan import BenchError


@contextlib.contextmanager
def scratch_folder(database_url: str) -> Iterator[Path]:
    """Yield a folder of our own; on the disk of the SQLite file, if one is named."""
    named = _settings(database_url).sqlite_path if database_url else None
    parent = named.parent if named else None
    try:
        folder = tempfile.TemporaryDirectory(
            prefix="op-bench-", dir=parent, ignore_cleanup_errors=True
        )
    except OSError as fault:
        raise BenchError(f"cannot write to {parent}: {fault.strerror}") from None
    with folder as path:
        yield Path(path)


@contextlib.contextmanager
def scratch_database(database_url: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database: a file in the folder, or one made on the server."""
    if not database_url or _settings(database_url).sqlite_path:
        yield f"sqlite:///{folder / 'bench.db'}"
        return
    name = f"op_bench_{uuid4().hex[:12]}"
    _execute(database_url, f'CREATE DATABASE "{name}"')
    try:
        yield make_url(database_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _settings(database_url: str) -> Settings:
    return Settings.from_env({"ONEPROTECT_DATABASE_URL": database_url})


def _execute(server_url: str, statement: str) -> None:
    try:
        with psycopg.connect(server_url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())
    except psycopg.Error as fault:
        raise BenchError(f"the PostgreSQL server: {fault}".strip()) from None
