"""What may be written into a destination: every wrong field at once, for both faces alike."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from app.errors import FieldError, Invalid, unknown_field
from app.sending.custom_headers import UnsafeHeaders, check_custom_headers
from app.sending.egress import EgressPolicy
from app.sending.signing import Secret
from app.sending.url_safety import UnsafeUrl, vet_url

NAME_MAX: Final = 100
DESCRIPTION_MAX: Final = 1_000
EVENT_TYPES_MAX: Final = 100
RATE_MAX: Final = 10_000

EVENT_TYPE: Final = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
_PATTERN: Final = re.compile(rf"\*|{EVENT_TYPE.pattern}(?:\.\*)?")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Egress(msgspec.Struct, frozen=True):
    """What a URL is judged by: the operator's policy and the look-up of names (None: no DNS)."""

    policy: EgressPolicy
    resolver: Any = None  # a Resolver; msgspec cannot check a Protocol


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Checked fields of a destination; what was not given is UNSET."""

    name: str | UnsetType = UNSET
    endpoint_url: str | UnsetType = UNSET
    signing_secret: Secret | UnsetType | None = UNSET
    event_types: list[str] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    rate_limit_per_second: int | UnsetType | None = UNSET
    ordered: bool | UnsetType = UNSET
    asymmetric_signature: bool | UnsetType = UNSET
    trace_context: bool | UnsetType = UNSET


class FieldFault(ValueError):
    """One or more faults of one field."""

    def __init__(self, *faults: str | FieldError) -> None:
        self.faults = faults
        super().__init__(str(faults))


async def check_new(fields: Mapping[str, Any], egress: Egress) -> Draft:
    """Check the fields of a new destination; Invalid carries every wrong one."""
    return await _check(fields, egress, required=("endpoint_url", "name"), allowed=_READERS)


async def check_change(fields: Mapping[str, Any], egress: Egress) -> Draft:
    """Check the fields of a change: the same rules; secrets are changed by rotation only."""
    allowed = {name: read for name, read in _READERS.items() if name != "signing_secret"}
    return await _check(fields, egress, required=(), allowed=allowed)


async def _check(
    fields: Mapping[str, Any],
    egress: Egress,
    *,
    required: tuple[str, ...],
    allowed: Mapping[str, Callable[[Any], Any]],
) -> Draft:
    errors: list[FieldError] = []
    values: dict[str, Any] = {}
    # The URL goes first: its refusal must lead, whatever else is wrong.
    if "endpoint_url" in fields:
        try:
            safe = await vet_url(fields["endpoint_url"], egress.policy, egress.resolver)
            values["endpoint_url"] = safe.url
        except UnsafeUrl as fault:
            errors.append(FieldError("endpoint_url", fault.message))
    errors += [FieldError(name, f"{name} is required") for name in required if name not in fields]
    for name, value in fields.items():
        if name == "endpoint_url":
            continue
        read = allowed.get(name)
        if read is None:
            errors.append(unknown_field(name, {*allowed, "endpoint_url"}))
            continue
        try:
            values[name] = read(value)
        except FieldFault as fault:
            errors += [
                f if isinstance(f, FieldError) else FieldError(name, f) for f in fault.faults
            ]
    if errors:
        raise Invalid.fields(errors)
    return Draft(**values)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= NAME_MAX:
        raise FieldFault(f"name must be text of 1 to {NAME_MAX} characters")
    if _CONTROL.search(value) or "\t" in value:
        raise FieldFault("name must not contain control characters")
    return _storable("name", value.strip())


def _description(value: Any) -> str:
    if not isinstance(value, str) or len(value) > DESCRIPTION_MAX:
        raise FieldFault(f"description must be text of at most {DESCRIPTION_MAX} characters")
    text = value.replace("\r\n", "\n")
    if _CONTROL.search(text.replace("\n", "")):
        raise FieldFault("description must not contain control characters")
    return _storable("description", text.strip())


def _storable(field: str, text: str) -> str:
    # Half a surrogate pair is valid JSON but no text: neither database can keep it.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FieldFault(f"{field} must be valid Unicode text") from None
    return text


def event_types_of(value: Any) -> list[str]:
    rule = (
        f"event_types must be a list of at most {EVENT_TYPES_MAX} types such as"
        " alert.created, alert.* or *; empty means every type"
    )
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > EVENT_TYPES_MAX:
        raise FieldFault(rule)
    if not all(isinstance(v, str) and len(v) <= 128 and _PATTERN.fullmatch(v) for v in value):  # noqa: PLR2004
        raise FieldFault(rule)
    return list(dict.fromkeys(value))


def _headers(value: Any) -> dict[str, str]:
    try:
        return check_custom_headers({} if value is None else value)
    except UnsafeHeaders as fault:
        raise FieldFault(*(FieldError(field, text) for field, text in fault.errors)) from None


def _rate(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= RATE_MAX:
        raise FieldFault(f"rate_limit_per_second must be a whole number from 1 to {RATE_MAX}")
    return value


def _yes_or_no(name: str) -> Callable[[Any], bool]:
    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise FieldFault(f"{name} must be true or false")
        return value

    return read


def secret_or_none(value: Any) -> Secret | None:
    """Read a given signing secret; None asks for a generated one."""
    if value is None:
        return None
    try:
        return Secret.parse(value)
    except ValueError as fault:
        raise FieldFault(str(fault)) from None


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": _name,
    "signing_secret": secret_or_none,
    "event_types": event_types_of,
    "description": _description,
    "headers": _headers,
    "rate_limit_per_second": _rate,
    "ordered": _yes_or_no("ordered"),
    "asymmetric_signature": _yes_or_no("asymmetric_signature"),
    "trace_context": _yes_or_no("trace_context"),
}


def wants(patterns: list[str], event_type: str) -> bool:
    """Whether a destination with these patterns gets this type; none means every type."""
    return not patterns or any(
        pattern in ("*", event_type)
        or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )
