"""One's own sessions: end one, or all of them at once."""

from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.identity import members, sessions
from app.identity.permissions import Permission, Principal
from app.portal import cookies
from app.portal.cookies import Http
from app.portal.fields import known_id
from app.portal.guards import needs
from app.portal.rendering import redirect
from app.services import Services


@post("/settings/sessions/{session_id:str}/end", opt=needs(Permission.SELF_READ))
async def end(
    request: Http,
    session_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(session_id, "ses")
    me = principal.actor
    async with services.change(principal.tenant_id) as session:
        await sessions.end(session, principal.tenant_id, session_id, actor=me, member_id=me.id)
    return redirect(request, "/settings#sessions", note="Session ended.")


@post("/settings/sessions/end-all", opt=needs(Permission.SELF_READ))
async def end_all(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    async with services.change(principal.tenant_id) as session:
        member = await members.get(session, principal.tenant_id, principal.actor.id)
        await sessions.end_all(session, member, actor=principal.actor)
    answer = redirect(request, "/login")
    answer.set_cookie(cookies.gone(request, cookies.SESSION))
    return answer
