"""Read what a publisher sends: checked, and serialised once into the bytes that are signed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from app.database import new_id
from app.errors import FieldError, Invalid, TooLarge

MAX_DATA_BYTES: Final = 1_048_576
MAX_BATCH: Final = 1_000
MAX_BATCH_BYTES: Final = 32 * 1_048_576
MAX_KEY: Final = 255
#: What a request may add around its data: names, braces, the other fields.
ENVELOPE_BYTES: Final = 16_384

_TYPE: Final = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
_TYPE_MAX: Final = 128


class EventIn(msgspec.Struct, forbid_unknown_fields=True):
    """An event as published; `id` is the publisher's own and makes a repeat harmless."""

    type: str
    data: msgspec.Raw
    tenant: str | None = None
    id: str | None = None


class BatchIn(msgspec.Struct, forbid_unknown_fields=True):
    events: list[EventIn]


class NewEvent(msgspec.Struct, frozen=True):
    """A checked event with its id and its final bytes."""

    tenant_id: str
    id: str
    type: str
    body: bytes
    idempotency_key: str | None
    created_at: datetime


_one = msgspec.json.Decoder(EventIn)
_many = msgspec.json.Decoder(BatchIn)


def parse_event(raw: bytes) -> EventIn:
    """Decode one event; Invalid names every wrong field."""
    try:
        raw.decode()  # msgspec passes `data` over unread: bytes that are not UTF-8 stop here
        return _one.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise _explained(raw, fault, EventIn) from None


def parse_batch(raw: bytes) -> list[EventIn]:
    try:
        raw.decode()
        events = _many.decode(raw).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise _explained(raw, fault, BatchIn) from None
    if not 1 <= len(events) <= MAX_BATCH:
        rule = f"events must hold 1 to {MAX_BATCH} events, not {len(events)}"
        raise Invalid.fields([FieldError("events", rule)])
    return events


def _explained(raw: bytes, fault: Exception, wanted: type[EventIn] | type[BatchIn]) -> Invalid:
    """Look again, field by field: the quick decoder stops at the first fault."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Invalid("The body is not valid JSON in UTF-8, or is nested too deeply.")
    if wanted is BatchIn:
        items = value.get("events") if isinstance(value, dict) else None
        if not isinstance(items, list):
            return Invalid.fields([FieldError("events", "events must be a list of events")])
        errors = [
            error for n, item in enumerate(items) for error in _shape_faults(item, f"events[{n}].")
        ]
        errors += [_unknown(name, {"events"}, "") for name in value if name != "events"]
    else:
        errors = list(_shape_faults(value, ""))
    return Invalid.fields(errors) if errors else Invalid(str(fault))


def _shape_faults(item: Any, at: str) -> Iterator[FieldError]:
    if not isinstance(item, Mapping):
        yield FieldError(at.rstrip(".") or "body", "an event must be a JSON object")
        return
    for name in ("type", "data"):
        if name not in item:
            yield FieldError(at + name, f"{name} is required")
    for name, value in item.items():
        if name not in EventIn.__struct_fields__:
            yield _unknown(name, set(EventIn.__struct_fields__), at)
        elif (
            name != "data" and not isinstance(value, str) and (name == "type" or value is not None)
        ):
            yield FieldError(at + name, f"{name} must be text")


def _unknown(name: str, allowed: set[str], at: str) -> FieldError:
    return FieldError(
        at + name, f"{name} is not a field; allowed are: {', '.join(sorted(allowed))}"
    )


def compose(
    events: Sequence[EventIn], *, own_tenant: str | None, now: datetime, batch: bool
) -> list[NewEvent]:
    """Check and serialise events; `own_tenant` None means the publisher may name any.

    Invalid names every wrong field of every event; TooLarge names the limit.
    """
    errors: list[FieldError] = []
    made: list[NewEvent] = []
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    for number, event in enumerate(events):
        at = f"events[{number}]." if batch else ""
        faults = list(_faults(event, own_tenant, at))
        if faults:
            errors += faults
            continue
        data = bytes(event.data).strip()
        if len(data) > MAX_DATA_BYTES:
            raise TooLarge(f"{at}data has {len(data)} bytes; the limit is {MAX_DATA_BYTES} bytes")
        tenant = own_tenant or event.tenant or ""
        event_id = new_id("evt")
        head = (
            f'{{"id":"{event_id}","type":"{event.type}","timestamp":"{stamp}","tenant":"{tenant}"'
        )
        body = b"".join((head.encode(), b',"data":', data, b"}"))
        made.append(NewEvent(tenant, event_id, event.type, body, event.id, now))
    if errors:
        raise Invalid.fields(errors)
    return made


def _faults(event: EventIn, own_tenant: str | None, at: str) -> Iterator[FieldError]:
    if len(event.type) > _TYPE_MAX or not _TYPE.fullmatch(event.type):
        rule = f"type must be dotted words such as alert.created, at most {_TYPE_MAX} characters"
        yield FieldError(f"{at}type", rule)
    if not bytes(event.data).lstrip().startswith(b"{"):
        yield FieldError(f"{at}data", "data must be a JSON object")
    if event.id is not None and not (1 <= len(event.id) <= MAX_KEY and event.id.isprintable()):
        rule = f"id must be 1 to {MAX_KEY} printable characters"
        yield FieldError(f"{at}id", rule)
    if own_tenant is None:
        if not event.tenant:
            yield FieldError(f"{at}tenant", "tenant is required")
    elif event.tenant not in (None, own_tenant):
        yield FieldError(f"{at}tenant", "tenant must be your own, or left out")


def data_of(body: bytes) -> Any:
    """Return the `data` of an event's stored bytes."""
    return msgspec.json.decode(body)["data"]
