"""Sign in and out. The session id is ours alone, and new with every sign-in."""

import secrets
from collections.abc import Sequence
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency

from app.errors import AppError, Forbidden, TooManyRequests, Unauthenticated
from app.identity import demo, service, throttle
from app.identity.models import Member
from app.identity.permissions import Permission, Principal
from app.identity.throttle import Window
from app.portal import cookies
from app.portal.cookies import Http
from app.portal.devices import device_of, remembered
from app.portal.fields import form_of
from app.portal.guards import PUBLIC, address_of, agent_of, needs, presence_of
from app.portal.rendering import page, redirect
from app.services import Services
from app.settings import Env

HOME = "/integrations"


@get("/", opt=PUBLIC)
async def home(request: Http) -> Response[Any]:
    return redirect(request, HOME)


@get("/login", opt=PUBLIC)
async def sign_in_form(request: Http) -> Response[Any]:
    onward = local_path(request.query_params.get("next", ""))
    if request.scope["user"]:
        return redirect(request, onward)
    return _form(request, onward=onward)


@post("/login", opt=PUBLIC)
async def sign_in(request: Http, services: NamedDependency[Services]) -> Response[Any]:
    form = await form_of(request)
    email, password = form.get("email", "").strip(), form.get("password", "")
    onward = local_path(form.get("next", ""))
    windows = throttle.windows_of(email, address_of(request), device_of(request, email))
    try:
        member = await _recognise(services, email, password, windows)
    except (Forbidden, TooManyRequests, Unauthenticated) as fault:
        return _form(request, onward=onward, email=email, fault=fault)
    answer = await enter(request, services, member, onward, windows=windows)
    answer.set_cookie(remembered(request, member.email))
    return answer


async def _recognise(
    services: Services, email: str, password: str, windows: Sequence[Window]
) -> Member:
    if not services.settings.local_accounts:
        raise Forbidden("Passwords are switched off here. Use single sign-on.")
    async with services.database.transaction() as session:
        refusal = await throttle.take(session, windows)
    if refusal is not None:
        raise refusal
    if not email.isprintable():
        raise Unauthenticated("Email or password is wrong.")
    async with services.database.reading() as session:
        return await service.authenticate(session, email, password)


async def enter(
    request: Http,
    services: Services,
    member: Member,
    onward: str,
    *,
    windows: Sequence[Window] = (),
) -> Response[Any]:
    """Go on as this member: in a fresh session, whatever the browser had before."""
    address, agent = address_of(request), agent_of(request)
    before: Principal | None = request.scope["user"]
    if before is not None:
        async with services.change(before.tenant_id) as session:
            await service.close_session(session, request.scope["auth"], before.actor)
    async with services.change(member.tenant_id) as session:
        text = await service.open_session(session, member, address=address, user_agent=agent)
        await throttle.forgive(session, windows)
    answer = redirect(request, onward)
    answer.set_cookie(cookies.make(request, cookies.SESSION, text))
    answer.set_cookie(cookies.gone(request, cookies.VISIT))
    return answer


@post("/logout", opt=needs(Permission.SELF_READ))
async def sign_out(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    async with services.change(principal.tenant_id) as session:
        await service.close_session(session, request.scope["auth"], principal.actor)
    presence_of(request).forget(request.scope["auth"])
    answer = redirect(request, "/login")
    answer.set_cookie(cookies.gone(request, cookies.SESSION))
    return answer


def local_path(text: str) -> str:
    """Return where to go on to: a path of ours, never another site's address."""
    is_local = text.startswith("/") and text.isascii() and text.isprintable()
    return HOME if not is_local or text[1:2] in {"/", "\\"} or text.startswith("/login") else text


def _form(
    request: Http, *, onward: str, email: str = "", fault: AppError | None = None
) -> Response[Any]:
    services = cookies.services_of(request)
    is_local = services.settings.env is Env.LOCAL and services.settings.local_accounts
    answer = door(
        request,
        "login.html",
        fault=fault,
        onward=onward,
        email=email,
        takes_passwords=services.settings.local_accounts,
        has_sign_on=services.sign_on is not None and services.sign_on.serves_portal,
        demo_users=demo.DEMO_USERS if is_local else (),
        demo_password=demo.DEMO_PASSWORD,
    )
    if isinstance(fault, TooManyRequests):
        answer.set_header("Retry-After", str(fault.retry_after_s))
    return answer


def door(
    request: Http, template: str, *, fault: AppError | None = None, **context: Any
) -> Response[Any]:
    """Render a page with a form for who is not signed in: its token hangs on a visit of its own."""
    visit = cookies.read(request, cookies.VISIT) or secrets.token_urlsafe(24)
    fresh = cookies.make(request, cookies.VISIT, visit)
    request.cookies[fresh.key] = visit  # the form's token is made from it
    status = fault.status if fault else 200
    answer = page(request, template, status=status, fault=fault, **context)
    answer.set_cookie(fresh)
    return answer
