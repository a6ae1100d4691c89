"""What a tenant admin changes about one destination; each ends on the page that shows it."""

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.crypto import Keyring
from app.deliveries import control, queries
from app.destinations import rules, service
from app.destinations.models import Destination
from app.errors import Invalid
from app.identity.permissions import Permission, Principal
from app.portal import delivery_rules, known_types
from app.portal.cookies import Http
from app.portal.destinations import Fresh, destination_page
from app.portal.fields import form_of, known_id, words_of
from app.portal.guards import needs
from app.portal.integrations import DestinationForm
from app.portal.rendering import is_target, link, page, redirect
from app.portal.trials import trial_page
from app.sending.signing import Secret
from app.services import Services

CHANGE = needs(Permission.DESTINATION_CHANGE)


def _path(destination_id: str) -> str:
    return f"/integrations/{known_id(destination_id, 'dst')}"


@post("/integrations/{destination_id:str}/test", opt=CHANGE)
async def send_test(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    path = _path(destination_id)
    async with services.change(principal.tenant_id) as session:
        delivery_id = await control.send_test(
            session, services.store, principal.tenant_id, destination_id, actor=principal.actor
        )
    if is_target(request, "trial"):
        return await trial_page(request, services, principal, delivery_id)
    return redirect(request, link(path, delivery=delivery_id), note="Test event sent.")


@post("/integrations/{destination_id:str}/enable", opt=CHANGE)
async def enable(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    path = _path(destination_id)
    async with services.change(principal.tenant_id) as session:
        await service.enable(session, principal.tenant_id, destination_id, actor=principal.actor)
    return redirect(request, path, note="Destination enabled.")


@post("/integrations/{destination_id:str}/disable", opt=CHANGE)
async def disable(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    path = _path(destination_id)
    async with services.change(principal.tenant_id) as session:
        await control.disable_destination(
            session,
            principal.tenant_id,
            destination_id,
            reason=control.BY_A_PERSON + principal.actor.label,
            actor=principal.actor,
        )
    return redirect(request, path, note="Destination disabled.")


@post("/integrations/{destination_id:str}/rotate-secret", opt=CHANGE)
async def rotate(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    """Answer with the page itself, not a redirect: the new secret is in this answer only."""
    _path(destination_id)
    try:
        secret, overlap_s = _rotation(await form_of(request))
        async with services.change(principal.tenant_id) as session:
            _, new = await service.rotate_secret(
                session,
                principal.tenant_id,
                destination_id,
                secret=secret,
                overlap_s=overlap_s,
                keyring=services.keyring,
                actor=principal.actor,
            )
        fresh, status = Fresh(secret=new.reveal()), 200
    except Invalid as fault:
        fresh, status = Fresh(error=fault.detail), fault.status
    return await destination_page(
        request, services, principal, destination_id, fresh=fresh, status=status
    )


def _rotation(form: dict[str, str]) -> tuple[Secret | None, int]:
    overlap = form.get("overlap_seconds", "")
    if not (overlap.isascii() and overlap.isdecimal() and int(overlap) <= service.MAX_OVERLAP_S):
        raise Invalid(f"overlap_seconds must be a whole number from 0 to {service.MAX_OVERLAP_S}")
    try:
        return rules.secret_or_none(form.get("signing_secret", "").strip() or None), int(overlap)
    except rules.FieldFault as fault:
        raise Invalid(str(fault.faults[0])) from None


@get("/integrations/{destination_id:str}/edit", opt=CHANGE)
async def edit_form(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    return await _edit_page(request, services, principal, destination_id)


@post("/integrations/{destination_id:str}/edit", opt=CHANGE)
async def edit(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    path = _path(destination_id)
    typed = await form_of(request)
    fields: dict[str, Any] = {
        name: typed[name].strip()
        for name in ("name", "endpoint_url", "description")
        if name in typed
    }
    fields["event_types"] = words_of(typed.get("event_types", ""))
    async with services.database.reading(principal.tenant_id) as session:
        destination = await service.get(session, principal.tenant_id, destination_id)
    fields |= delivery_rules.fields_of(typed, destination, services.keyring)
    try:
        draft = await rules.check_change(fields, services.egress)
    except Invalid as fault:
        form = DestinationForm.refused(delivery_rules.without_values(typed), fault)
        return await _edit_page(request, services, principal, destination_id, form=form)
    async with services.change(principal.tenant_id) as session:
        await control.change_destination(
            session,
            principal.tenant_id,
            destination_id,
            draft,
            keyring=services.keyring,
            actor=principal.actor,
        )
    return redirect(request, path, note="Destination saved.")


@post("/integrations/{destination_id:str}/delete", opt=CHANGE)
async def delete(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    """Delete after the name was typed; the name is what people check, ids they do not read."""
    _path(destination_id)
    typed = (await form_of(request)).get("confirm", "").strip()
    async with services.database.reading(principal.tenant_id) as session:
        destination = await service.get(session, principal.tenant_id, destination_id)
    if typed != destination.name:
        form = _form_of(destination, services.keyring)
        form = msgspec.structs.replace(form, errors={"confirm": "Type the name exactly as above."})
        return await _edit_page(request, services, principal, destination_id, form=form)
    async with services.change(principal.tenant_id) as session:
        await control.delete_destination(
            session, principal.tenant_id, destination_id, actor=principal.actor
        )
    return redirect(request, "/integrations", note="Destination deleted.")


async def _edit_page(
    request: Http,
    services: Services,
    principal: Principal,
    destination_id: str,
    *,
    form: DestinationForm | None = None,
) -> Response[Any]:
    path = _path(destination_id)
    async with services.database.reading(principal.tenant_id) as session:
        destination = await service.get(session, principal.tenant_id, destination_id)
        seen = await queries.event_types(session, principal.tenant_id)
        known = await known_types.choices(session, principal.tenant_id, seen)
    return page(
        request,
        "destination_edit.html",
        status=Invalid.status if form else 200,
        destination=destination,
        path_of=path,
        form=form or _form_of(destination, services.keyring),
        known_types=known,
    )


def _form_of(destination: Destination, keyring: Keyring) -> DestinationForm:
    values = {
        "name": destination.name,
        "endpoint_url": destination.endpoint_url,
        "event_types": " ".join(destination.event_types),
        "description": destination.description,
    } | delivery_rules.values_of(destination, keyring)
    return DestinationForm(values=values)
