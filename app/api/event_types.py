"""The catalogue of event types over the API: a tenant's own, or by the platform for everybody."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Controller, Request, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.api.auth import needs
from app.api.problems import documented
from app.api.schemas import MAX_BODY_BYTES, read_object, takes
from app.deliveries import queries
from app.errors import NotFound
from app.events import catalogue
from app.events.catalogue import KnownType
from app.events.schemas import SchemaMode
from app.identity.permissions import Permission, Principal
from app.services import Services

EXAMPLE = {
    "description": "A sensor saw something that a person should look at.",
    "example": {"severity": "high", "site": "Plant 7"},
    "schema": {
        "type": "object",
        "required": ["severity"],
        "properties": {"severity": {"enum": ["low", "high"]}},
    },
    "schema_mode": "warn",
}


class EventTypeIn(msgspec.Struct, forbid_unknown_fields=True):
    """What to say of a type; it replaces what was said before."""

    description: str = ""
    example: dict[str, Any] | None = None
    schema: dict[str, Any] | None = None
    schema_mode: Literal["off", "warn", "refuse"] = "off"


class EventTypeOut(msgspec.Struct, frozen=True, kw_only=True):
    """A type of event.

    `scope` is `tenant` for the tenant's own entry, `platform` for one that all tenants share, and
    null for a type that nobody described. `seen` says whether it is among the newest events.
    """

    type: str
    scope: Literal["platform", "tenant"] | None
    description: str
    example: msgspec.Raw
    schema: msgspec.Raw
    schema_mode: SchemaMode
    seen: bool
    updated_at: datetime | None


class EventTypeList(msgspec.Struct, frozen=True):
    """All types that were described or seen, in order."""

    items: list[EventTypeOut]


def _out(known: KnownType) -> EventTypeOut:
    return EventTypeOut(
        type=known.type,
        scope=known.scope,
        description=known.description,
        example=msgspec.Raw((known.example or "null").encode()),
        schema=msgspec.Raw((known.schema or "null").encode()),
        schema_mode=known.schema_mode,
        seen=known.seen,
        updated_at=known.updated_at,
    )


async def _all(services: Services, tenant_id: str) -> list[EventTypeOut]:
    async with services.database.reading(tenant_id) as session:
        seen = await queries.event_types(session, tenant_id)
        return [_out(one) for one in await catalogue.known_types(session, tenant_id, seen)]


async def _one(services: Services, tenant_id: str, event_type: str) -> EventTypeOut:
    for one in await _all(services, tenant_id):
        if one.type == event_type:
            return one
    raise NotFound


class EventTypes(Controller):
    path = "/event-types"
    tags = ("Event types",)
    request_max_body_size = MAX_BODY_BYTES

    @get(
        summary="List event types",
        description="What the platform and the tenant described, and what was seen lately.",
        opt=needs(Permission.EVENT_TYPE_READ),
        responses=documented(),
    )
    async def list(
        self, services: NamedDependency[Services], principal: NamedDependency[Principal]
    ) -> EventTypeList:
        return EventTypeList(await _all(services, principal.tenant_id))

    @get(
        "/{event_type:str}",
        summary="Read an event type",
        opt=needs(Permission.EVENT_TYPE_READ),
        responses=documented(404),
    )
    async def read(
        self,
        event_type: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> EventTypeOut:
        return await _one(services, principal.tenant_id, event_type)

    @put(
        "/{event_type:str}",
        summary="Describe an event type",
        description="With a schema, `warn` keeps an event that does not fit and says where;"
        " `refuse` answers 400 and keeps nothing. A platform token describes for every tenant."
        " What the platform publishes is refused only by the platform's own schema.",
        status_code=200,
        opt=needs(Permission.EVENT_TYPE_CHANGE),
        operation_class=takes(EventTypeIn, EXAMPLE),
        responses=documented(400, 404, 413),
    )
    async def save(
        self,
        event_type: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> EventTypeOut:
        entry = catalogue.check_entry(event_type, await read_object(request))
        async with services.change(principal.tenant_id) as session:
            await catalogue.save(
                session, principal.tenant_id, event_type, entry, actor=principal.actor
            )
        services.schemas.forget(principal.tenant_id)
        return await _one(services, principal.tenant_id, event_type)

    @delete(
        "/{event_type:str}",
        summary="Take an event type out of the catalogue",
        description="Events of the type are untouched; the platform's entry stands again.",
        opt=needs(Permission.EVENT_TYPE_CHANGE),
        responses=documented(404),
    )
    async def delete(
        self,
        event_type: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> None:
        async with services.change(principal.tenant_id) as session:
            await catalogue.remove(session, principal.tenant_id, event_type, actor=principal.actor)
        services.schemas.forget(principal.tenant_id)
