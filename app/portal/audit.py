"""The audit trail for people: who changed what, in words, and whether the chain is whole."""

from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.response import Stream

from app.audit import export as audit_export
from app.audit import proof, reading
from app.audit.export import EntryOut
from app.audit.models import Action
from app.audit.trail import AuditFilter
from app.audit.words import sentence
from app.destinations import signing_keys
from app.exporting import Format
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.deliveries import PAGE_SIZE
from app.portal.exports import as_file
from app.portal.fields import query_choice, query_day, query_text
from app.portal.guards import needs
from app.portal.rendering import link, page
from app.services import Services

FILTERS: Final = ("actor", "action", "target", "after", "before")


class Entry(msgspec.Struct, frozen=True):
    """An entry, what it says in words, and its values as they were written."""

    raw: EntryOut
    sentence: str
    values: list[tuple[str, str]]


def _wanted(request: Http) -> AuditFilter:
    before = query_day(request, "before")
    return AuditFilter(
        actor=query_text(request, "actor"),
        action=query_choice(request, "action", Action),
        target=query_text(request, "target"),
        after=query_day(request, "after"),
        before=before + timedelta(days=1) if before else None,  # that day included
    )


@get("/audit", opt=needs(Permission.AUDIT_READ, live=True))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    wanted, start = _wanted(request), _below(request)
    is_check = query_text(request, "verify") is not None
    notary = await signing_keys.notary(services.database, services.keyring) if is_check else None
    async with services.database.reading(principal.tenant_id) as session:
        rows, ended = await reading.look_for(
            session, principal.tenant_id, wanted, limit=PAGE_SIZE + 1, below=start
        )
        verdict = await proof.verify(session, principal.tenant_id, notary) if notary else None
    filters = {name: query_text(request, name) for name in FILTERS}
    return page(
        request,
        "audit.html",
        entries=[_entry(row) for row in rows[:PAGE_SIZE]],
        older=rows[PAGE_SIZE:] and link("/audit", **filters, below=rows[PAGE_SIZE - 1].sequence),
        further=link("/audit", **filters, below=ended) if ended else None,
        newest=link("/audit", **filters) if start else None,
        here=link("/audit", **filters, below=start),
        verify_link=link("/audit", **filters, below=start, verify=1),
        exports=[(kind, link("/audit/export", **filters, format=kind)) for kind in Format],
        verdict=verdict,
        filters=filters,
        actions=list(Action),
    )


def _below(request: Http) -> int | None:
    text = query_text(request, "below") or ""
    is_number = text.isascii() and text.isdecimal() and len(text) < 19  # noqa: PLR2004  # a bigint
    return int(text) if is_number else None


@get("/audit/export", opt=needs(Permission.AUDIT_READ))
async def export(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Stream:
    """Send the same signed file as the API does."""
    wanted = query_choice(request, "format", Format) or Format.CSV
    notary = await signing_keys.notary(services.database, services.keyring)
    file = await audit_export.signed(
        services.database, principal.tenant_id, _wanted(request), wanted, notary
    )
    return as_file(file, "audit", wanted)


def _entry(row: EntryOut) -> Entry:
    return Entry(row, sentence(row.action, row.target, row.changes), _values(row.changes))


def _values(changes: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, msgspec.json.encode(value).decode()) for name, value in changes.items()]
