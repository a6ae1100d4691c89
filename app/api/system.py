"""Routes outside tenants: liveness, readiness, metrics and the documentation's files."""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Response, Router, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.static_files import create_static_files_router
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text

from app import __version__
from app.database.migrate import current_revision, newest_revision
from app.deliveries import heartbeat
from app.services import Services

FRONTEND: Final = Path(__file__).resolve().parents[2] / "frontend"
DOCS_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


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


@get("/api/docs", include_in_schema=False, media_type=MediaType.HTML)
async def docs() -> Response[bytes]:
    page = (FRONTEND / "docs.html").read_bytes()
    return Response(page, headers={"Content-Security-Policy": DOCS_CSP})


@get("/api/docs/openapi.json", include_in_schema=False, media_type=MediaType.JSON)
async def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
    return Response(msgspec.json.encode(request.app.openapi_schema.to_schema()))


def system_router() -> Router:
    swagger = Path(str(files("swagger_ui"))) / "static"
    return Router(
        "/",
        route_handlers=[
            live,
            ready,
            metrics,
            docs,
            openapi_json,
            create_static_files_router(
                path="/api/docs/swagger", directories=[swagger], include_in_schema=False
            ),
        ],
        opt={"exclude_from_csrf": True},
    )
