"""Events over the API: publish one or many, read what was published."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from app.api.auth import needs
from app.api.paging import DEFAULT_LIMIT, Limit, Moment, Page, below_id, page_of, words
from app.api.problems import documented
from app.api.schemas import takes
from app.deliveries import queries
from app.deliveries.fanout import Accepted
from app.deliveries.queries import DeliveryFilter, DeliveryRow, EventFilter, EventRow
from app.errors import FieldError
from app.events import catalogue, intake
from app.identity.permissions import Permission, Principal, Role
from app.services import Services

EXAMPLE = {
    "type": "alert.created",
    "data": {"severity": "high", "site": "Plant 7"},
    "id": "alert-4711",
}


class PublishIn(msgspec.Struct, forbid_unknown_fields=True):
    """An event; `id` is the publisher's own key, which makes a repeat harmless."""

    type: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=128)]
    data: dict[str, Any]
    tenant: Annotated[
        str | None, msgspec.Meta(description="for platform tokens; a tenant's own is implied")
    ] = None
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=intake.MAX_KEY)] | None = None


class BatchPublishIn(msgspec.Struct, forbid_unknown_fields=True):
    """Up to 1,000 events: all are kept, or none."""

    events: Annotated[list[PublishIn], msgspec.Meta(min_length=1, max_length=intake.MAX_BATCH)]


class Published(msgspec.Struct, frozen=True):
    """The event's id, which every attempt carries, and how many destinations get it.

    `warnings` say where a kept event does not fit the schema of its type; absent when it does.
    """

    id: str
    deliveries: int
    warnings: list[FieldError] | msgspec.UnsetType = msgspec.UNSET


class BatchPublished(msgspec.Struct, frozen=True):
    """One result per event, in order."""

    items: list[Accepted]


class EventDetail(EventRow, frozen=True, kw_only=True):
    """An event with its deliveries.

    `payload`, and `warnings` of where it does not fit its schema, are null for roles that may not
    see payloads.
    """

    payload: msgspec.Raw
    warnings: list[FieldError] | None
    deliveries: list[DeliveryRow]


def _own_tenant(principal: Principal) -> str | None:
    return None if principal.role is Role.PLATFORM else principal.tenant_id


def _trace_of(request: Request[Any, Any, Any]) -> str | None:
    """Return the publisher's own trace context (W3C Trace Context, section 3.2)."""
    return request.headers.get("traceparent")


class Events(Controller):
    tags = ("Events",)

    @post(
        "/events",
        summary="Publish an event",
        description="202 means: the event and all its deliveries are on the disk. The same `id`"
        " with the same body answers 200 with the first answer; with another body, 409.",
        status_code=202,
        opt=needs(Permission.EVENT_PUBLISH),
        operation_class=takes(PublishIn, EXAMPLE),
        responses=documented(400, 409, 413, 503)
        | {200: ResponseSpec(Published, description="A repeat: the first answer.")},
        request_max_body_size=intake.MAX_DATA_BYTES + intake.ENVELOPE_BYTES,
    )
    async def publish(
        self,
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> Response[Published]:
        own = _own_tenant(principal)
        event = intake.parse_event(await request.body(), own)
        composed = intake.compose([event], own_tenant=own, batch=False)
        (answer,) = await services.publish(
            composed, by_platform=own is None, batch=False, caller=_trace_of(request)
        )
        return Response(
            Published(answer.id, answer.deliveries, answer.warnings),
            status_code=200 if answer.duplicate else 202,
        )

    @post(
        "/events/batch",
        summary="Publish up to 1,000 events",
        description="All are kept in one transaction, or none.",
        status_code=202,
        opt=needs(Permission.EVENT_PUBLISH),
        operation_class=takes(BatchPublishIn, {"events": [EXAMPLE]}),
        responses=documented(400, 409, 413, 503),
        request_max_body_size=intake.MAX_BATCH_BYTES,
    )
    async def publish_batch(
        self,
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> BatchPublished:
        own = _own_tenant(principal)
        events = intake.parse_batch(await request.body(), own)
        composed = intake.compose(events, own_tenant=own, batch=True)
        answers = await services.publish(
            composed, by_platform=own is None, batch=True, caller=_trace_of(request)
        )
        return BatchPublished(answers)

    @get(
        "/events",
        summary="List events",
        opt=needs(Permission.EVENT_READ),
        responses=documented(400),
    )
    async def list(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        event_type: Annotated[str | None, words(128, name="type")] = None,
        idempotency_key: Annotated[str | None, words(255)] = None,
        before: Moment = None,
        after: Moment = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Annotated[str | None, below_id("evt")] = None,
    ) -> Page[EventRow]:
        wanted = EventFilter(
            type=event_type, idempotency_key=idempotency_key, before=before, after=after
        )
        async with services.database.reading(principal.tenant_id) as session:
            rows = await queries.list_events(
                session, principal.tenant_id, wanted, limit=limit + 1, below=cursor
            )
        return page_of(rows, limit, lambda row: row.id)

    @get(
        "/events/{event_id:str}",
        summary="Read an event with its deliveries",
        opt=needs(Permission.EVENT_READ),
        responses=documented(404),
    )
    async def read(
        self,
        event_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> EventDetail:
        tenant_id = principal.tenant_id
        async with services.database.reading(principal.tenant_id) as session:
            row, body = await queries.get_event(session, tenant_id, event_id)
            owed = await queries.list_deliveries(
                session, tenant_id, DeliveryFilter(event_id=event_id), limit=1_000
            )
            warnings = await catalogue.warnings_of(session, tenant_id, event_id)
        is_open = principal.may(Permission.PAYLOAD_READ)
        return EventDetail(
            **msgspec.structs.asdict(row),
            payload=msgspec.Raw(body if is_open else b"null"),
            warnings=warnings if is_open else None,
            deliveries=owed,
        )
