"""The audit trail over the API: read, export, verify."""

from typing import Annotated

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from app.api.auth import needs
from app.api.paging import DEFAULT_LIMIT, Limit, Moment, Page, choice, cursor_of, page_of, words
from app.api.problems import documented
from app.api.schemas import gives
from app.audit import export, proof, trail
from app.audit.export import EntryOut
from app.audit.models import Action
from app.audit.proof import Verdict
from app.audit.trail import AuditFilter
from app.destinations import signing_keys
from app.exporting import Format
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
        export_format: Annotated[Format, QueryParameter(name="format")] = Format.CSV,
        actor: Who = None,
        action: Done = None,
        target: Who = None,
        before: Moment = None,
        after: Moment = None,
    ) -> Stream:
        wanted = AuditFilter(actor=actor, action=action, target=target, before=before, after=after)
        tenant_id = principal.tenant_id
        notary = await signing_keys.notary(services.database, services.keyring)
        name = f"audit-{tenant_id}.{export_format}"
        return Stream(
            await export.signed(services.database, tenant_id, wanted, export_format, notary),
            media_type=export_format.media_type,
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
        notary = await signing_keys.notary(services.database, services.keyring)
        async with services.database.reading(principal.tenant_id) as session:
            return await proof.verify(session, principal.tenant_id, notary)
