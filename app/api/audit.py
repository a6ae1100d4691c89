"""The audit trail over the API: read, export, verify."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from app.api.auth import needs
from app.api.paging import DEFAULT_LIMIT, Limit, Moment, Page, choice, cursor_of, page_of, words
from app.api.problems import documented
from app.api.schemas import gives
from app.audit import trail
from app.audit.models import Action, AuditEntry
from app.audit.trail import AuditFilter, Verdict
from app.identity.permissions import Permission, Principal
from app.services import Services


class ExportFormat(StrEnum):
    """How the exported trail is written."""

    CSV = "csv"
    NDJSON = "ndjson"


class EntryOut(msgspec.Struct, frozen=True, kw_only=True):
    """One change: who, what, which object, when, from where."""

    id: str
    sequence: int
    at: datetime
    action: str
    actor_kind: str
    actor_id: str
    actor: str
    address: str
    user_agent: str
    target_kind: str
    target_id: str
    target: str
    changes: dict[str, Any]
    hash: str


def _out(entry: AuditEntry) -> EntryOut:
    return EntryOut(
        id=entry.id,
        sequence=entry.sequence,
        at=entry.at,
        action=entry.action,
        actor_kind=entry.actor_kind,
        actor_id=entry.actor_id,
        actor=entry.actor_label,
        address=entry.address,
        user_agent=entry.user_agent,
        target_kind=entry.target_kind,
        target_id=entry.target_id,
        target=entry.target_label,
        changes=entry.changes,
        hash=entry.hash.hex(),
    )


Who = Annotated[str | None, words(300, "An id or a label.")]
Done = Annotated[Action | None, choice(Action)]


class Audit(Controller):
    path = "/audit"
    tags = ("Audit",)

    @get(
        summary="Read the audit trail",
        opt=needs(Permission.AUDIT_READ),
        responses=documented(400),
    )
    async def list(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        actor: Who = None,
        action: Done = None,
        target: Who = None,
        before: Moment = None,
        after: Moment = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Annotated[str | None, cursor_of("[0-9]{1,18}")] = None,
    ) -> Page[EntryOut]:
        wanted = AuditFilter(actor=actor, action=action, target=target, before=before, after=after)
        async with services.database.reading(principal.tenant_id) as session:
            entries = await trail.page(
                session,
                principal.tenant_id,
                wanted,
                limit=limit + 1,
                below=int(cursor) if cursor else None,
            )
        rows = [_out(entry) for entry in entries]
        return page_of(rows, limit, lambda row: str(row.sequence))

    @get(
        "/export",
        summary="Export the audit trail",
        opt=needs(Permission.AUDIT_READ),
        operation_class=gives("text/csv", "application/x-ndjson"),
        responses=documented(400),
    )
    async def export(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        export_format: Annotated[ExportFormat, QueryParameter(name="format")] = ExportFormat.CSV,
        actor: Who = None,
        action: Done = None,
        target: Who = None,
        before: Moment = None,
        after: Moment = None,
    ) -> Stream:
        wanted = AuditFilter(actor=actor, action=action, target=target, before=before, after=after)
        entries = _walk(services, principal.tenant_id, wanted)
        is_csv = export_format is ExportFormat.CSV
        name = f"audit-{principal.tenant_id}.{export_format}"
        return Stream(
            _csv(entries) if is_csv else _ndjson(entries),
            media_type="text/csv" if is_csv else "application/x-ndjson",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @get(
        "/verify",
        summary="Verify the audit trail",
        description="Walks the whole hash chain and says where it does not fit.",
        opt=needs(Permission.AUDIT_READ),
        responses=documented(),
    )
    async def verify(
        self, services: NamedDependency[Services], principal: NamedDependency[Principal]
    ) -> Verdict:
        async with services.database.reading(principal.tenant_id) as session:
            return await trail.verify(session, principal.tenant_id)


async def _walk(services: Services, tenant_id: str, wanted: AuditFilter) -> AsyncIterator[EntryOut]:
    # A stream outlives its request's dependencies: it opens its own session.
    async with services.database.reading(tenant_id) as session:
        async for entry in trail.walk(session, tenant_id, wanted):
            yield _out(entry)


async def _ndjson(entries: AsyncIterator[EntryOut]) -> AsyncIterator[bytes]:
    async for entry in entries:
        yield msgspec.json.encode(entry) + b"\n"


async def _csv(entries: AsyncIterator[EntryOut]) -> AsyncIterator[bytes]:
    yield _line(EntryOut.__struct_fields__)
    async for entry in entries:
        values = msgspec.to_builtins(entry)
        values["changes"] = msgspec.json.encode(entry.changes).decode()
        yield _line([_tame(values[name]) for name in EntryOut.__struct_fields__])


def _line(values: Any) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue().encode()


def _tame(value: Any) -> Any:
    # A spreadsheet would run a cell that starts like a formula (OWASP, CSV injection).
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
