"""Deliveries over the API: lists, one with its attempts, retry and cancel, and health."""

from typing import Annotated

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from app.api.auth import needs
from app.api.paging import (
    DEFAULT_LIMIT,
    Limit,
    Moment,
    Page,
    below_id,
    choice,
    number,
    page_of,
    words,
)
from app.api.problems import documented
from app.api.schemas import gives
from app.deliveries import control, queries
from app.deliveries.health import Health, Status, Window, health_of_tenant
from app.deliveries.models import State
from app.deliveries.queries import AttemptRow, DeliveryFilter, DeliveryRow
from app.errors import NotFound
from app.identity.permissions import Permission, Principal, Role
from app.sending.outcome import OutcomeKind
from app.services import Services


class DeliveryDetail(DeliveryRow, frozen=True, kw_only=True):
    """A delivery with its attempts, oldest first; addresses are for tenant admins."""

    attempts: list[AttemptRow]


class DestinationHealthOut(msgspec.Struct, frozen=True, kw_only=True):
    """The health of one destination over the window."""

    destination_id: str
    name: str
    status: Status
    health: Health


class HealthOut(msgspec.Struct, frozen=True):
    """The health of the tenant as a whole, and of each destination."""

    window: Window
    total: Health
    items: list[DestinationHealthOut]


class Deliveries(Controller):
    path = "/integrations"
    tags = ("Deliveries",)

    @get(
        "/deliveries",
        summary="List deliveries",
        opt=needs(Permission.DELIVERY_READ),
        responses=documented(400),
    )
    async def list(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        destination_id: Annotated[str | None, words(64)] = None,
        event_id: Annotated[str | None, words(64)] = None,
        delivery_state: Annotated[State | None, choice(State, name="state")] = None,
        event_type: Annotated[str | None, words(128)] = None,
        outcome: Annotated[OutcomeKind | None, choice(OutcomeKind)] = None,
        before: Moment = None,
        after: Moment = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Annotated[str | None, below_id("dlv")] = None,
    ) -> Page[DeliveryRow]:
        wanted = DeliveryFilter(
            destination_id=destination_id,
            event_id=event_id,
            state=delivery_state,
            event_type=event_type,
            outcome=outcome,
            before=before,
            after=after,
        )
        async with services.database.reading(principal.tenant_id) as session:
            rows = await queries.list_deliveries(
                session, principal.tenant_id, wanted, limit=limit + 1, below=cursor
            )
        return page_of(rows, limit, lambda row: row.id)

    @get(
        "/deliveries/{delivery_id:str}",
        summary="Read a delivery with its attempts",
        opt=needs(Permission.DELIVERY_READ),
        responses=documented(404),
    )
    async def read(
        self,
        delivery_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DeliveryDetail:
        return await _detail(services, principal, delivery_id)

    @get(
        "/deliveries/{delivery_id:str}/curl",
        summary="Read an attempt as a curl command",
        description="The last attempt, or the one of that number. Signatures and the values of own"
        " headers are placeholders; the body stands in it for roles that may see payloads.",
        media_type="text/plain",
        opt=needs(Permission.DELIVERY_READ),
        operation_class=gives("text/plain"),
        responses=documented(400, 404),
    )
    async def curl(
        self,
        delivery_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        attempt: Annotated[int | None, number(1, 1_000_000)] = None,
    ) -> str:
        tenant_id = principal.tenant_id
        async with services.database.reading(tenant_id) as session:
            row = await queries.get_delivery(session, tenant_id, delivery_id)
            attempts = await queries.list_attempts(session, tenant_id, delivery_id)
            chosen = [one for one in attempts if attempt in (None, one.number)]
            if not chosen:
                raise NotFound
            body = await queries.body_of(session, tenant_id, row.event_id)
            is_open = principal.may(Permission.PAYLOAD_READ)
            return await queries.curl_of(
                session, row, chosen[-1], tenant_id, body=body if is_open else None
            )

    @post(
        "/deliveries/{delivery_id:str}/retry",
        summary="Retry a delivery now",
        description="Also a failed or cancelled one; a delivered one is final (409).",
        status_code=202,
        opt=needs(Permission.DELIVERY_CHANGE),
        responses=documented(404, 409),
    )
    async def retry(
        self,
        delivery_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DeliveryDetail:
        async with services.change(principal.tenant_id) as session:
            await control.retry(session, principal.tenant_id, delivery_id, actor=principal.actor)
        return await _detail(services, principal, delivery_id)

    @post(
        "/deliveries/{delivery_id:str}/cancel",
        summary="Cancel a waiting delivery",
        description="Also the dead letter that holds an ordered destination's line: that skips it.",
        status_code=200,
        opt=needs(Permission.DELIVERY_CHANGE),
        responses=documented(404, 409),
    )
    async def cancel(
        self,
        delivery_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DeliveryDetail:
        async with services.change(principal.tenant_id) as session:
            await control.cancel(session, principal.tenant_id, delivery_id, actor=principal.actor)
        return await _detail(services, principal, delivery_id)

    @get(
        "/health",
        summary="Delivery health",
        description="Counts by state, success rate, p50 and p95 attempt time, oldest due and next"
        " retry: for the tenant and for each destination.",
        opt=needs(Permission.DESTINATION_READ),
        responses=documented(400),
    )
    async def health(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        window: Annotated[Window, QueryParameter()] = Window.DAY,
    ) -> HealthOut:
        async with services.database.reading(principal.tenant_id) as session:
            total, rows = await health_of_tenant(session, principal.tenant_id, window)
        items = [
            DestinationHealthOut(
                destination_id=row.id, name=row.name, status=row.status, health=row.health
            )
            for row in rows
        ]
        return HealthOut(window, total, items)


async def _detail(services: Services, principal: Principal, delivery_id: str) -> DeliveryDetail:
    async with services.database.reading(principal.tenant_id) as session:
        row = await queries.get_delivery(session, principal.tenant_id, delivery_id)
        attempts = await queries.list_attempts(session, principal.tenant_id, delivery_id)
    if principal.role is not Role.TENANT_ADMIN:
        attempts = [msgspec.structs.replace(a, resolved_address=None) for a in attempts]
    return DeliveryDetail(**msgspec.structs.asdict(row), attempts=attempts)
