"""What must hold before a process starts; each fault is one line, found before anything is made."""

import tempfile
from pathlib import Path

from app.database import Database
from app.errors import SettingsError
from app.runtime import check_before_start
from app.settings import Settings


def require_writable(folder: Path) -> None:
    """Make the folder when it is missing; SettingsError when nothing can be written there."""
    try:
        # Owner only: it will hold password hashes, tokens' hashes and the local key.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"cannot write to the data folder {folder}: {(error.strerror or str(error)).lower()};"
            " choose another with ONEPROTECT_DATABASE_URL"
        ) from None


def open_database(settings: Settings) -> Database:
    """Return the database, whose folder (SQLite) exists and can be written."""
    if settings.sqlite_path:
        require_writable(settings.data_dir)
    return Database(settings.database_url)


async def require_ready(settings: Settings) -> None:
    """Raise SettingsError unless the database is there, migrated, and free of public passwords."""
    database = open_database(settings)
    try:
        await check_before_start(settings, database)
    finally:
        await database.close()
