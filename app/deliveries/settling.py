"""From the outcome of an attempt to what is recorded of it, and where it leaves its delivery."""

from collections.abc import Sequence

import msgspec

from app.deliveries.models import State, Trigger
from app.deliveries.retry import plan
from app.deliveries.store import Lease, Settled
from app.sending.outcome import Outcome, Timing


class Detail(msgspec.Struct, omit_defaults=True):
    """What is kept of an attempt beside its columns; `sent` is told by app.sending.transcript."""

    sent: msgspec.Raw | None = None
    headers: dict[str, str] = {}
    timing: Timing | None = None


def settle(
    lease: Lease,
    outcome: Outcome,
    started_s: float,
    *,
    schedule: Sequence[int],
    chance: float,
    sent: msgspec.Raw | None = None,
) -> Settled:
    """Decide what an attempt means: the only place where one ends.

    `started_s` is Unix seconds of the database's clock; `chance` in [0, 1) spreads a retry.
    """
    follows = plan(outcome, retries_used=lease.retries_used, schedule=schedule, chance=chance)
    return Settled(
        lease=lease,
        state=follows.state,
        delay_s=follows.delay_s,
        reason=follows.reason,
        counts_as_retry=follows.state is State.RETRYING and lease.trigger is not Trigger.MANUAL,
        started_s=started_s,
        duration_ms=outcome.duration_ms,
        outcome=outcome.kind.value,
        response_status=outcome.response_status,
        response_body=outcome.response_body or None,
        resolved_address=outcome.resolved_address,
        detail=msgspec.json.encode(Detail(sent, outcome.response_headers, outcome.timing)),
        pause_s=follows.pause_s,
        disable_reason=follows.disable_reason,
    )
