"""Retrying what was ticked on the page of deliveries."""

from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency

from app.deliveries import bulk
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.guards import needs
from app.portal.rendering import redirect
from app.portal.session import local_path
from app.services import Services


@post("/deliveries/retry", opt=needs(Permission.DELIVERY_CHANGE))
async def retry_selected(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    form = await request.form()
    here = form.get("here")
    onward = local_path(here if isinstance(here, str) and here else "/deliveries")
    ids = [one for one in form.getall("id", []) if isinstance(one, str)]
    if not ids:
        return redirect(request, onward, note="Nothing was selected.")
    selection = bulk.check_selection({"ids": ids})
    async with services.change(principal.tenant_id) as session:
        done = await bulk.retry_many(session, principal.tenant_id, selection, actor=principal.actor)
    left = sum(done.skipped.values())
    note = f"Retrying {done.retried} now." + (f" {left} cannot be retried." if left else "")
    return redirect(request, onward, note=note)
