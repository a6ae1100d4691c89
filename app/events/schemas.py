"""JSON Schemas of event types: what may be one, and where an event's data does not fit it.

A schema is a tenant's program run in our process, so it is bounded: no reference leaves it or
leads back into itself, patterns run in linear time, and its size counts with every reference
unfolded.
"""

import functools
import itertools
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final
from urllib.parse import unquote

import jsonschema_rs
import msgspec

from app.errors import FieldError

MAX_BYTES: Final = 65_536
MAX_DEPTH: Final = 50
#: Values of a schema, each counted as often as references lead to it.
MAX_PARTS: Final = 2_000
#: Parts of a schema times values of an event: beyond it a check could take seconds, and beyond the
#: lower one only the first misfit is told.
MAX_WORK: Final = 5_000_000
MAX_WORK_FOR_ALL: Final = 200_000
#: How many places of one event are told; the first few are what a developer mends.
MAX_FAULTS: Final = 20
MAX_MESSAGE: Final = 300
DRAFTS: Final = {
    "http://json-schema.org/draft-04/schema": jsonschema_rs.Draft4Validator,
    "http://json-schema.org/draft-06/schema": jsonschema_rs.Draft6Validator,
    "http://json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
}
NEWEST: Final = "https://json-schema.org/draft/2020-12/schema"
#: Words that give references another meaning than a plain pointer into this schema.
_BASES: Final = frozenset({"$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "id"})
#: Words whose value holds schemas by name.
_MAPS: Final = frozenset(
    {"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)
#: Words whose value is data, not schema: a reference in it is only text.
_DATA: Final = frozenset({"const", "default", "enum", "examples"})
#: Stands for the value in messages: what an event says is not theirs to tell.
MASK: Final = "the value"
_LINEAR: Final = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 21)


class SchemaMode(StrEnum):
    """What becomes of an event that does not fit."""

    OFF = "off"  # nobody looks
    WARN = "warn"  # it is kept, and says where it does not fit
    REFUSE = "refuse"  # it is not kept


class UnfitSchema(ValueError):
    """Why a schema is not taken, as one sentence about `schema`."""


def check_schema(value: Any) -> None:
    """Raise UnfitSchema for what is no JSON Schema, or one that could cost more than it may."""
    if not isinstance(value, dict):
        raise UnfitSchema("schema must be a JSON Schema: an object")
    encoded = msgspec.json.encode(value)
    if len(encoded) > MAX_BYTES:
        raise UnfitSchema(f"schema has {len(encoded)} bytes; the limit is {MAX_BYTES} bytes")
    compiled(encoded.decode())


class Compiled(msgspec.Struct, frozen=True):
    """A schema ready for use, and how many parts it unfolds to."""

    validator: jsonschema_rs.Validator
    parts: int


@functools.lru_cache(maxsize=512)
def compiled(text: str) -> Compiled:
    """Compile a schema's JSON once; UnfitSchema says where it is none."""
    schema = msgspec.json.decode(text)
    draft = _draft_of(schema)
    parts = _Measure(schema).parts(schema, "#", 0)
    if parts > MAX_PARTS:
        raise UnfitSchema(f"schema unfolds to {parts} parts; the limit is {MAX_PARTS}")
    try:
        validator = draft(schema, offline=True, pattern_options=_LINEAR, mask=MASK)
    except (ValueError, jsonschema_rs.ReferencingError) as fault:
        place = path_of(getattr(fault, "instance_path", ()), "schema")
        message = getattr(fault, "message", "") or "it cannot be compiled"
        raise UnfitSchema(f"{place}: {message}"[:MAX_MESSAGE]) from None
    return Compiled(validator, parts)


class _Measure:
    """Counts the parts of a schema with its references unfolded."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._sizes: dict[str, int] = {}
        self._within: set[str] = set()

    def parts(self, node: Any, at: str, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise UnfitSchema(f"schema must be nested at most {MAX_DEPTH} deep")
        if isinstance(node, list):
            return 1 + sum(self.parts(one, f"{at}/{n}", depth + 1) for n, one in enumerate(node))
        if not isinstance(node, dict):
            return 1
        return 1 + sum(self._word(name, value, at, depth) for name, value in node.items())

    def _word(self, name: str, value: Any, at: str, depth: int) -> int:
        if name in _MAPS and isinstance(value, dict):  # its keys are names, which may be any word
            parts = (self.parts(one, f"{at}/{name}/{key}", depth + 2) for key, one in value.items())
            return 1 + sum(parts)
        if isinstance(value, str) and (name in _BASES or (name == "$id" and at != "#")):
            raise UnfitSchema(f"schema must not use {name} at {at}; refer by #/$defs/… instead")
        if name == "$ref" and isinstance(value, str):
            return 1 + self._referred(value, depth)
        if name in _DATA:
            return len(msgspec.json.encode(value)) // 8 + 1
        return self.parts(value, f"{at}/{name}", depth + 1)

    def _referred(self, reference: str, depth: int) -> int:
        if reference in self._within:
            raise UnfitSchema(f"schema must not refer back to itself, as {reference} does")
        if reference not in self._sizes:
            self._within.add(reference)
            self._sizes[reference] = self.parts(self._find(reference), reference, depth + 1)
            self._within.remove(reference)
        return self._sizes[reference]

    def _find(self, reference: str) -> Any:
        rule = f"schema must only refer to itself, such as #/$defs/site, not to {reference[:100]}"
        if not reference.startswith("#/"):
            raise UnfitSchema(rule)
        node: Any = self._root
        for part in unquote(reference[2:]).split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(name)] if isinstance(node, list) else node[name]
            except (LookupError, TypeError, ValueError):
                raise UnfitSchema(
                    f"schema refers to {reference[:100]}, which is not there"
                ) from None
        return node


def _draft_of(schema: dict[str, Any]) -> Any:
    named = schema.get("$schema", NEWEST)
    found = DRAFTS.get(named.rstrip("#")) if isinstance(named, str) else None
    if found is None:
        raise UnfitSchema(f"schema must name one of these as $schema: {', '.join(DRAFTS)}")
    return found


def faults_of(schema: Compiled, data: bytes, at: str = "data") -> list[FieldError]:
    """Return where the JSON does not fit; the first few places, each by its path."""
    values = 1 + data.count(b",") + data.count(b"[") + data.count(b"{")
    work = schema.parts * values
    if work > MAX_WORK:
        rule = f"{at} is too large for its schema: {values} values against {schema.parts} parts"
        return [FieldError(at, rule)]
    value = msgspec.json.decode(data)
    if schema.validator.is_valid(value):
        return []
    if work <= MAX_WORK_FOR_ALL:
        errors = itertools.islice(schema.validator.iter_errors(value), MAX_FAULTS)
        return [_fault(error, at) for error in errors]
    try:
        schema.validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return [_fault(error, at)]
    return []


def _fault(error: jsonschema_rs.ValidationError, at: str) -> FieldError:
    path = list(error.instance_path)
    missing = getattr(error.kind, "property", None)
    if isinstance(missing, str):
        field = path_of([*path, missing], at)
        return FieldError(field, f"{field} is required")
    field, rest = path_of(path, at), error.message.removeprefix(MASK)
    joint = "" if rest != error.message else ": "
    return FieldError(field, f"{field}{joint}{rest}"[:MAX_MESSAGE])


def path_of(path: Sequence[str | int], at: str) -> str:
    """Write a path as people do: `data.sites[0].name`."""
    for part in path:
        if isinstance(part, int):
            at += f"[{part}]"
        elif part.replace("_", "a").replace("-", "a").isalnum():
            at += f".{part}"
        else:
            at += f"[{msgspec.json.encode(part).decode()}]"
    return at[:MAX_MESSAGE]
