"""Keep a copy of the database while everything runs, and put it back.

A backup is one file: a SQLite database, or what pg_dump calls a custom archive. It holds no keys:
ONEPROTECT_SECRET_KEYS must be kept elsewhere, or the secrets in it open for nobody. The broker's
tables are left out: they carry hints only.
"""

import os
from collections.abc import Callable
from pathlib import Path

from app.database.migrate import known_revisions
from app.settings import Settings
from app.tools.backup import postgres, sqlite
from app.tools.backup.fault import BackupError

__all__ = ["BackupError", "backup", "restore"]

#: Told how much is done, of how much; a total of 0 is not known.
Tell = Callable[[int, int], None]


def backup(settings: Settings, file: Path, tell: Tell = lambda _done, _total: None) -> int:
    """Write a checked copy of the database, as of one moment; return its size in bytes."""
    if file.exists():
        raise BackupError(f"{file} exists already; a backup never overwrites")
    if not file.parent.is_dir():
        raise BackupError(f"there is no folder {file.parent}")
    draft = file.with_name(f".{file.name}.part")
    # Owner only: it holds what the database holds.
    os.close(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
    try:
        if settings.sqlite_path:
            sqlite.dump(settings.sqlite_path, draft, tell)
        else:
            postgres.dump(settings.database_url, draft)
        _to_disk(draft)
        draft.replace(file)
        _to_disk(file.parent)
    finally:
        draft.unlink(missing_ok=True)
    return file.stat().st_size


def restore(
    settings: Settings,
    file: Path,
    *,
    force: bool = False,
    tell: Tell = lambda _done, _total: None,
) -> str:
    """Put a backup back, all or nothing; return its schema's revision.

    Refuses a database that holds anything, unless forced, and one that somebody uses.
    """
    engine = _engine_of(file)
    here = "SQLite" if settings.sqlite_path else "PostgreSQL"
    if engine != here:
        raise BackupError(f"{file} is a backup of {engine}, ONEPROTECT_DATABASE_URL is {here}")
    if settings.sqlite_path:
        return sqlite.load(file, settings.sqlite_path, force=force, known=known_revisions(),
                           tell=tell)  # fmt: skip
    return postgres.load(file, settings.database_url, force=force, known=known_revisions())


def _engine_of(file: Path) -> str:
    if not file.is_file():
        raise BackupError(f"there is no file {file}")
    with file.open("rb") as opened:
        head = opened.read(16)
    if head.startswith(sqlite.MAGIC):
        return "SQLite"
    if head.startswith(postgres.MAGIC):
        return "PostgreSQL"
    raise BackupError(f"{file} is no backup that oneprotect made")


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
