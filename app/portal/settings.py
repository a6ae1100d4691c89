"""Settings: who I am, where I am signed in, how it looks; for admins also members and tokens."""

from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.crypto import token_hash
from app.database import utcnow
from app.identity import members, service, sessions
from app.identity.permissions import RIGHTS, TENANT_ROLES, Permission, Principal, Role
from app.portal import cookies
from app.portal.cookies import Http
from app.portal.fields import form_of, known_id
from app.portal.guards import needs
from app.portal.rendering import THEMES, page, redirect
from app.services import Services

TOKEN_NAME_MAX: Final = 100
LIFETIMES: Final = {"30": "30 days", "90": "90 days", "365": "1 year", "": "no end"}
A_YEAR_S: Final = 31_536_000


class SettingsForm(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed, what is wrong with it, and the text of a new token, shown this once."""

    values: dict[str, str] = {}
    errors: dict[str, str] = {}
    text: str = ""


class Invite(msgspec.Struct, frozen=True):
    """A new one-time link and whom it is for, for the one answer that shows it."""

    email: str
    link: str


EMPTY: Final = SettingsForm()


@get("/settings", opt=needs(Permission.SELF_READ))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    return await settings_page(request, services, principal)


@post("/settings/appearance", opt=needs(Permission.SELF_READ))
async def appearance(request: Http) -> Response[Any]:
    theme = (await form_of(request)).get("theme", "")
    answer = redirect(request, "/settings")
    if theme in THEMES:
        answer.set_cookie(cookies.make(request, cookies.THEME, theme, max_age_s=A_YEAR_S))
    return answer


@post("/settings/tokens", opt=needs(Permission.TENANT_MANAGE))
async def create_token(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    typed = await form_of(request)
    errors = _token_faults(typed)
    if errors:
        form = SettingsForm(values=typed, errors=errors)
        return await settings_page(request, services, principal, token=form, status=400)
    days = typed.get("days")
    async with services.change(principal.tenant_id) as session:
        _, text = await service.create_token(
            session,
            tenant_id=principal.tenant_id,
            name=typed["name"],
            role=Role(typed["role"]),
            actor=principal.actor,
            expires_at=utcnow() + timedelta(days=int(days)) if days else None,
        )
    made = SettingsForm(text=text)
    return await settings_page(request, services, principal, token=made, status=201)


def _token_faults(typed: dict[str, str]) -> dict[str, str]:
    errors = {}
    name = typed.get("name", "").strip()
    if not (1 <= len(name) <= TOKEN_NAME_MAX and name.isprintable()):
        errors["name"] = f"name must be text of 1 to {TOKEN_NAME_MAX} characters"
    if typed.get("role") not in TENANT_ROLES:
        errors["role"] = f"role must be one of: {', '.join(TENANT_ROLES)}"
    if typed.get("days", "") not in LIFETIMES:
        errors["days"] = "choose how long it is valid"
    return errors


@post("/settings/tokens/{token_id:str}/revoke", opt=needs(Permission.TENANT_MANAGE))
async def revoke_token(
    request: Http,
    token_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(token_id, "tok")
    async with services.change(principal.tenant_id) as session:
        await service.revoke_token(session, principal.tenant_id, token_id, actor=principal.actor)
    return redirect(request, "/settings", note="Token revoked.")


async def settings_page(
    request: Http,
    services: Services,
    principal: Principal,
    *,
    token: SettingsForm = EMPTY,
    invite: SettingsForm = EMPTY,
    invited: Invite | None = None,
    status: int = 200,
) -> Response[Any]:
    """Render the whole page, with what one of its forms has to say."""
    tokens, people = [], []
    async with services.database.reading(principal.tenant_id) as session:
        mine = await sessions.page(session, principal.tenant_id, member_id=principal.actor.id)
        if principal.may(Permission.TENANT_MANAGE):
            tokens = await service.list_tokens(session, principal.tenant_id)
            people = await members.page(session, principal.tenant_id)
    return page(
        request,
        "settings.html",
        status=status,
        rights=sorted(RIGHTS[principal.role]),
        tokens=tokens,
        members=people,
        sessions=[one for one, _member in mine],
        is_here=lambda one: one.token_hash == token_hash(request.scope["auth"]),
        now=utcnow(),
        roles=TENANT_ROLES,
        role_of=Role,
        lifetimes=LIFETIMES,
        themes=THEMES,
        takes_passwords=services.settings.local_accounts,
        form=token,
        invite=invite,
        invited=invited,
    )
