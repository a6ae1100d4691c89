"""Routes outside tenants: liveness, readiness, metrics, public keys."""

from datetime import datetime

import msgspec
import structlog
from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from sqlalchemy import text

from app import __version__
from app.api.keys import webhooks_keys
from app.api.metrics import metrics
from app.database import utcnow
from app.database.migrate import current_revision, known_revisions, newest_revision
from app.deliveries import heartbeat
from app.services import Services

log = structlog.get_logger(__name__)


class Live(msgspec.Struct, frozen=True):
    """Proof that this process answers."""

    status: str
    version: str


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What this process needs, and whether it has it; `detail` says what is wrong with what."""

    status: str  # ok, degraded (it serves, but nothing is delivered), unavailable
    database: bool
    schema: bool
    worker: bool
    schema_revision: str | None = None
    schema_wanted: str
    worker_seen_s: float | None = None  # how long ago any worker was last alive
    detail: dict[str, str] = {}


@get("/health/live", summary="Is this process alive", tags=["System"])
async def live() -> Live:
    return Live("ok", __version__)


@get(
    "/health/ready",
    summary="Can this process serve",
    description="503 without a database or with an older schema. Without a living worker it is"
    " `degraded` and answers 200: events are still kept, and a balancer that took the web"
    " processes away would only lose those too.",
    tags=["System"],
    responses={503: ResponseSpec(Ready, description="It cannot: see what is false.")},
)
async def ready(services: NamedDependency[Services]) -> Response[Ready]:
    state = await _look(services)
    return Response(state, status_code=503 if state.status == "unavailable" else 200)


async def _look(services: Services) -> Ready:
    wanted, revision, seen = newest_revision(), None, None
    database = False
    try:
        async with services.database.reading() as session:
            await session.execute(text("SELECT 1"))
            database = True
            seen = await heartbeat.last_seen(session)
        revision = await current_revision(services.database)
    except Exception as fault:  # noqa: BLE001  # whatever it is, the answer is: not ready
        log.warning("ready.not", fault=type(fault).__name__, database=database)
        database = False
    return _judged(database=database, revision=revision, wanted=wanted, seen=seen, now=utcnow())


def _judged(
    *, database: bool, revision: str | None, wanted: str, seen: datetime | None, now: datetime
) -> Ready:
    # Migrations are additive: a schema newer than this code knows serves it well.
    schema = revision is not None and (revision == wanted or revision not in known_revisions())
    age_s = (now - seen).total_seconds() if seen else None
    worker = age_s is not None and age_s < heartbeat.SILENT_AFTER_S
    detail = {}
    if not database:
        detail["database"] = "does not answer"
    elif not schema:
        detail["schema"] = f"is {revision or 'none'}, wanted is {wanted}: run oneprotect migrate"
    if database and not worker:
        since = "none was ever seen" if age_s is None else f"last seen {age_s:.0f} s ago"
        detail["worker"] = f"nothing is delivered: {since}"
    serves = database and schema
    return Ready(
        status="unavailable" if not serves else "ok" if worker else "degraded",
        database=database,
        schema=schema,
        worker=worker,
        schema_revision=revision,
        schema_wanted=wanted,
        worker_seen_s=None if age_s is None else round(age_s, 1),
        detail=detail,
    )


def system_router() -> Router:
    return Router(
        "/", route_handlers=[live, ready, metrics, webhooks_keys], opt={"exclude_from_csrf": True}
    )
