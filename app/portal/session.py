"""Sign in and out. The session id is ours alone, and new with every sign-in."""

import secrets
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency

from app.errors import AppError, TooManyRequests, Unauthenticated
from app.identity import demo, service
from app.identity.permissions import Permission, Principal
from app.portal import cookies
from app.portal.cookies import Http
from app.portal.fields import form_of
from app.portal.guards import PUBLIC, address_of, agent_of, needs
from app.portal.rendering import page, redirect
from app.portal.throttle import Throttle
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
async def sign_in(
    request: Http,
    services: NamedDependency[Services],
    throttle: NamedDependency[Throttle],
) -> Response[Any]:
    form = await form_of(request)
    email, password = form.get("email", "").strip(), form.get("password", "")
    onward = local_path(form.get("next", ""))
    key = (email.lower(), address_of(request))
    try:
        throttle.take(key)
        text = await _open_session(request, services, email, password)
    except (TooManyRequests, Unauthenticated) as fault:
        return _form(request, onward=onward, email=email, fault=fault)
    throttle.clear(key)
    answer = redirect(request, onward)
    answer.set_cookie(cookies.make(request, cookies.SESSION, text))
    answer.set_cookie(cookies.gone(request, cookies.VISIT))
    return answer


async def _open_session(request: Http, services: Services, email: str, password: str) -> str:
    if not email.isprintable():
        raise Unauthenticated("Email or password is wrong.")
    async with services.database.reading() as session:
        member = await service.authenticate(session, email, password)
    address, agent = address_of(request), agent_of(request)
    async with services.change(member.tenant_id) as session:
        old = cookies.read(request, cookies.SESSION)
        if request.scope["user"]:
            await service.close_session(session, old, request.scope["user"].actor)
        return await service.open_session(session, member, address=address, user_agent=agent)


@post("/logout", opt=needs(Permission.SELF_READ))
async def sign_out(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    async with services.change(principal.tenant_id) as session:
        await service.close_session(session, request.scope["auth"], principal.actor)
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
    visit = cookies.read(request, cookies.VISIT) or secrets.token_urlsafe(24)
    fresh = cookies.make(request, cookies.VISIT, visit)
    request.cookies[fresh.key] = visit  # the form's token is made from it
    settings = cookies.services_of(request).settings
    answer = page(
        request,
        "login.html",
        status=fault.status if fault else 200,
        onward=onward,
        email=email,
        fault=fault,
        demo_users=demo.DEMO_USERS if settings.env is Env.LOCAL else (),
        demo_password=demo.DEMO_PASSWORD,
    )
    answer.set_cookie(fresh)
    if isinstance(fault, TooManyRequests):
        answer.set_header("Retry-After", str(fault.retry_after_s))
    return answer
