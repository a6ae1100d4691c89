"""When to try again, or never: pure rules over an outcome and what was tried before."""

from collections.abc import Sequence
from typing import Final

import msgspec

from app.deliveries.models import State
from app.sending.outcome import Outcome, OutcomeKind

JITTER: Final = 0.2
MAX_DELAY_S: Final = 86_400

#: Outcomes that no further attempt can better.
PERMANENT: Final = {
    OutcomeKind.DESTINATION_NOT_ALLOWED: "the endpoint's address is not allowed",
}
GONE: Final = "410 Gone"
DISABLE: Final = "the receiver asked to be disabled"
ABORT: Final = "the receiver asked for no more attempts"
#: How a receiver says what it wants: `disable`, or `abort-message`.
CONTROL_HEADER: Final = "webhook-delivery"
#: Answers of a receiver, or of what stands before it, that is overloaded.
OVERLOADED: Final = (502, 504)
PAUSE_S: Final = 1.0
EXHAUSTED: Final = "every scheduled attempt failed"


class Plan(msgspec.Struct, frozen=True):
    """Where an attempt leaves its delivery; `delay_s` only when it is to be retried."""

    state: State
    delay_s: float | None = None
    reason: str | None = None
    pause_s: float = 0.0  # leave the whole destination alone for so long
    disable_reason: str | None = None  # the receiver wants no more at all


def plan(outcome: Outcome, *, retries_used: int, schedule: Sequence[int], chance: float) -> Plan:
    """Decide what follows an attempt.

    `chance` in [0, 1) spreads the delay by ±20 %, so that a receiver that comes back is not met
    by everything at once. A Retry-After longer than the delay is honoured.
    """
    wish = outcome.response_headers.get(CONTROL_HEADER, "").strip().lower()
    disable = GONE if outcome.kind is OutcomeKind.GONE else DISABLE if wish == "disable" else None
    if outcome.kind is OutcomeKind.DELIVERED:
        return Plan(State.DELIVERED, disable_reason=disable)
    permanent = None if outcome.refused_because else PERMANENT.get(outcome.kind)
    if reason := disable or (ABORT if wish == "abort-message" else permanent):
        return Plan(State.FAILED, reason=reason, disable_reason=disable)
    pause_s = _pause_s(outcome)
    if retries_used >= len(schedule):
        return Plan(State.FAILED, reason=outcome.refused_because or EXHAUSTED, pause_s=pause_s)
    delay = schedule[retries_used] * (1 - JITTER + 2 * JITTER * chance)
    delay = min(max(delay, outcome.retry_after_s or 0), MAX_DELAY_S)
    return Plan(State.RETRYING, delay, outcome.refused_because, pause_s)


def _pause_s(outcome: Outcome) -> float:
    """Return how long all of the destination waits: Standard Webhooks, 429, 502 and 504."""
    if outcome.kind is not OutcomeKind.RATE_LIMITED and outcome.response_status not in OVERLOADED:
        return 0.0
    return max(PAUSE_S, float(outcome.retry_after_s or 0))
