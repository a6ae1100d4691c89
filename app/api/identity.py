"""Who am I, and the API tokens of a tenant."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.api.auth import needs
from app.api.paging import Page
from app.api.problems import documented
from app.api.schemas import MAX_BODY_BYTES, read_object, takes
from app.database import utcnow
from app.errors import FieldError, Invalid, unknown_field
from app.identity import service
from app.identity.models import ApiToken
from app.identity.permissions import RIGHTS, TENANT_ROLES, Permission, Principal, Role
from app.services import Services

DAYS_MAX = 3_650


class Me(msgspec.Struct, frozen=True):
    """Whose token this is, and what it may do."""

    tenant: str
    tenant_name: str
    role: Role
    name: str
    permissions: list[Permission]


class TokenIn(msgspec.Struct, forbid_unknown_fields=True):
    """A new token of the caller's tenant."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=service.NAME_MAX)]
    role: Annotated[Role, msgspec.Meta(extra_json_schema={"enum": list(TENANT_ROLES)})]
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX)] | None = None


class TokenOut(msgspec.Struct, frozen=True, kw_only=True):
    """A token; `hint` is all that can be seen of its text."""

    id: str
    name: str
    role: Role
    hint: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None


class TokenWithText(TokenOut, frozen=True, kw_only=True):
    """A new token with its text: shown in this answer only."""

    token: str


def _values(token: ApiToken) -> dict[str, Any]:
    values = {name: getattr(token, name) for name in TokenOut.__struct_fields__}
    return values | {"role": Role(token.role)}


class Identity(Controller):
    tags = ("Identity",)
    request_max_body_size = MAX_BODY_BYTES

    @get("/me", summary="Who am I", opt=needs(Permission.SELF_READ), responses=documented())
    async def me(self, principal: NamedDependency[Principal]) -> Me:
        return Me(
            tenant=principal.tenant_id,
            tenant_name=principal.tenant_name,
            role=principal.role,
            name=principal.actor.label,
            permissions=sorted(RIGHTS[principal.role]),
        )

    @get(
        "/tokens",
        summary="List API tokens",
        opt=needs(Permission.TENANT_MANAGE),
        responses=documented(),
    )
    async def tokens(
        self, services: NamedDependency[Services], principal: NamedDependency[Principal]
    ) -> Page[TokenOut]:
        async with services.database.reading(principal.tenant_id) as session:
            tokens = await service.list_tokens(session, principal.tenant_id)
        return Page([TokenOut(**_values(token)) for token in tokens], None)

    @post(
        "/tokens",
        summary="Create an API token",
        description="The token's text is in this answer only.",
        opt=needs(Permission.TENANT_MANAGE),
        operation_class=takes(TokenIn, {"name": "SIEM import", "role": "operator"}),
        responses=documented(400, 413),
    )
    async def create_token(
        self,
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> TokenWithText:
        wanted = check_token(await read_object(request))
        expires_at = wanted.expires_in_days and utcnow() + timedelta(days=wanted.expires_in_days)
        async with services.change(principal.tenant_id) as session:
            token, text = await service.create_token(
                session, tenant_id=principal.tenant_id, name=wanted.name, role=wanted.role,
                actor=principal.actor, expires_at=expires_at or None,
            )  # fmt: skip
        return TokenWithText(**_values(token), token=text)

    @delete(
        "/tokens/{token_id:str}",
        summary="Revoke an API token",
        opt=needs(Permission.TENANT_MANAGE),
        responses=documented(404),
    )
    async def revoke_token(
        self,
        token_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> None:
        async with services.change(principal.tenant_id) as session:
            await service.revoke_token(
                session, principal.tenant_id, token_id, actor=principal.actor
            )


def check_token(fields: dict[str, Any]) -> TokenIn:
    """Check the fields of a new token; Invalid carries every wrong one."""
    allowed = TokenIn.__struct_fields__
    errors = [unknown_field(name, allowed) for name in fields if name not in allowed]
    name, role, days = (fields.get(key) for key in allowed)
    if not (
        isinstance(name, str) and 1 <= len(name.strip()) <= service.NAME_MAX and name.isprintable()
    ):
        errors.append(
            FieldError("name", f"name must be text of 1 to {service.NAME_MAX} characters")
        )
    if role not in TENANT_ROLES:
        errors.append(FieldError("role", f"role must be one of: {', '.join(TENANT_ROLES)}"))
    if days is not None and not (type(days) is int and 1 <= days <= DAYS_MAX):
        rule = f"expires_in_days must be a whole number from 1 to {DAYS_MAX}"
        errors.append(FieldError("expires_in_days", rule))
    if errors:
        raise Invalid.fields(errors)
    return TokenIn(str(name).strip(), Role(str(role)), days)
