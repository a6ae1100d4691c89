"""A receiver may send back what it was sent; our records must not show a tenant's keys for it."""

import json
from collections.abc import Iterable

import msgspec

from app.sending.outcome import Outcome

HIDDEN = "[hidden]"
MIN_CHARACTERS = 6  # anything shorter stands in too many honest answers


def without_echo(outcome: Outcome, values: Iterable[str]) -> Outcome:
    """Hide the values of custom headers, and words of them, wherever the answer repeats them."""
    if not (values and (outcome.response_body or outcome.response_headers)):
        return outcome
    parts = _parts(values)
    return msgspec.structs.replace(
        outcome,
        response_body=_hide(outcome.response_body, parts),
        response_headers={k: _hide(v, parts) for k, v in outcome.response_headers.items()},
    )


def _parts(values: Iterable[str]) -> list[str]:
    """Longest first; as they are, and as JSON writes them."""
    plain = {part for value in values for part in (value, *value.split())}
    written = plain | {json.dumps(part)[1:-1] for part in plain}
    return sorted((p for p in written if len(p) >= MIN_CHARACTERS), key=len, reverse=True)


def _hide(text: str, parts: list[str]) -> str:
    for part in parts:
        text = text.replace(part, HIDDEN)
    return text
