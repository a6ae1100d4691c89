"""Who of a tenant is signed in to the portal, and ending it."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.api.auth import needs
from app.api.paging import DEFAULT_LIMIT, Limit, Page, below_id, page_of, words
from app.api.problems import documented
from app.identity import members, sessions
from app.identity.permissions import Permission, Principal
from app.services import Services

ID_MAX = 40
WHOSE = "Of this member only."


class SessionOut(msgspec.Struct, frozen=True):
    """A browser that is signed in to the portal."""

    id: str
    member_id: str
    email: str
    address: str
    user_agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


class Sessions(Controller):
    path = "/sessions"
    tags = ("Identity",)

    @get(summary="List open sessions", opt=needs(Permission.TENANT_MANAGE), responses=documented())
    async def list_sessions(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        member_id: Annotated[str | None, words(ID_MAX, WHOSE)] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Annotated[str | None, below_id("ses")] = None,
    ) -> Page[SessionOut]:
        async with services.database.reading(principal.tenant_id) as session:
            rows = await sessions.page(
                session, principal.tenant_id, member_id=member_id, limit=limit + 1, below=cursor
            )
        found = [
            SessionOut(
                one.id, member.id, member.email, one.address, one.user_agent, one.created_at,
                one.last_seen_at, one.expires_at,
            )
            for one, member in rows
        ]  # fmt: skip
        return page_of(found, limit, lambda one: one.id)

    @delete(
        summary="Sign a member out everywhere",
        opt=needs(Permission.TENANT_MANAGE),
        responses=documented(404),
    )
    async def end_all(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        member_id: Annotated[str, words(ID_MAX, "Whose sessions end.")],
    ) -> None:
        async with services.change(principal.tenant_id) as session:
            member = await members.get(session, principal.tenant_id, member_id)
            await sessions.end_all(session, member, actor=principal.actor)

    @delete(
        "/{session_id:str}",
        summary="End one session",
        opt=needs(Permission.TENANT_MANAGE),
        responses=documented(404),
    )
    async def end(
        self,
        session_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> None:
        async with services.change(principal.tenant_id) as session:
            await sessions.end(session, principal.tenant_id, session_id, actor=principal.actor)
