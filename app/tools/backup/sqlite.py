"""SQLite's online backup: a copy as of one moment, while others read and write."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from app.tools.backup.fault import BackupError, require_known

MAGIC: Final = b"SQLite format 3\0"
#: Copied between two reports of progress: 4 MB.
PAGES: Final = 1_000
BUSY_S: Final = 5.0

Tell = Callable[[int, int], None]


def dump(source: Path, draft: Path, tell: Tell) -> None:
    """Copy `source` into the empty file `draft`, without the broker's jobs, and check it."""
    if not source.is_file():
        raise BackupError(f"there is no file {source}; run: oneprotect migrate")
    _copy(source, draft, tell)
    with _opened(draft) as copy:
        for table in ("saq_job", "saq_worker"):
            if copy.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                copy.execute(f"DELETE FROM {table}")
        _require_sound(copy, draft)


def load(file: Path, target: Path, *, force: bool, known: frozenset[str], tell: Tell) -> str:
    with _opened(file, read_only=True) as given:
        _require_sound(given, file)
        revision = require_known(_revision(given, file), known)
    if not force and _holds_anything(target):
        raise BackupError(f"{target} is not empty; --force overwrites it")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.restoring")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    try:
        _copy(file, draft, tell)
        _retire(target)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return revision


def _copy(source: Path, draft: Path, tell: Tell) -> None:
    with _opened(source, read_only=True) as theirs, _opened(draft) as ours:
        # An open read keeps to one moment: without it every write of others starts the copy anew.
        theirs.execute("BEGIN")
        theirs.execute("SELECT count(*) FROM sqlite_master").fetchone()
        theirs.backup(ours, pages=PAGES, progress=lambda _s, left, total: tell(total - left, total))
        ours.execute("PRAGMA journal_mode=DELETE")  # one file, no log beside it


def _retire(target: Path) -> None:
    """Close the database that stands there; the last one who closes it removes its log."""
    if not target.exists():
        return
    with _opened(target) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if target.with_name(f"{target.name}-wal").exists():
        raise BackupError(f"{target} is in use; stop web and worker first")


def _holds_anything(target: Path) -> bool:
    if not target.exists():
        return False
    try:
        with _opened(target, read_only=True) as there:
            return bool(there.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except BackupError:  # something, if no database
        return True


def _revision(given: sqlite3.Connection, file: Path) -> str:
    try:
        (revision,) = given.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.OperationalError, TypeError):
        raise BackupError(f"{file} is no backup that oneprotect made") from None
    return str(revision)


def _require_sound(connection: sqlite3.Connection, file: Path) -> None:
    verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise BackupError(f"{file} is damaged: {' '.join(str(verdict).split())}")


@contextlib.contextmanager
def _opened(path: Path, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    mode = "ro" if read_only else "rw"
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        yield connection
    except sqlite3.DatabaseError as fault:
        raise BackupError(f"{path}: {fault}") from fault
    finally:
        connection.close()
