"""Judging an endpoint URL while it is typed, by the very rules that creating it goes through."""

from typing import Any, Final

from litestar import Response, post
from litestar.di import NamedDependency

from app.identity.permissions import Permission, Principal
from app.limiter import Limiter, Rate
from app.portal.cookies import Http
from app.portal.fields import form_of
from app.portal.guards import needs
from app.portal.integrations import DestinationForm
from app.portal.rendering import page
from app.sending.url_safety import UnsafeUrl, vet_url
from app.services import Services

#: Twice what a person types; each check may look a name up.
TYPING: Final = Rate(burst=40, per_s=2)


@post("/integrations/check-url", opt=needs(Permission.DESTINATION_CHANGE), status_code=200)
async def check_url(
    request: Http,
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    """Answer with the field anew, its fault below it; an empty one is not wrong yet."""
    typed = (await form_of(request)).get("endpoint_url", "")
    checks: Limiter = request.app.state.url_checks
    checks.take(principal.actor.id or principal.tenant_id).check()
    fault = await _fault_of(typed, services) if typed.strip() else ""
    errors = {"endpoint_url": fault} if fault else {}
    form = DestinationForm(values={"endpoint_url": typed}, errors=errors)
    return page(request, "_url_field.html", form=form)


async def _fault_of(typed: str, services: Services) -> str:
    try:
        await vet_url(typed, services.egress.policy, services.egress.resolver)
    except UnsafeUrl as fault:
        return fault.message
    return ""
