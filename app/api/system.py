"""Routes outside tenants: liveness, readiness, metrics."""

import msgspec
from litestar import MediaType, Response, Router, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text

from app import __version__
from app.api.keys import webhooks_keys
from app.database.migrate import current_revision, newest_revision
from app.deliveries import heartbeat
from app.services import Services


class Live(msgspec.Struct, frozen=True):
    """Proof that this process answers."""

    status: str
    version: str


class Ready(msgspec.Struct, frozen=True):
    """What this process needs, and whether it has it."""

    status: str
    database: bool
    schema: bool
    worker: bool


@get("/health/live", summary="Is this process alive", tags=["System"])
async def live() -> Live:
    return Live("ok", __version__)


@get(
    "/health/ready",
    summary="Can this process serve",
    description="503 without a database or with an old schema; `worker` is told, not required.",
    tags=["System"],
    responses={503: ResponseSpec(Ready, description="It cannot: see what is false.")},
)
async def ready(services: NamedDependency[Services]) -> Response[Ready]:
    database = schema = worker = False
    try:
        async with services.database.reading() as session:
            await session.execute(text("SELECT 1"))
            database = True
            worker = await heartbeat.is_alive(session)
        schema = await current_revision(services.database) == newest_revision()
    except Exception:  # noqa: BLE001  # whatever it is, the answer is: not ready
        database = False
    ok = database and schema
    state = Ready("ok" if ok else "unavailable", database, schema, worker)
    return Response(state, status_code=200 if ok else 503)


@get("/metrics", summary="Prometheus metrics", tags=["System"], media_type=MediaType.TEXT)
async def metrics() -> Response[bytes]:
    # Litestar adds the charset itself.
    kind = CONTENT_TYPE_LATEST.partition("; charset")[0]
    return Response(generate_latest(), media_type=kind)


def system_router() -> Router:
    return Router(
        "/", route_handlers=[live, ready, metrics, webhooks_keys], opt={"exclude_from_csrf": True}
    )
