"""Hold what is published against the schemas of its type, without asking the database each time."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog
from sqlalchemy import select

from app.database import Database
from app.errors import FieldError
from app.events.intake import NewEvent, raw_data_of
from app.events.models import EventType
from app.events.schemas import Compiled, SchemaMode, UnfitSchema, compiled, faults_of
from app.identity.models import PLATFORM

log = structlog.get_logger(__name__)

#: A change is heeded after this long in every web process, and at once where it was made.
FRESH_S: Final = 3.0
MAX_TENANTS: Final = 10_000


class Verdict(msgspec.Struct, frozen=True):
    """Where an event does not fit: what forbids it, and what is only told."""

    refused: list[FieldError]
    warnings: list[FieldError]


class _Rule(msgspec.Struct, frozen=True):
    mode: SchemaMode
    schema: Compiled
    of_platform: bool


_Rules = Mapping[str, list[_Rule]]
NO_VERDICTS: Final[Mapping[str, Verdict]] = {}


class SchemaGate:
    """One per web process. A tenant without schemas costs one look-up in a dict per publish."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, _Rules]] = {}
        self._loading = asyncio.Lock()

    def forget(self, tenant_id: str) -> None:
        """Its schemas changed: read them anew."""
        self._known.pop(tenant_id, None)

    async def judge(
        self, events: Sequence[NewEvent], *, by_platform: bool, batch: bool
    ) -> Mapping[str, Verdict]:
        """Return a verdict, by event id, for each event that does not fit."""
        rules = await self._rules({event.tenant_id for event in events} | {PLATFORM})
        if not any(rules.values()):
            return NO_VERDICTS
        found = {}
        for number, event in enumerate(events):
            held = [
                rule
                for owner in (PLATFORM, event.tenant_id)
                for rule in rules[owner].get(event.type, ())
            ]
            if held:
                at = f"events[{number}].data" if batch else "data"
                found[event.id] = _verdict(held, event, at, by_platform=by_platform)
        return found

    async def _rules(self, tenants: set[str]) -> dict[str, _Rules]:
        if any(self._is_stale(tenant) for tenant in tenants):
            async with self._loading:
                # Again while any is: to make room may forget one that was still fresh.
                while stale := [tenant for tenant in tenants if self._is_stale(tenant)]:
                    await self._load(stale)
        return {tenant: self._known[tenant][1] for tenant in tenants}

    def _is_stale(self, tenant: str) -> bool:
        known = self._known.get(tenant)
        return known is None or known[0] < time.monotonic()

    async def _load(self, tenants: list[str]) -> None:
        until = time.monotonic() + FRESH_S
        query = select(
            EventType.tenant_id, EventType.type, EventType.schema_mode, EventType.json_schema
        ).where(EventType.tenant_id.in_(tenants), EventType.schema_mode != SchemaMode.OFF)
        rules: dict[str, dict[str, list[_Rule]]] = {tenant: {} for tenant in tenants}
        async with self._database.reading() as session:
            for tenant, kind, mode, schema in await session.execute(query):
                try:
                    found = compiled(schema)
                except UnfitSchema:  # a newer library may be stricter: events must still come in
                    log.warning("schema.unfit", tenant_id=tenant, event_type=kind)
                    continue
                rule = _Rule(SchemaMode(mode), found, tenant == PLATFORM)
                rules[tenant].setdefault(kind, []).append(rule)
        if len(self._known) > MAX_TENANTS:
            self._known.clear()
        for tenant in tenants:
            self._known[tenant] = (until, rules[tenant])


def _verdict(held: list[_Rule], event: NewEvent, at: str, *, by_platform: bool) -> Verdict:
    """Hold one event against its rules.

    A tenant refuses what it publishes itself, and is warned of what the platform publishes:
    otherwise one tenant's schema could turn away a batch with the events of many.
    """
    data = raw_data_of(event.body)
    verdict = Verdict([], [])
    for rule in held:
        refuses = rule.mode is SchemaMode.REFUSE and (rule.of_platform or not by_platform)
        (verdict.refused if refuses else verdict.warnings).extend(faults_of(rule.schema, data, at))
    return verdict
