"""The rules of a destination's fields, apart from any face, and which events it wants."""

from typing import Any

import pytest

from app.destinations.rules import Draft, Egress, check_change, check_new, wants
from app.errors import Invalid
from app.sending.egress import EgressAllow, EgressPolicy

EGRESS = Egress(EgressPolicy(allow=EgressAllow.parse(""), require_https=True))
GOOD = {"name": "SOC", "endpoint_url": "https://hooks.example.com/x"}


async def test_what_was_not_given_stays_unset() -> None:
    draft = await check_new(GOOD, EGRESS)

    assert Draft(name="SOC", endpoint_url="https://hooks.example.com/x") == draft
    assert Draft() == await check_change({}, EGRESS)


async def test_texts_are_trimmed_and_line_ends_made_one() -> None:
    draft = await check_new(GOOD | {"name": "  SOC ", "description": " a\r\nb\n "}, EGRESS)

    assert ("SOC", "a\nb") == (draft.name, draft.description)


async def test_event_types_are_kept_once_each_in_order() -> None:
    draft = await check_new(GOOD | {"event_types": ["b", "a.*", "b", "*"]}, EGRESS)

    assert ["b", "a.*", "*"] == draft.event_types


@pytest.mark.parametrize(
    "pattern",
    ["", ".", "a.", ".a", "a..b", "a b", "a.*.b", "**", "*.a", "a*", "ä", "a-b", "x" * 129, "a\n"],
)
async def test_a_pattern_is_dotted_words_with_one_star_at_the_end(pattern: str) -> None:
    with pytest.raises(Invalid) as caught:
        await check_new(GOOD | {"event_types": [pattern]}, EGRESS)

    assert ["event_types"] == [error.field for error in caught.value.errors]


async def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(Invalid) as caught:
        await check_new(GOOD | {"name": "a\ud800", "description": "\udfff"}, EGRESS)

    assert {"name", "description"} == {error.field for error in caught.value.errors}


async def test_the_urls_refusal_leads_whatever_comes_first() -> None:
    fields = {"ordered": 1, "name": "", "endpoint_url": "https://10.0.0.5/"}
    with pytest.raises(Invalid) as caught:
        await check_new(fields, EGRESS)

    assert "endpoint_url must not target a private or reserved address" == caught.value.detail
    assert ["endpoint_url", "ordered", "name"] == [e.field for e in caught.value.errors]


WANTED: list[tuple[list[str], str, bool]] = [
    ([], "alert.created", True),
    (["*"], "alert.created", True),
    (["alert.created"], "alert.created", True),
    (["alert.created"], "alert.created.now", False),
    (["alert.created"], "alert", False),
    (["alert.*"], "alert.created", True),
    (["alert.*"], "alert.created.now", True),
    (["alert.*"], "alert", False),
    (["alert.*"], "alerts.created", False),
    (["alert"], "alert.created", False),
    (["x", "incident.*"], "incident.opened", True),
    (["Alert.*"], "alert.created", False),
]


@pytest.mark.parametrize(("patterns", "event_type", "wanted"), WANTED)
def test_a_destination_gets_the_types_it_names(
    patterns: list[str], event_type: str, wanted: Any
) -> None:
    assert wanted == wants(patterns, event_type)
