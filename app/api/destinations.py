"""Destinations over the API: the same rules as the portal's form."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.api.auth import needs
from app.api.paging import DEFAULT_LIMIT, Limit, Page, below_id, page_of
from app.api.problems import documented
from app.api.schemas import MAX_BODY_BYTES, read_object, takes
from app.deliveries import control, health
from app.deliveries.health import Status
from app.destinations import rules, service
from app.destinations.models import Destination, Lane
from app.errors import FieldError, Invalid, unknown_field
from app.identity.permissions import Permission, Principal
from app.sending.signing import Secret
from app.services import Services

SECRET_EXAMPLE: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class DestinationIn(msgspec.Struct, forbid_unknown_fields=True):
    """A new destination."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=rules.NAME_MAX)]
    endpoint_url: Annotated[str, msgspec.Meta(description="https, public; where events are POSTed")]
    signing_secret: Annotated[
        str | None,
        msgspec.Meta(description="whsec_ + base64 of 24 to 64 bytes; generated when left out"),
    ] = None
    event_types: Annotated[
        list[str], msgspec.Meta(description="alert.created, alert.* or *; empty: every type")
    ] = []
    description: Annotated[str, msgspec.Meta(max_length=rules.DESCRIPTION_MAX)] = ""
    headers: Annotated[
        dict[str, str], msgspec.Meta(description="sent with every request; values are encrypted")
    ] = {}
    rate_limit_per_second: Annotated[int, msgspec.Meta(ge=1, le=rules.RATE_MAX)] | None = None
    ordered: bool = False
    asymmetric_signature: Annotated[
        bool, msgspec.Meta(description="sign with Ed25519 (v1a) too, beside v1")
    ] = False
    trace_context: Annotated[
        bool, msgspec.Meta(description="send the W3C traceparent header of a traced attempt")
    ] = False


class DestinationPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    endpoint_url: str | msgspec.UnsetType = msgspec.UNSET
    event_types: list[str] | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    rate_limit_per_second: int | msgspec.UnsetType | None = msgspec.UNSET
    ordered: bool | msgspec.UnsetType = msgspec.UNSET
    asymmetric_signature: bool | msgspec.UnsetType = msgspec.UNSET
    trace_context: bool | msgspec.UnsetType = msgspec.UNSET


class RotateIn(msgspec.Struct, forbid_unknown_fields=True):
    """The new secret (generated when left out), and how long the old one signs beside it."""

    signing_secret: str | None = None
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=service.MAX_OVERLAP_S)] = (
        service.DEFAULT_OVERLAP_S
    )


class HealthBrief(msgspec.Struct, frozen=True):
    """How it goes just now; counts and times stand under /integrations/health."""

    consecutive_failures: int
    failing_since: datetime | None
    paused_until: datetime | None


class DestinationOut(msgspec.Struct, frozen=True, kw_only=True):
    """A destination; its secret is never among the fields."""

    id: str
    name: str
    description: str
    endpoint_url: str
    event_types: list[str]
    header_names: list[str]
    rate_limit_per_second: int | None
    ordered: bool
    asymmetric_signature: bool
    trace_context: bool
    status: Status
    disabled_reason: str | None
    secret_fingerprint: str | None
    health: HealthBrief
    created_at: datetime
    updated_at: datetime


class DestinationWithSecret(DestinationOut, frozen=True, kw_only=True):
    """A destination with its new secret: shown in this answer only."""

    signing_secret: str


class TestSent(msgspec.Struct, frozen=True):
    """The delivery of the test event; read it to see the result."""

    delivery_id: str


async def _out(services: Services, principal: Principal, destination_id: str) -> DestinationOut:
    async with services.database.reading(principal.tenant_id) as session:
        destination = await service.get(session, principal.tenant_id, destination_id)
        lane = await session.get(Lane, (principal.tenant_id, destination_id))
        return _shown(
            services, destination, lane, await service.fingerprints(session, [destination])
        )


def _shown(
    services: Services,
    destination: Destination,
    lane: Lane | None,
    fingerprints: dict[str, str],
) -> DestinationOut:
    return DestinationOut(
        id=destination.id,
        name=destination.name,
        description=destination.description,
        endpoint_url=destination.endpoint_url,
        event_types=destination.event_types,
        header_names=service.header_names(destination, services.keyring),
        rate_limit_per_second=destination.rate_limit_per_second,
        ordered=destination.ordered,
        asymmetric_signature=destination.asymmetric_signature,
        trace_context=destination.trace_context,
        status=health.status_of(destination, lane),
        disabled_reason=destination.disabled_reason,
        secret_fingerprint=fingerprints.get(destination.id),
        health=HealthBrief(
            lane.consecutive_failures if lane else 0,
            lane.failing_since if lane else None,
            lane.open_until if lane else None,
        ),
        created_at=destination.created_at,
        updated_at=destination.updated_at,
    )


def _with_secret(shown: DestinationOut, secret: Secret) -> DestinationWithSecret:
    return DestinationWithSecret(**msgspec.structs.asdict(shown), signing_secret=secret.reveal())


