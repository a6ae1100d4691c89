"""The audit trail for people: who changed what, in words, and whether the chain is whole."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from app.audit import proof, trail
from app.audit.models import Action, AuditEntry
from app.audit.trail import AuditFilter
from app.destinations import signing_keys
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.deliveries import PAGE_SIZE
from app.portal.fields import query_choice, query_day, query_text
from app.portal.formats import words
from app.portal.guards import needs
from app.portal.rendering import link, page
from app.services import Services

FILTERS: Final = ("actor", "action", "target", "after", "before")


class Change(msgspec.Struct, frozen=True):
    """One changed field; `old` is None where only a value is told."""

    field: str
    old: str | None
    new: str


class Entry(msgspec.Struct, frozen=True):
    """An entry with its changes in words."""

    raw: AuditEntry
    sentence: str
    changes: list[Change]


@get("/audit", opt=needs(Permission.AUDIT_READ))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    before = query_day(request, "before")
    wanted = AuditFilter(
        actor=query_text(request, "actor"),
        action=query_choice(request, "action", Action),
        target=query_text(request, "target"),
        after=query_day(request, "after"),
        before=before + timedelta(days=1) if before else None,  # that day included
    )
    below = query_text(request, "below") or ""
    start = int(below) if below.isascii() and below.isdecimal() and len(below) < 19 else None  # noqa: PLR2004
    is_check = query_text(request, "verify") is not None
    notary = await signing_keys.notary(services.database, services.keyring) if is_check else None
    async with services.database.reading(principal.tenant_id) as session:
        rows = await trail.page(
            session, principal.tenant_id, wanted, limit=PAGE_SIZE + 1, below=start
        )
        verdict = await proof.verify(session, principal.tenant_id, notary) if notary else None
    filters = {name: query_text(request, name) for name in FILTERS}
    older = rows[PAGE_SIZE:] and link("/audit", **filters, below=rows[PAGE_SIZE - 1].sequence)
    return page(
        request,
        "audit.html",
        entries=[_entry(row) for row in rows[:PAGE_SIZE]],
        older=older,
        newest=link("/audit", **filters) if start else None,
        here=link("/audit", **filters, below=start),
        verify_link=link("/audit", **filters, below=start, verify=1),
        verdict=verdict,
        filters=filters,
        actions=list(Action),
    )


def _entry(row: AuditEntry) -> Entry:
    # An action of a newer version must not break an older portal.
    known = row.action in set(Action)
    sentence = Action(row.action).sentence if known else words(row.action)
    return Entry(row, sentence, list(_changes(row.changes)))


def _changes(changes: dict[str, Any]) -> Iterator[Change]:
    for field, value in changes.items():
        if isinstance(value, dict) and value.keys() == {"from", "to"}:
            yield Change(words(field), _shown(value["from"]), _shown(value["to"]))
        elif value not in (None, "", [], {}, False):
            yield Change(words(field), None, _shown(value))


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
