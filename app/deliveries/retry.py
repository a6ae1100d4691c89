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
    OutcomeKind.GONE: "the receiver answered 410 Gone",
    OutcomeKind.DESTINATION_NOT_ALLOWED: "the endpoint's address is not allowed",
}
EXHAUSTED: Final = "every scheduled attempt failed"


class Plan(msgspec.Struct, frozen=True):
    """Where an attempt leaves its delivery; `delay_s` only when it is to be retried."""

    state: State
    delay_s: float | None = None
    reason: str | None = None


def plan(outcome: Outcome, *, retries_used: int, schedule: Sequence[int], chance: float) -> Plan:
    """Decide what follows an attempt.

    `chance` in [0, 1) spreads the delay by ±20 %, so that a receiver that comes back is not met
    by everything at once. A Retry-After longer than the delay is honoured.
    """
    if outcome.kind is OutcomeKind.DELIVERED:
        return Plan(State.DELIVERED)
    if reason := PERMANENT.get(outcome.kind):
        return Plan(State.FAILED, reason=reason)
    if retries_used >= len(schedule):
        return Plan(State.FAILED, reason=EXHAUSTED)
    delay = schedule[retries_used] * (1 - JITTER + 2 * JITTER * chance)
    return Plan(State.RETRYING, delay_s=min(max(delay, outcome.retry_after_s or 0), MAX_DELAY_S))
