"""When to try again, or never: the rules without any database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.models import TRANSITIONS, State
from app.deliveries.retry import EXHAUSTED, MAX_DELAY_S, Plan, plan
from app.sending.outcome import Outcome, OutcomeKind

SCHEDULE = (5, 300, 1800)


def after(kind: OutcomeKind, used: int = 0, chance: float = 0.5, wait: int | None = None) -> Plan:
    outcome = Outcome(kind, 10, retry_after_s=wait)
    return plan(outcome, retries_used=used, schedule=SCHEDULE, chance=chance)


def test_a_delivered_event_is_done() -> None:
    assert Plan(State.DELIVERED) == after(OutcomeKind.DELIVERED, used=2)


@pytest.mark.parametrize(("used", "delay_s"), [(0, 5), (1, 300), (2, 1800)])
def test_each_failure_takes_the_next_step_of_the_schedule(used: int, delay_s: int) -> None:
    assert Plan(State.RETRYING, delay_s=delay_s) == after(OutcomeKind.TIMEOUT, used)


def test_after_the_last_step_it_is_a_dead_letter() -> None:
    assert Plan(State.FAILED, reason=EXHAUSTED) == after(OutcomeKind.HTTP_ERROR, used=3)


@pytest.mark.parametrize("kind", [OutcomeKind.GONE, OutcomeKind.DESTINATION_NOT_ALLOWED])
def test_what_no_retry_can_better_fails_at_once(kind: OutcomeKind) -> None:
    assert after(kind).state is State.FAILED
    assert after(kind).reason != EXHAUSTED


@given(st.floats(0, 1, exclude_max=True))
def test_the_delay_is_spread_by_a_fifth_either_way(chance: float) -> None:
    delay = after(OutcomeKind.TIMEOUT, 1, chance).delay_s

    assert delay is not None
    assert 240 <= delay <= 360


@pytest.mark.parametrize(("asked", "delay_s"), [(60, 60), (1, 5), (999_999, MAX_DELAY_S)])
def test_a_longer_retry_after_is_honoured_up_to_a_day(asked: int, delay_s: int) -> None:
    assert delay_s == after(OutcomeKind.RATE_LIMITED, wait=asked).delay_s


def test_a_delivered_delivery_has_nowhere_to_go() -> None:
    assert frozenset() == TRANSITIONS[State.DELIVERED]
    assert set(State) == set(TRANSITIONS)
