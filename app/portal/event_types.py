"""The catalogue of event types: what there is, and (for admins) what is said of each."""

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency

from app.deliveries import queries
from app.errors import FieldError, Invalid
from app.events import catalogue
from app.events.catalogue import KnownType
from app.events.schemas import SchemaMode
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.fields import form_of, query_text
from app.portal.guards import needs
from app.portal.integrations import DestinationForm as Form
from app.portal.rendering import link, page, redirect
from app.services import Services

MODES: Final = {
    SchemaMode.OFF: "nobody looks",
    SchemaMode.WARN: "kept, with a warning",
    SchemaMode.REFUSE: "refused",
}


@get("/events/types", opt=needs(Permission.EVENT_TYPE_READ))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    return await _page(request, services, principal)


@post("/events/types", opt=needs(Permission.EVENT_TYPE_CHANGE))
async def save(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    typed = await form_of(request)
    name = typed.get("type", "").strip()
    try:
        entry = catalogue.check_entry(name, _fields(typed))
    except Invalid as fault:
        return await _page(request, services, principal, form=Form.refused(typed, fault))
    async with services.change(principal.tenant_id) as session:
        await catalogue.save(session, principal.tenant_id, name, entry, actor=principal.actor)
    services.schemas.forget(principal.tenant_id)
    return redirect(request, link("/events/types", type=name), note="Event type saved.")


@post("/events/types/remove", opt=needs(Permission.EVENT_TYPE_CHANGE))
async def remove(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    name = (await form_of(request)).get("type", "")
    async with services.change(principal.tenant_id) as session:
        await catalogue.remove(session, principal.tenant_id, name, actor=principal.actor)
    services.schemas.forget(principal.tenant_id)
    return redirect(request, "/events/types", note="Event type removed.")


def _fields(typed: dict[str, str]) -> dict[str, Any]:
    """Read the form as the catalogue expects fields; Invalid for what is no JSON."""
    fields: dict[str, Any] = {
        "description": typed.get("description", "").replace("\r\n", "\n"),
        "schema_mode": typed.get("schema_mode", SchemaMode.OFF),
    }
    for name in ("example", "schema"):
        text = typed.get(name, "").strip()
        try:
            fields[name] = msgspec.json.decode(text) if text else None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Invalid.fields([FieldError(name, f"{name} must be JSON")]) from None
    return fields


async def _page(
    request: Http, services: Services, principal: Principal, *, form: Form | None = None
) -> Response[Any]:
    chosen = query_text(request, "type")
    async with services.database.reading(principal.tenant_id) as session:
        seen = await queries.event_types(session, principal.tenant_id)
        known = await catalogue.known_types(session, principal.tenant_id, seen)
    found = next((one for one in known if one.type == chosen), None)
    return page(
        request,
        "event_types.html",
        status=Invalid.status if form else 200,
        known=known,
        chosen=found,
        modes=MODES,
        form=form or _form_of(found),
    )


def _form_of(known: KnownType | None) -> Form:
    if known is None:
        return Form()
    return Form(
        values={
            "type": known.type,
            "description": known.description,
            "example": _indented(known.example),
            "schema": _indented(known.schema),
            "schema_mode": known.schema_mode,
        }
    )


def _indented(text: str | None) -> str:
    return msgspec.json.format(text, indent=2) if text else ""
