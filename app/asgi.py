"""Composition root of the web process: both faces over one set of services."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog
from litestar import Litestar, Request, Response
from litestar.config.compression import CompressionConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException

from app.api import HANDLERS, Limits, add_headers, api_router, system_router
from app.api.docs import openapi_config
from app.database import Database
from app.deliveries.store import store_for
from app.identity.sign_on import sign_on_of
from app.limiter import Limiter
from app.live import LiveHub
from app.observability.logs import set_up_logs
from app.observability.requests import request_ids
from app.portal import PAGE_HANDLERS, portal_router, template_config
from app.portal.url_check import TYPING
from app.runtime import check_before_start, egress_of, keyring_of, tracing_of
from app.services import Services
from app.settings import Settings
from app.wakeup import Bell, open_queue

log = structlog.get_logger(__name__)

#: Half the time of the highest level, for a twelfth more bytes.
GZIP_LEVEL: Final = 4


def create_app(settings: Settings | None = None) -> Litestar:
    """Build the web application; without settings they are read from the environment."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with services_for(app.state.settings) as services:
            app.state.services = services
            yield

    def services(state: State) -> Services:
        found: Services = state.services
        return found

    return Litestar(
        route_handlers=[api_router(), system_router(), portal_router()],
        lifespan=[lifespan],
        dependencies={"services": Provide(services, sync_to_thread=False)},
        exception_handlers={**HANDLERS, NotFoundException: _no_such_route},
        middleware=[request_ids],
        before_send=[add_headers],
        openapi_config=openapi_config(),
        template_config=template_config(),
        compression_config=CompressionConfig(
            "gzip", gzip_compress_level=GZIP_LEVEL, exclude=["^/live$"]
        ),
        logging_config=None,
        state=state_of(settings or Settings.from_env(os.environ)),
    )


def state_of(settings: Settings) -> State:
    """Return all that one run of the application keeps; its lifespan adds the services."""
    return State({"settings": settings, "limits": Limits(), "url_checks": Limiter(TYPING)})


def _no_such_route(request: Request[Any, Any, Any], fault: NotFoundException) -> Response[Any]:
    """Answer in the language of the face that was asked: a document below /api, else a page."""
    of_the_api = request.scope["path"].startswith("/api/")
    handlers = HANDLERS if of_the_api else PAGE_HANDLERS
    answer: Response[Any] = handlers[HTTPException](request, fault)
    return answer


@contextlib.asynccontextmanager
async def services_for(settings: Settings) -> AsyncIterator[Services]:
    """Open what the faces need, and close it in the opposite order."""
    set_up_logs(settings.env, settings.log_level)
    database = Database(settings.database_url)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await check_before_start(settings, database)
        queue = await open_queue(settings.broker_url)
        stack.push_async_callback(queue.disconnect)
        bell = await stack.enter_async_context(Bell(database, queue))
        hub = LiveHub(database)
        await hub.open()
        stack.push_async_callback(hub.close)
        tracing = tracing_of(settings, "web")
        if tracing:
            stack.callback(tracing.close)
        yield Services(
            settings=settings,
            database=database,
            store=store_for(database.dialect),
            keyring=keyring_of(settings),
            egress=egress_of(settings),
            bell=bell,
            hub=hub,
            queue=queue,
            tracing=tracing,
            sign_on=sign_on_of(settings),
        )
