"""Read what a publisher sends: checked, and serialised once into the bytes that are signed."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from app.database import new_id
from app.database.base import moment_of
from app.errors import FieldError, Invalid, TooLarge, unknown_field
from app.identity.models import SLUG

MAX_DATA_BYTES: Final = 1_048_576
MAX_BATCH: Final = 1_000
MAX_BATCH_BYTES: Final = 32 * 1_048_576
MAX_KEY: Final = 255
#: Levels of nesting: what any receiver's parser takes, and our own at any depth of the stack.
MAX_DEPTH: Final = 100
#: What a request may add around its data: names, braces, the other fields.
ENVELOPE_BYTES: Final = 16_384

TYPE: Final = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
TYPE_MAX: Final = 128
_NOT_JSON: Final = (
    "The body is not valid JSON in UTF-8, is nested too deeply, or holds a number out of range."
)
_FAULTS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


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
    trace: str | None = None  # of the publish: a W3C traceparent, the same for all of one call


_one = msgspec.json.Decoder(EventIn)
_many = msgspec.json.Decoder(BatchIn)


def parse_event(raw: bytes, own_tenant: str | None) -> EventIn:
    """Decode one event; Invalid names every wrong field. `own_tenant` is as in `compose`."""
    try:
        raw.decode()  # msgspec passes `data` over unread: bytes that are not UTF-8 stop here
        return _one.decode(raw)
    except _FAULTS:
        raise _explained(raw, own_tenant, batch=False) from None


def parse_batch(raw: bytes, own_tenant: str | None) -> list[EventIn]:
    try:
        raw.decode()
        events = _many.decode(raw).events
    except _FAULTS:
        raise _explained(raw, own_tenant, batch=True) from None
    if not 1 <= len(events) <= MAX_BATCH:
        rule = f"events must hold 1 to {MAX_BATCH} events, not {len(events)}"
        raise Invalid.fields([FieldError("events", rule)])
    return events


def _explained(raw: bytes, own_tenant: str | None, *, batch: bool) -> Invalid:
    """Look again, field by field: the quick decoder stops at the first fault."""
    try:
        value = msgspec.json.decode(raw)
    except _FAULTS:
        return Invalid(_NOT_JSON)
    errors = list((_batch_faults if batch else _event_faults)(value, own_tenant))
    return Invalid.fields(errors) if errors else Invalid(_NOT_JSON)


def _batch_faults(value: Any, own_tenant: str | None) -> Iterator[FieldError]:
    events = value.get("events") if isinstance(value, dict) else None
    if not isinstance(events, list):
        yield FieldError("events", "events must be a list of events")
        return
    for number, item in enumerate(events):
        yield from _event_faults(item, own_tenant, f"events[{number}].")
    yield from (unknown_field(name, ("events",)) for name in value if name != "events")


def _event_faults(item: Any, own_tenant: str | None, at: str = "") -> Iterator[FieldError]:
    if not isinstance(item, Mapping):
        yield FieldError(at.rstrip(".") or "body", "an event must be a JSON object")
        return
    allowed = EventIn.__struct_fields__
    for name, fault in (
        ("type", _type_fault(item)),
        ("data", _data_fault(item)),
        ("id", _id_fault(item.get("id"))),
        ("tenant", _tenant_fault(item.get("tenant"), own_tenant)),
    ):
        if fault:
            yield FieldError(at + name, fault)
    yield from (unknown_field(name, allowed, at) for name in item if name not in allowed)


def _type_fault(item: Mapping[str, Any]) -> str | None:
    if "type" not in item:
        return "type is required"
    value = item["type"]
    if isinstance(value, str) and len(value) <= TYPE_MAX and TYPE.fullmatch(value):
        return None
    return f"type must be dotted words such as alert.created, at most {TYPE_MAX} characters"


def _data_fault(item: Mapping[str, Any]) -> str | None:
    if "data" not in item:
        return "data is required"
    if item["data"] is _OUT_OF_RANGE:
        return "data must not hold numbers beyond the range of a 64-bit float"
    if not isinstance(item["data"], dict):
        return "data must be a JSON object"
    return f"data must be nested at most {MAX_DEPTH} deep" if _is_too_deep(item["data"]) else None


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _id_fault(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and 1 <= len(value) <= MAX_KEY and value.isprintable():
        return None
    return f"id must be 1 to {MAX_KEY} printable characters"


def _tenant_fault(value: Any, own_tenant: str | None) -> str | None:
    if own_tenant is not None:
        return None if value in (None, own_tenant) else "tenant must be your own, or left out"
    if value is None:
        return "tenant is required"
    if not isinstance(value, str) or not SLUG.fullmatch(value):
        return "tenant must be a tenant's id, such as acme"
    return None


def compose(events: Sequence[EventIn], *, own_tenant: str | None, batch: bool) -> list[NewEvent]:
    """Check and serialise events; `own_tenant` None means the publisher may name any.

    Invalid names every wrong field of every event; TooLarge names the limit.
    """
    errors: list[FieldError] = []
    made: list[NewEvent] = []
    ids = [new_id("evt") for _ in events]
    # All were published when the last id was made: ranges of time are walked by id, and none may
    # be of a later millisecond than its event says.
    now = moment_of(ids[-1])
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    for number, event in enumerate(events):
        at = f"events[{number}]." if batch else ""
        data = bytes(event.data).strip()
        if len(data) > MAX_DATA_BYTES:
            raise TooLarge(f"{at}data has {len(data)} bytes; the limit is {MAX_DATA_BYTES} bytes")
        faults = list(_event_faults(_read(event, data), own_tenant, at))
        if faults:
            errors += faults
            continue
        tenant = own_tenant or event.tenant or ""
        body = _serialised(event, data, ids[number], tenant, stamp)
        made.append(NewEvent(tenant, ids[number], event.type, body, event.id, now))
    if errors:
        raise Invalid.fields(errors)
    return made


#: Stands for `data` that is valid JSON but holds what no parser can.
_OUT_OF_RANGE: Final = object()


def _read(event: EventIn, data: bytes) -> dict[str, Any]:
    read: Any = _OUT_OF_RANGE
    with contextlib.suppress(msgspec.DecodeError):
        read = msgspec.json.decode(data)
    return {"type": event.type, "data": read, "id": event.id, "tenant": event.tenant}


def _serialised(event: EventIn, data: bytes, event_id: str, tenant: str, stamp: str) -> bytes:
    # Nothing here needs escaping: type and tenant were held against their patterns.
    head = f'{{"id":"{event_id}","type":"{event.type}","timestamp":"{stamp}","tenant":"{tenant}"'
    return b"".join((head.encode(), b',"data":', data, b"}"))


class _Data(msgspec.Struct):
    data: msgspec.Raw


_data = msgspec.json.Decoder(_Data)


def raw_data_of(body: bytes) -> bytes:
    """Return the `data` of an event's stored bytes, as it was published."""
    return bytes(_data.decode(body).data)


def data_of(body: bytes) -> Any:
    """Return the `data` of an event's stored bytes."""
    return msgspec.json.decode(body)["data"]
