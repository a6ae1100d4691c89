"""The people of a tenant: list, invite, give another role, remove."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.api.auth import needs
from app.api.paging import DEFAULT_LIMIT, Limit, Page, below_id, page_of
from app.api.problems import documented
from app.api.schemas import MAX_BODY_BYTES, read_object, takes
from app.database import utcnow
from app.errors import FieldError, Invalid, unknown_field
from app.identity import members, service
from app.identity.models import Member
from app.identity.permissions import TENANT_ROLES, Permission, Principal, Role
from app.services import Services

EMAIL_MAX = 254
RoleIn = Annotated[Role, msgspec.Meta(extra_json_schema={"enum": list(TENANT_ROLES)})]


class MemberStatus(StrEnum):
    """Whether someone can sign in."""

    ACTIVE = "active"
    INVITED = "invited"
    INVITE_EXPIRED = "invite_expired"


class InviteIn(msgspec.Struct, forbid_unknown_fields=True):
    """Someone to invite into the caller's tenant."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=EMAIL_MAX)]
    role: RoleIn
    name: Annotated[str, msgspec.Meta(max_length=service.NAME_MAX)] = ""


class RoleChange(msgspec.Struct, forbid_unknown_fields=True):
    """The role that a member is to have."""

    role: RoleIn


class MemberOut(msgspec.Struct, frozen=True, kw_only=True):
    """A person of the tenant; with `single_sign_on` the role comes from the provider."""

    id: str
    email: str
    name: str
    role: Role
    status: MemberStatus
    single_sign_on: bool
    created_at: datetime
    signed_in_at: datetime | None
    invite_expires_at: datetime | None


class MemberWithInvite(MemberOut, frozen=True, kw_only=True):
    """A member with the one-time link by which they choose a password: in this answer only."""

    invite_url: str


def _values(member: Member) -> dict[str, Any]:
    copied = ("id", "email", "name", "created_at", "signed_in_at", "invite_expires_at")
    return {name: getattr(member, name) for name in copied} | {
        "role": Role(member.role),
        "status": _status(member),
        "single_sign_on": member.subject is not None,
    }


def _status(member: Member) -> MemberStatus:
    if member.has_joined:
        return MemberStatus.ACTIVE
    is_open = member.invite_expires_at is not None and member.invite_expires_at > utcnow()
    return MemberStatus.INVITED if is_open else MemberStatus.INVITE_EXPIRED


class Members(Controller):
    path = "/members"
    tags = ("Identity",)
    request_max_body_size = MAX_BODY_BYTES

    @get(summary="List members", opt=needs(Permission.TENANT_MANAGE), responses=documented())
    async def list_members(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Annotated[str | None, below_id("usr")] = None,
    ) -> Page[MemberOut]:
        async with services.database.reading(principal.tenant_id) as session:
            rows = await members.page(session, principal.tenant_id, limit=limit + 1, below=cursor)
        people = [MemberOut(**_values(row)) for row in rows]
        return page_of(people, limit, lambda member: member.id)

    @post(
        summary="Invite a member",
        description="`invite_url` is in this answer only. It is good once, for 7 days.",
        opt=needs(Permission.TENANT_MANAGE),
        operation_class=takes(InviteIn, {"email": "ada@company.example", "role": "operator"}),
        responses=documented(400, 409, 413),
    )
    async def invite(
        self,
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> MemberWithInvite:
        wanted = check_invite(await read_object(request))
        services.refuse_without_passwords()
        async with services.change(principal.tenant_id) as session:
            member, text = await members.invite(
                session, tenant_id=principal.tenant_id, email=wanted.email, name=wanted.name,
                role=wanted.role, actor=principal.actor,
            )  # fmt: skip
        return _with_invite(request, services, member, text)

    @post(
        "/{member_id:str}/invite",
        summary="Make a new invite",
        description="For an invite that was lost, or to let a member choose a new password.",
        opt=needs(Permission.TENANT_MANAGE),
        responses=documented(404, 409),
    )
    async def invite_again(
        self,
        request: Request[Any, Any, Any],
        member_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> MemberWithInvite:
        services.refuse_without_passwords()
        async with services.change(principal.tenant_id) as session:
            member, text = await members.invite_again(
                session, principal.tenant_id, member_id, actor=principal.actor
            )
        return _with_invite(request, services, member, text)

    @patch(
        "/{member_id:str}",
        summary="Change a member's role",
        description="It counts from the member's next request on. One tenant admin always stays.",
        opt=needs(Permission.TENANT_MANAGE),
        operation_class=takes(RoleChange, {"role": "auditor"}),
        responses=documented(400, 404, 409, 413),
    )
    async def change_role(
        self,
        request: Request[Any, Any, Any],
        member_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> MemberOut:
        fields = await read_object(request)
        async with services.database.reading(principal.tenant_id) as session:
            await members.get(session, principal.tenant_id, member_id)
        role = check_role_change(fields)
        async with services.change(principal.tenant_id) as session:
            member = await members.change_role(
                session, principal.tenant_id, member_id, role, actor=principal.actor
            )
        return MemberOut(**_values(member))

    @delete(
        "/{member_id:str}",
        summary="Remove a member",
        description="Their sessions end at once. One tenant admin always stays.",
        opt=needs(Permission.TENANT_MANAGE),
        responses=documented(404, 409),
    )
    async def remove(
        self,
        member_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> None:
        async with services.change(principal.tenant_id) as session:
            await members.remove(session, principal.tenant_id, member_id, actor=principal.actor)


def _with_invite(
    request: Request[Any, Any, Any], services: Services, member: Member, text: str
) -> MemberWithInvite:
    link = services.absolute(str(request.base_url), f"/invite/{text}")
    return MemberWithInvite(**_values(member), invite_url=link)


def check_invite(fields: dict[str, Any]) -> InviteIn:
    """Check the fields of an invite; Invalid carries every wrong one."""
    errors = _unknown(fields, InviteIn)
    email, name = fields.get("email"), fields.get("name", "")
    if not (isinstance(email, str) and service.EMAIL.fullmatch(email.strip())):
        errors.append(FieldError("email", "email must look like name@company.example"))
    if not (isinstance(name, str) and len(name) <= service.NAME_MAX and name.isprintable()):
        errors.append(FieldError("name", f"name must be at most {service.NAME_MAX} characters"))
    errors += _role_faults(fields)
    if errors:
        raise Invalid.fields(errors)
    return InviteIn(str(email), Role(str(fields["role"])), str(name))


def check_role_change(fields: dict[str, Any]) -> Role:
    """Check the fields of a change; Invalid carries every wrong one."""
    if errors := _unknown(fields, RoleChange) + _role_faults(fields):
        raise Invalid.fields(errors)
    return Role(fields["role"])


def _unknown(fields: dict[str, Any], known: type[msgspec.Struct]) -> list[FieldError]:
    allowed = known.__struct_fields__
    return [unknown_field(name, allowed) for name in fields if name not in allowed]


def _role_faults(fields: dict[str, Any]) -> list[FieldError]:
    if fields.get("role") in TENANT_ROLES:
        return []
    return [FieldError("role", f"role must be one of: {', '.join(TENANT_ROLES)}")]
