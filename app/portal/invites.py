"""An invite's one-time page: whoever holds the link chooses the password."""

from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.errors import AppError, Forbidden, Invalid, NotFound
from app.identity import members, passwords
from app.identity.models import Member
from app.portal.cookies import Http
from app.portal.devices import remembered
from app.portal.fields import form_of
from app.portal.guards import PUBLIC, address_of, agent_of
from app.portal.rendering import page
from app.portal.session import HOME, door, enter
from app.services import Services


@get("/invite/{token:str}", opt=PUBLIC)
async def show(
    request: Http, token: FromPath[str], services: NamedDependency[Services]
) -> Response[Any]:
    member = await _invited(services, token)
    return _over(request) if member is None else _form(request, member)


@post("/invite/{token:str}", opt=PUBLIC)
async def accept(
    request: Http, token: FromPath[str], services: NamedDependency[Services]
) -> Response[Any]:
    member = await _invited(services, token)
    if member is None:
        return _over(request)
    typed = await form_of(request)
    password = typed.get("password", "")
    if password != typed.get("again", ""):
        return _form(request, member, Invalid("The two passwords differ."))
    try:
        async with services.change(member.tenant_id) as session:
            joined = await members.join(
                session,
                token,
                password=password,
                address=address_of(request),
                user_agent=agent_of(request),
            )
    except Invalid as fault:
        return _form(request, member, fault)
    except NotFound:
        return _over(request)  # another browser was quicker
    answer = await enter(request, services, joined, HOME)
    answer.set_cookie(remembered(request, joined.email))
    return answer


async def _invited(services: Services, token: str) -> Member | None:
    if not services.settings.local_accounts:
        raise Forbidden("Passwords are switched off here. Use single sign-on.")
    try:
        async with services.database.reading() as session:
            return await members.invited(session, token)
    except NotFound:
        return None


def _form(request: Http, member: Member, fault: AppError | None = None) -> Response[Any]:
    return door(request, "invite.html", fault=fault, member=member, min_length=passwords.MIN_LENGTH)


def _over(request: Http) -> Response[Any]:
    fault = AppError("It was used already, or is over. Ask your admin for a new link.")
    fault.status = 404
    return page(request, "error.html", status=404, title="This link is no longer good", fault=fault)