class Destinations(Controller):
    path = "/integrations/destinations"
    tags = ("Destinations",)
    request_max_body_size = MAX_BODY_BYTES

    @post(
        summary="Create a destination",
        description="The answer holds the signing secret, which is shown this once.",
        opt=needs(Permission.DESTINATION_CHANGE),
        operation_class=takes(
            DestinationIn,
            {
                "name": "Tenant SOC webhook",
                "endpoint_url": "https://hooks.example.com/oneprotect",
                "event_types": ["alert.*"],
            },
        ),
        responses=documented(400, 413),
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DestinationWithSecret:
        draft = await rules.check_new(await read_object(request), services.egress)
        async with services.change(principal.tenant_id) as session:
            destination, secret = await service.register(
                session, principal.tenant_id, draft,
                keyring=services.keyring, actor=principal.actor,
            )  # fmt: skip
        return _with_secret(await _out(services, principal, destination.id), secret)

    @get(
        summary="List destinations",
        opt=needs(Permission.DESTINATION_READ),
        responses=documented(400),
    )
    async def list(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Annotated[str | None, below_id("dst")] = None,
    ) -> Page[DestinationOut]:
        async with services.database.reading(principal.tenant_id) as session:
            rows = await service.page(session, principal.tenant_id, limit=limit + 1, below=cursor)
            prints = await service.fingerprints(session, [row[0] for row in rows])
        shown = [_shown(services, destination, lane, prints) for destination, lane in rows]
        return page_of(shown, limit, lambda one: one.id)

    @get(
        "/{destination_id:str}",
        summary="Read a destination",
        opt=needs(Permission.DESTINATION_READ),
        responses=documented(404),
    )
    async def read(
        self,
        destination_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DestinationOut:
        return await _out(services, principal, destination_id)

    @patch(
        "/{destination_id:str}",
        summary="Change a destination",
        description="Secrets are changed by rotate-secret only.",
        opt=needs(Permission.DESTINATION_CHANGE),
        operation_class=takes(DestinationPatch, {"event_types": ["alert.*", "incident.opened"]}),
        responses=documented(400, 404, 413),
    )
    async def change(
        self,
        destination_id: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DestinationOut:
        draft = await rules.check_change(await read_object(request), services.egress)
        async with services.change(principal.tenant_id) as session:
            await control.change_destination(
                session, principal.tenant_id, destination_id, draft,
                keyring=services.keyring, actor=principal.actor,
            )  # fmt: skip
        return await _out(services, principal, destination_id)

    @delete(
        "/{destination_id:str}",
        summary="Delete a destination",
        description="What waits for it is cancelled; its history stays readable.",
        opt=needs(Permission.DESTINATION_CHANGE),
        responses=documented(404),
    )
    async def delete(
        self,
        destination_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> None:
        async with services.change(principal.tenant_id) as session:
            await control.delete_destination(
                session, principal.tenant_id, destination_id, actor=principal.actor
            )

    @post(
        "/{destination_id:str}/disable",
        summary="Disable a destination",
        description="Nothing more is sent; what waits for it is cancelled.",
        status_code=200,
        opt=needs(Permission.DESTINATION_CHANGE),
        responses=documented(404),
    )
    async def disable(
        self,
        destination_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DestinationOut:
        async with services.change(principal.tenant_id) as session:
            await control.disable_destination(
                session, principal.tenant_id, destination_id,
                reason=control.BY_A_PERSON + principal.actor.label, actor=principal.actor,
            )  # fmt: skip
        return await _out(services, principal, destination_id)

    @post(
        "/{destination_id:str}/enable",
        summary="Enable a destination",
        status_code=200,
        opt=needs(Permission.DESTINATION_CHANGE),
        responses=documented(404),
    )
    async def enable(
        self,
        destination_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DestinationOut:
        async with services.change(principal.tenant_id) as session:
            await service.enable(
                session, principal.tenant_id, destination_id, actor=principal.actor
            )
        return await _out(services, principal, destination_id)

    @post(
        "/{destination_id:str}/test",
        summary="Send a test event",
        status_code=202,
        opt=needs(Permission.DESTINATION_CHANGE),
        responses=documented(404, 409),
    )
    async def test(
        self,
        destination_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> TestSent:
        async with services.change(principal.tenant_id) as session:
            delivery_id = await control.send_test(
                session, services.store, principal.tenant_id, destination_id,
                actor=principal.actor,
            )  # fmt: skip
        return TestSent(delivery_id)

    @post(
        "/{destination_id:str}/rotate-secret",
        summary="Rotate the signing secret",
        description="The new secret is shown once; the old one signs beside it for the overlap.",
        status_code=200,
        opt=needs(Permission.DESTINATION_CHANGE),
        operation_class=takes(RotateIn, {"overlap_seconds": 86_400}, required=False),
        responses=documented(400, 404, 413),
    )
    async def rotate(
        self,
        destination_id: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> DestinationWithSecret:
        secret, overlap_s = _rotation(await read_object(request))
        async with services.change(principal.tenant_id) as session:
            _, fresh = await service.rotate_secret(
                session, principal.tenant_id, destination_id, secret=secret,
                overlap_s=overlap_s, keyring=services.keyring, actor=principal.actor,
            )  # fmt: skip
        return _with_secret(await _out(services, principal, destination_id), fresh)


def _rotation(fields: dict[str, Any]) -> tuple[Secret | None, int]:
    allowed = RotateIn.__struct_fields__
    errors = [unknown_field(name, allowed) for name in fields if name not in allowed]
    secret = None
    try:
        secret = rules.secret_or_none(fields.get("signing_secret"))
    except rules.FieldFault as fault:
        errors.append(FieldError("signing_secret", str(fault.faults[0])))
    overlap = fields.get("overlap_seconds", service.DEFAULT_OVERLAP_S)
    if not (type(overlap) is int and 0 <= overlap <= service.MAX_OVERLAP_S):
        rule = f"overlap_seconds must be a whole number from 0 to {service.MAX_OVERLAP_S}"
        errors.append(FieldError("overlap_seconds", rule))
    if errors:
        raise Invalid.fields(errors)
    return secret, overlap
