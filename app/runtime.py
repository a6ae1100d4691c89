"""What web and worker share when put together: keys, egress, traces, checks before a start."""

from sqlalchemy.exc import SQLAlchemyError

from app.crypto import Keyring, local_keys
from app.database import Database
from app.database.migrate import current_revision, known_revisions, newest_revision
from app.destinations.rules import Egress
from app.errors import SettingsError
from app.identity import demo
from app.observability.tracing import Tracing
from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.resolver import SystemResolver
from app.settings import Settings


def keyring_of(settings: Settings) -> Keyring:
    """Return the keys of the settings; in `local` a key is made once, beside the database."""
    return Keyring.from_texts(settings.secret_keys or local_keys(settings.data_dir))


def egress_of(settings: Settings) -> Egress:
    policy = EgressPolicy(
        allow=EgressAllow.parse(settings.egress_allow), require_https=settings.require_https
    )
    return Egress(policy, SystemResolver())


def tracing_of(settings: Settings, role: str) -> Tracing | None:
    return Tracing(role, ratio=settings.tracing_ratio) if settings.tracing else None


async def check_before_start(settings: Settings, database: Database) -> None:
    """Raise SettingsError, one line, when this code must not run on this database."""
    try:
        revision = await current_revision(database)
    except (SQLAlchemyError, OSError) as fault:
        raise SettingsError(
            f"ONEPROTECT_DATABASE_URL: the database does not answer ({type(fault).__name__})"
        ) from fault
    if revision is None:
        raise SettingsError("the database has no schema yet; run: oneprotect migrate")
    # Migrations are additive: older code works on a schema that is newer than it knows.
    if revision in known_revisions() and revision != newest_revision():
        raise SettingsError(
            f"the database has schema {revision}, this version needs {newest_revision()};"
            " run: oneprotect migrate"
        )
    await demo.refuse_outside_local(settings, database)
