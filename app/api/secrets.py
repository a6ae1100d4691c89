"""The signing secrets of a destination over the API: listed without their text, and revoked."""

from datetime import datetime

import msgspec
from litestar import Controller, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.api.auth import needs
from app.api.paging import Page
from app.api.problems import documented
from app.destinations import credentials
from app.identity.permissions import Permission, Principal
from app.services import Services


class SecretOut(msgspec.Struct, frozen=True, kw_only=True):
    """A live signing secret; `expires_at` is null for the current one."""

    id: str
    fingerprint: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None


class Secrets(Controller):
    path = "/integrations/destinations/{destination_id:str}/secrets"
    tags = ("Destinations",)

    @get(
        summary="List the live signing secrets",
        description="Newest first; each signs. Their text is never shown.",
        opt=needs(Permission.DESTINATION_READ),
        responses=documented(404),
    )
    async def list(
        self,
        destination_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> Page[SecretOut]:
        async with services.database.reading(principal.tenant_id) as session:
            live = await credentials.live(session, principal.tenant_id, destination_id)
        items = [msgspec.convert(one, SecretOut, from_attributes=True) for one in live]
        return Page(items, None)

    @delete(
        "/{secret_id:str}",
        summary="Revoke a signing secret now",
        description="Only attempts that are already on their way still carry it. The last live one"
        " cannot be revoked: rotate first. When the current one is revoked, the newest that is left"
        " takes its place.",
        opt=needs(Permission.DESTINATION_CHANGE),
        responses=documented(404, 409),
    )
    async def revoke(
        self,
        destination_id: FromPath[str],
        secret_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> None:
        async with services.change(principal.tenant_id) as session:
            await credentials.revoke(
                session, principal.tenant_id, destination_id, secret_id, actor=principal.actor
            )
