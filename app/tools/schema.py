"""How the database's schema stands beside the newest one, without changing anything."""

import msgspec

from app.database import Database
from app.database.migrate import current_revision, known_revisions, newest_revision
from app.settings import Settings


class Standing(msgspec.Struct, frozen=True):
    """`pending`: a migration is to be run. A schema newer than this code is not pending."""

    current: str | None
    newest: str
    pending: bool


async def standing(settings: Settings) -> Standing:
    if settings.sqlite_path and not settings.sqlite_path.is_file():
        return judge(None)  # to look must not make the file
    database = Database(settings.database_url)
    try:
        return judge(await current_revision(database))
    finally:
        await database.close()


def judge(current: str | None) -> Standing:
    newest = newest_revision()
    behind = current is None or (current in known_revisions() and current != newest)
    return Standing(current, newest, behind)
