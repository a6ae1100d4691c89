"""The audit trail over the API: read, export, verify."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from app.api.auth import needs
from app.api.paging import DEFAULT_LIMIT, Limit, Moment, Page, choice, cursor_of, page_of, words
from app.api.problems import documented
from app.api.schemas import gives
from app.audit import export, proof, trail
from app.audit.export import EntryOut, ExportFormat
from app.audit.models import Action, AuditEntry
from app.audit.proof import Verdict
from app.audit.seals import Notary
from app.audit.trail import AuditFilter
from app.destinations import signing_keys
from app.errors import Unavailable
from app.identity.permissions import Permission, Principal
from app.services import Services

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
        rows = [export.out(entry) for entry in entries]
        return page_of(rows, limit, lambda row: str(row.sequence))

    @get(
        "/export",
        summary="Export the audit trail, signed",
        description="The last line names the chain's head and the SHA-256 of all before it, and is"
        " signed with a key of `/.well-known/webhooks-keys.json`; `oneprotect audit check-export`"
        " verifies the file offline.",
        opt=needs(Permission.AUDIT_READ),
        operation_class=gives("text/csv", "application/x-ndjson"),
        responses=documented(400, 503),
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
        tenant_id = principal.tenant_id
        notary = await _notary(services)
        if notary.key_id is None:
            raise Unavailable("No key of this installation opens its signing key: nothing can be"
                              " signed. Restore the key in ONEPROTECT_SECRET_KEYS.")  # fmt: skip
        async with services.database.reading(tenant_id) as session:
            start, head = await proof.span(session, tenant_id)
        file = export.write(
            _entries(services, tenant_id, wanted, head.sequence),
            export_format=export_format,
            tenant_id=tenant_id,
            filters={
                name: str(value) for name, value in msgspec.to_builtins(wanted).items() if value
            },
            start=start,
            head=head,
            notary=notary,
        )
        name = f"audit-{tenant_id}.{export_format}"
        return Stream(
            file,
            media_type="text/csv" if export_format is ExportFormat.CSV else "application/x-ndjson",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @get(
        "/verify",
        summary="Verify the audit trail",
        description="Walks the whole hash chain, compares its ends with what was sealed, and says"
        " where it does not fit.",
        opt=needs(Permission.AUDIT_READ),
        responses=documented(),
    )
    async def verify(
        self, services: NamedDependency[Services], principal: NamedDependency[Principal]
    ) -> Verdict:
        notary = await _notary(services)
        async with services.database.reading(principal.tenant_id) as session:
            return await proof.verify(session, principal.tenant_id, notary)


async def _entries(
    services: Services, tenant_id: str, wanted: AuditFilter, up_to: int
) -> AsyncIterator[AuditEntry]:
    # A stream outlives its request's dependencies: it opens its own session.
    async with services.database.reading(tenant_id) as session:
        async for entry in trail.walk(session, tenant_id, wanted, up_to=up_to):
            yield entry


async def _notary(services: Services) -> Notary:
    return await signing_keys.notary(services.database, services.keyring)
