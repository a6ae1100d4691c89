"""What may be a schema, what it costs at most, and how a misfit is told."""

import json
import time
from typing import Any

import pytest

from app.events.schemas import (
    MAX_FAULTS,
    MAX_WORK,
    UnfitSchema,
    check_schema,
    compiled,
    faults_of,
    path_of,
)

ALERT = {
    "type": "object",
    "required": ["severity"],
    "properties": {
        "severity": {"enum": ["low", "high"]},
        "sites": {"type": "array", "items": {"$ref": "#/$defs/site"}},
    },
    "$defs": {"site": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


def faults(schema: dict[str, Any], data: Any) -> list[tuple[str, str]]:
    check_schema(schema)
    found = faults_of(compiled(json.dumps(schema)), json.dumps(data).encode())
    return [(fault.field, fault.message) for fault in found]


def test_data_that_fits_has_no_faults() -> None:
    assert [] == faults(ALERT, {"severity": "low", "sites": [{"name": "Plant 7"}]})


def test_each_misfit_is_told_by_its_path() -> None:
    found = faults(ALERT, {"sites": [{"name": "x"}, {"name": 7}]})

    assert [
        ("data.severity", "data.severity is required"),
        ("data.sites[1].name", 'data.sites[1].name is not of type "string"'),
    ] == sorted(found)


def test_what_an_event_says_never_stands_in_a_message() -> None:
    schema = {"properties": {"a": {"enum": ["x"]}, "b": {"pattern": "^a"}, "c": {"maximum": 1}}}

    found = faults(schema, {"a": "hunter2", "b": "hunter2", "c": 31337})

    assert 3 == len(found)
    assert "hunter2" not in str(found)
    assert "31337" not in str(found)


def test_only_so_many_places_are_told() -> None:
    assert MAX_FAULTS == len(faults({"items": {"type": "string"}}, [1] * 500))


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (["a", 0, "b_c"], "data.a[0].b_c"),
        (["a b"], 'data["a b"]'),
        (['x"]<b>'], 'data["x\\"]<b>"]'),
        ([], "data"),
    ],
)
def test_a_path_is_written_as_people_do(path: list[str | int], written: str) -> None:
    assert written == path_of(path, "data")


def doubling(levels: int) -> dict[str, Any]:
    """Two references per level: twice as much to do with each."""
    levelled = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": levelled | {f"d{levels}": {"type": "object"}}}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ([], "an object"),
        (True, "an object"),
        ({"type": "strin"}, "schema.type"),
        ({"pattern": "(a"}, "schema.pattern"),
        ({"pattern": "(?=a)b"}, "schema.pattern"),
        ({"$schema": "https://example.com/mine"}, "$schema"),
        ({"$ref": "https://example.com/x"}, "only refer to itself"),
        ({"$ref": "file:///etc/passwd"}, "only refer to itself"),
        ({"$ref": "#"}, "only refer to itself"),
        ({"$ref": "#/$defs/nowhere"}, "not there"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "back to itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$dynamicRef": "#a"}}}, "$dynamicRef"),
        ({"$defs": {"a": {"$id": "https://example.com/a"}}}, "$id"),
        ({"properties": {"enum": {"items": {"$ref": "#/properties/enum"}}}, "$ref":
          "#/properties/enum"}, "back to itself"),
        (doubling(12), "unfolds"),
        (doubling(40), "deep"),
        ({"enum": ["x" * 70_000]}, "bytes"),
    ],
)  # fmt: skip
def test_what_is_no_schema_or_could_cost_too_much_is_refused(schema: Any, reason: str) -> None:
    with pytest.raises(UnfitSchema, match=reason.replace("$", r"\$").replace(".", r"\.")):
        check_schema(schema)


def test_words_as_names_of_properties_are_only_names() -> None:
    named = {name: {"type": "string"} for name in ("$ref", "id", "enum", "properties", "const")}

    check_schema({"type": "object", "properties": named})


def test_patterns_take_linear_time() -> None:
    began = time.perf_counter()
    found = faults({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 50_000 + "!"})

    assert 1 == len(found)
    assert time.perf_counter() - began < 2


def test_an_event_too_large_for_its_schema_is_told_without_a_look() -> None:
    schema = {"items": {"allOf": [{"not": {"const": n}} for n in range(450)]}}

    began = time.perf_counter()
    (found,) = faults(schema, [0.5] * 100_000)

    assert ("data", True) == (found[0], "too large for its schema" in found[1])
    assert time.perf_counter() - began < 2


def test_the_most_work_that_is_allowed_ends_soon() -> None:
    schema = {"items": {"allOf": [{"not": {"const": n}} for n in range(450)]}}
    check_schema(schema)
    known = compiled(json.dumps(schema))
    fits = [0.5] * (MAX_WORK // known.parts - 2)
    many = [{"p": n} for n in range(MAX_WORK // known.parts // 3)]
    choice = {"items": {"anyOf": [{"required": [f"p{n}"]} for n in range(450)]}}

    began = time.perf_counter()
    assert [] == faults(schema, fits)
    assert 1 == len(faults(choice, many)), "only the first of so many"

    assert time.perf_counter() - began < 15
