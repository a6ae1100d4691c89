"""Retry or cancel many deliveries: what was ticked, or all that the page's filters find."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from litestar import Response, post
from litestar.di import NamedDependency

from app.deliveries import bulk
from app.deliveries.bulk import Cancelled, Retried, Selection
from app.errors import Invalid
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.deliveries import view_of
from app.portal.formats import number
from app.portal.guards import needs
from app.portal.rendering import redirect
from app.portal.session import local_path
from app.services import Services

VERBS: Final[Mapping[str, Callable[..., Awaitable[Retried | Cancelled]]]] = {
    "retry": bulk.retry_many,
    "cancel": bulk.cancel_many,
}


@post("/deliveries/bulk", opt=needs(Permission.DELIVERY_CHANGE))
async def change(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Do what the pressed button says; the address carries the filters that the page shows."""
    form = await request.form()
    here = form.get("here")
    onward = local_path(here if isinstance(here, str) and here else "/deliveries")
    verb, _, scope = str(form.get("do", "")).partition("-")
    if verb not in VERBS or scope not in {"selected", "all"}:
        raise Invalid("do must be one of: retry-selected, cancel-selected, retry-all, cancel-all.")
    if scope == "all":
        view = view_of(request)
        if not view.is_filtered:
            raise Invalid("Filter the list first: without a filter everything would be changed.")
        selection = Selection(filter=view.wanted)
    else:
        ids = [one for one in form.getall("id", []) if isinstance(one, str)]
        if not ids:
            return redirect(request, onward, note="Nothing was selected.")
        selection = bulk.check_selection({"ids": ids})
    async with services.change(principal.tenant_id) as session:
        done = await VERBS[verb](session, principal.tenant_id, selection, actor=principal.actor)
    return redirect(request, onward, note=_told(done))


def _told(done: Retried | Cancelled) -> str:
    if isinstance(done, Retried):
        told, cannot = f"Retrying {number(done.retried)} now.", "retried"
    else:
        told, cannot = f"Cancelled {number(done.cancelled)}.", "cancelled"
    left = sum(done.skipped.values())
    told += f" {number(left)} cannot be {cannot}." if left else ""
    return f"{told} There are more: do it again." if done.more else told
