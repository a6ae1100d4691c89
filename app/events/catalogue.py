"""The catalogue of event types: described by the platform for all, by a tenant for itself."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.database import utcnow
from app.errors import FieldError, Invalid, NotFound, unknown_field
from app.events.intake import TYPE, TYPE_MAX
from app.events.models import EventType, EventWarning
from app.events.schemas import (
    MAX_BYTES,
    SchemaMode,
    UnfitSchema,
    check_schema,
    compiled,
    faults_of,
)
from app.identity.models import PLATFORM

DESCRIPTION_MAX: Final = 1_000
MAX_TYPES: Final = 1_000
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_FIELDS: Final = ("description", "example", "schema", "schema_mode")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A checked entry; example and schema are JSON texts."""

    description: str = ""
    example: str | None = None
    schema: str | None = None
    schema_mode: SchemaMode = SchemaMode.OFF


class KnownType(msgspec.Struct, frozen=True, kw_only=True):
    """A type as people see it. `scope` says whose word it is; None: it was only ever seen."""

    type: str
    scope: Literal["platform", "tenant"] | None = None
    description: str = ""
    example: str | None = None
    schema: str | None = None
    schema_mode: SchemaMode = SchemaMode.OFF
    seen: bool = False
    updated_at: datetime | None = None
    updated_by: str = ""


async def known_types(
    session: AsyncSession, tenant_id: str, seen: Iterable[str] = ()
) -> list[KnownType]:
    """Return all types in order: the tenant's own word first, the platform's else, or just seen."""
    query = select(EventType).where(EventType.tenant_id.in_((tenant_id, PLATFORM)))
    rows = list((await session.execute(query)).scalars())
    rows.sort(key=lambda row: row.tenant_id == tenant_id)  # the own word is laid over the other
    known = {kind: KnownType(type=kind, seen=True) for kind in seen}
    for row in rows:
        known[row.type] = _known(row, seen=row.type in known and known[row.type].seen)
    return [known[kind] for kind in sorted(known)]


def _known(row: EventType, *, seen: bool) -> KnownType:
    return KnownType(
        type=row.type,
        scope="platform" if row.tenant_id == PLATFORM else "tenant",
        description=row.description,
        example=row.example,
        schema=row.json_schema,
        schema_mode=SchemaMode(row.schema_mode),
        seen=seen,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def check_entry(name: str, fields: Mapping[str, Any]) -> Entry:
    """Check what is said of a type; Invalid names every wrong field."""
    errors = [unknown_field(given, _FIELDS) for given in fields if given not in _FIELDS]
    if not (len(name) <= TYPE_MAX and TYPE.fullmatch(name)):
        rule = f"type must be dotted words such as alert.created, at most {TYPE_MAX} characters"
        errors.append(FieldError("type", rule))
    description = fields.get("description", "")
    example, schema = fields.get("example"), fields.get("schema")
    mode = fields.get("schema_mode", SchemaMode.OFF)
    for field, fault in (
        ("description", _description_fault(description)),
        ("example", _example_fault(example)),
        ("schema", _schema_fault(schema)),
        ("schema_mode", _mode_fault(mode, schema)),
    ):
        if fault:
            errors.append(FieldError(field, fault))
    if errors:
        raise Invalid.fields(errors)
    entry = Entry(
        description=description.strip(),
        example=_text(example),
        schema=_text(schema),
        schema_mode=SchemaMode(mode),
    )
    if entry.schema and entry.example:
        misfits = faults_of(compiled(entry.schema), entry.example.encode(), "example")
        if misfits:
            raise Invalid.fields(misfits)
    return entry


def _text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _description_fault(value: Any) -> str | None:
    if isinstance(value, str) and len(value) <= DESCRIPTION_MAX and not _CONTROL.search(value):
        return None
    return f"description must be text of at most {DESCRIPTION_MAX} characters"


def _example_fault(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        return "example must be a JSON object: the data of such an event"
    if len(msgspec.json.encode(value)) > MAX_BYTES:
        return f"example must have at most {MAX_BYTES} bytes"
    return None


def _schema_fault(value: Any) -> str | None:
    if value is None:
        return None
    try:
        check_schema(value)
    except UnfitSchema as fault:
        return str(fault)
    return None


def _mode_fault(value: Any, schema: Any) -> str | None:
    if value not in list(SchemaMode):
        return f"schema_mode must be one of: {', '.join(SchemaMode)}"
    if value != SchemaMode.OFF and schema is None:
        return f"schema_mode {value} needs a schema"
    return None


async def save(
    session: AsyncSession, tenant_id: str, name: str, entry: Entry, *, actor: Actor
) -> None:
    """Say this of a type, in place of what was said before."""
    row = await session.get(EventType, (tenant_id, name), with_for_update=True)
    if row is None:
        await _require_room(session, tenant_id)
        row = EventType(tenant_id=tenant_id, type=name)
        session.add(row)
        before: dict[str, Any] = {}
    else:
        before = _audited(row)
    row.description = entry.description
    row.example, row.json_schema = entry.example, entry.schema
    row.schema_mode = entry.schema_mode.value
    after = _audited(row)
    changes = {
        name: {"from": before.get(name), "to": value}
        for name, value in after.items()
        if before.get(name) != value
    }
    if changes:
        row.updated_at, row.updated_by = utcnow(), actor.label
        target = Target("event type", name, name)
        await audit.record(session, tenant_id, actor, Action.EVENT_TYPE_SAVED, target, changes)


def _audited(row: EventType) -> dict[str, Any]:
    return {
        "description": row.description,
        "example": row.example,
        "schema": row.json_schema,
        "schema_mode": row.schema_mode,
    }


async def _require_room(session: AsyncSession, tenant_id: str) -> None:
    query = select(func.count()).where(EventType.tenant_id == tenant_id)
    if (await session.execute(query)).scalar_one() >= MAX_TYPES:
        raise Invalid.fields([FieldError("type", f"at most {MAX_TYPES} types can be described")])


async def remove(session: AsyncSession, tenant_id: str, name: str, *, actor: Actor) -> None:
    """Take back what was said of a type; NotFound when the tenant itself said nothing."""
    # What cannot be a name is not looked up: a database may choke on it.
    row = None
    if TYPE.fullmatch(name):
        row = await session.get(EventType, (tenant_id, name), with_for_update=True)
    if row is None:
        raise NotFound
    await session.delete(row)
    target = Target("event type", name, name)
    await audit.record(
        session, tenant_id, actor, Action.EVENT_TYPE_REMOVED, target, {"was": _audited(row)}
    )


async def warnings_of(session: AsyncSession, tenant_id: str, event_id: str) -> list[FieldError]:
    """Return where a kept event did not fit its schema when it was published."""
    row = await session.get(EventWarning, (tenant_id, event_id))
    return msgspec.json.decode(row.warnings, type=list[FieldError]) if row else []
