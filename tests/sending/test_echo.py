"""What a receiver repeats of a tenant's header values is hidden before it is kept."""

import json

from hypothesis import given
from hypothesis import strategies as st

from app.sending.echo import HIDDEN, MIN_CHARACTERS, without_echo
from app.sending.outcome import Outcome, OutcomeKind

values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=MIN_CHARACTERS)


def outcome(body: str, **headers: str) -> Outcome:
    return Outcome(
        kind=OutcomeKind.DELIVERED, duration_ms=1, response_body=body, response_headers=headers
    )


def test_a_repeated_value_is_hidden_and_the_rest_stays() -> None:
    told = without_echo(
        outcome("you sent Bearer abc-123-def!", location="/?key=abc-123-def"),
        ["Bearer abc-123-def"],
    )

    assert f"you sent {HIDDEN}!" == told.response_body
    assert {"location": f"/?key={HIDDEN}"} == told.response_headers


def test_a_word_of_a_value_is_hidden_too() -> None:
    assert HIDDEN == without_echo(outcome("abc-123-def"), ["Bearer abc-123-def"]).response_body


def test_short_values_and_answers_without_an_echo_stay_as_they_are() -> None:
    for answer in (outcome("true: all 12 are fine", server="nginx"), outcome("")):
        assert answer == without_echo(answer, ["true", "12", "never-repeated"])
        assert answer == without_echo(answer, [])


@given(values, st.text(max_size=20))
def test_no_value_survives_as_text_or_in_json(value: str, around: str) -> None:
    for body in (f"{around}{value}{around}", json.dumps({"got": value})):
        told = without_echo(outcome(body), [value]).response_body

        assert value not in told.replace(HIDDEN, "") or value in HIDDEN or value in around
