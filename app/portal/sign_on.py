"""Single sign-on: off to the provider with a sealed ticket, and back with a code."""

from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from app.errors import Forbidden, Invalid, NotFound
from app.identity import provisioning
from app.identity.provisioning import Refused
from app.identity.sign_on import TICKET_S, SignOn, Ticket
from app.portal import cookies
from app.portal.cookies import Http
from app.portal.guards import PUBLIC, address_of, agent_of
from app.portal.rendering import page, redirect
from app.portal.session import enter, local_path
from app.services import Services

CALLBACK: Final = "/login/sso/callback"
#: Longer than any provider's code.
CODE_MAX: Final = 4_096


@get("/login/sso", opt=PUBLIC)
async def begin(request: Http, services: NamedDependency[Services]) -> Response[Any]:
    sign_on = _configured(services)
    onward = local_path(request.query_params.get("next", ""))
    address, ticket = await sign_on.begin(_redirect_uri(request, services), onward)
    answer = redirect(request, address)
    sealed = msgspec.json.encode(ticket)
    answer.set_cookie(cookies.make_sealed(request, cookies.TICKET, sealed, max_age_s=TICKET_S))
    return answer


@get(CALLBACK, opt=PUBLIC)
async def finish(request: Http, services: NamedDependency[Services]) -> Response[Any]:
    sign_on = _configured(services)
    ticket = await _returned(request, services, sign_on)
    given = request.query_params
    if "error" in given:
        raise Forbidden("The sign-on provider did not let you in. Start it again.")
    code = given.get("code", "")
    if not 0 < len(code) <= CODE_MAX:
        raise Invalid("The provider's answer lacks its code. Start the sign-in again.")
    claims = await sign_on.finish(ticket, code, _redirect_uri(request, services))
    async with services.database.transaction() as session:
        member = await provisioning.admit(
            session,
            claims,
            services.settings,
            address=address_of(request),
            user_agent=agent_of(request),
        )
    if isinstance(member, Refused):
        fault = Forbidden(str(member))
        return page(request, "error.html", status=403, title="You cannot sign in", fault=fault)
    answer = await enter(request, services, member, ticket.onward)
    answer.set_cookie(cookies.gone(request, cookies.TICKET))
    return answer


async def _returned(request: Http, services: Services, sign_on: SignOn) -> Ticket:
    """Return the ticket of this browser if this is the first answer to it."""
    raw = cookies.read_sealed(request, cookies.TICKET)
    if raw is None:
        raise Invalid("No sign-in was begun in this browser. Start it again.")
    ticket = msgspec.json.decode(raw, type=Ticket)
    given = request.query_params
    sign_on.check_return(ticket, given.get("state", ""), given.get("iss"))
    async with services.database.transaction() as session:
        await provisioning.spend(session, ticket)
    return ticket


def _configured(services: Services) -> SignOn:
    if services.sign_on is None or not services.sign_on.serves_portal:
        raise NotFound
    return services.sign_on


def _redirect_uri(request: Http, services: Services) -> str:
    return services.absolute(str(request.base_url), CALLBACK)
