"""The JSON face: versioned, bearer tokens, stable. Every error is a problem document."""

from litestar import Router
from litestar.di import Provide

from app.api.audit import Audit
from app.api.auth import guard, provide_principal
from app.api.deliveries import Deliveries
from app.api.destinations import Destinations
from app.api.event_types import EventTypes
from app.api.events import Events
from app.api.headers import add_headers
from app.api.identity import Identity
from app.api.jobs import Jobs
from app.api.limits import Limits
from app.api.line import Lines
from app.api.members import Members
from app.api.paging import DECODERS
from app.api.problems import HANDLERS
from app.api.retries import Retries
from app.api.secrets import Secrets
from app.api.sessions import Sessions
from app.api.system import system_router

__all__ = ["HANDLERS", "Limits", "add_headers", "api_router", "system_router"]


def api_router() -> Router:
    return Router(
        "/api/v1",
        route_handlers=[
            Destinations,
            Secrets,
            Lines,
            Deliveries,
            Retries,
            Jobs,
            Events,
            EventTypes,
            Audit,
            Identity,
            Members,
            Sessions,
        ],
        guards=[guard],
        dependencies={"principal": Provide(provide_principal, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        type_decoders=DECODERS,
        security=[{"bearer": []}],
        opt={"exclude_from_csrf": True},
    )
