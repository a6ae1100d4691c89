"""The people of the tenant, as its admins see them: invite, give another role, remove, sign out."""

from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.errors import AppError, Conflict, FieldError, Invalid
from app.identity import members, sessions
from app.identity.permissions import TENANT_ROLES, Permission, Principal, Role
from app.portal.cookies import Http
from app.portal.fields import form_of, known_id
from app.portal.guards import needs
from app.portal.rendering import redirect
from app.portal.settings import Invite, SettingsForm, settings_page
from app.services import Services

HERE = "/settings#members"


@post("/settings/members", opt=needs(Permission.TENANT_MANAGE))
async def invite(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    typed = await form_of(request)
    try:
        services.refuse_without_passwords()
        async with services.change(principal.tenant_id) as session:
            member, text = await members.invite(
                session,
                tenant_id=principal.tenant_id,
                email=typed.get("email", ""),
                name=typed.get("full_name", ""),
                role=_role_of(typed),
                actor=principal.actor,
            )
    except (Invalid, Conflict) as fault:
        form = SettingsForm(values=typed, errors=_errors(fault))
        return await settings_page(request, services, principal, invite=form, status=fault.status)
    shown = _shown(request, services, member.email, text)
    return await settings_page(request, services, principal, invited=shown, status=201)


@post("/settings/members/{member_id:str}/invite", opt=needs(Permission.TENANT_MANAGE))
async def invite_again(
    request: Http,
    member_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(member_id, "usr")
    services.refuse_without_passwords()
    async with services.change(principal.tenant_id) as session:
        member, text = await members.invite_again(
            session, principal.tenant_id, member_id, actor=principal.actor
        )
    shown = _shown(request, services, member.email, text)
    return await settings_page(request, services, principal, invited=shown, status=201)


@post("/settings/members/{member_id:str}/role", opt=needs(Permission.TENANT_MANAGE))
async def change_role(
    request: Http,
    member_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(member_id, "usr")
    role = _role_of(await form_of(request))
    async with services.change(principal.tenant_id) as session:
        member = await members.change_role(
            session, principal.tenant_id, member_id, role, actor=principal.actor
        )
    return redirect(request, HERE, note=f"{member.email} is now {role.label.lower()}.")


@post("/settings/members/{member_id:str}/remove", opt=needs(Permission.TENANT_MANAGE))
async def remove(
    request: Http,
    member_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(member_id, "usr")
    async with services.change(principal.tenant_id) as session:
        await members.remove(session, principal.tenant_id, member_id, actor=principal.actor)
    return redirect(request, HERE, note="Member removed.")


@post("/settings/members/{member_id:str}/sign-out", opt=needs(Permission.TENANT_MANAGE))
async def sign_out(
    request: Http,
    member_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(member_id, "usr")
    async with services.change(principal.tenant_id) as session:
        member = await members.get(session, principal.tenant_id, member_id)
        await sessions.end_all(session, member, actor=principal.actor)
    return redirect(request, HERE, note=f"{member.email} is signed out everywhere.")


def _role_of(typed: dict[str, str]) -> Role:
    if typed.get("role") not in TENANT_ROLES:
        rule = f"role must be one of: {', '.join(TENANT_ROLES)}"
        raise Invalid.fields([FieldError("role", rule)])
    return Role(typed["role"])


def _errors(fault: AppError) -> dict[str, str]:
    # Names differ from those of the token's form, which stands on the same page.
    found = {error.field: error.message for error in fault.errors} or {"email": fault.detail}
    return {{"name": "full_name"}.get(field, field): text for field, text in found.items()}


def _shown(request: Http, services: Services, email: str, text: str) -> Invite:
    return Invite(email, services.absolute(str(request.base_url), f"/invite/{text}"))
