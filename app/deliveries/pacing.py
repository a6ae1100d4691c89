"""How fast a destination may be sent to: slots on a time line that all workers share.

A claim books sends up to a horizon ahead (the generic cell rate algorithm, ITU-T I.371: one
moment per destination says until when it is booked), so that the rate holds to the send, however
many workers there are and whenever they look.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

#: How far ahead a claim may book: longer than the pause between two looks.
HORIZON: Final = timedelta(seconds=2)


class Booking(msgspec.Struct, frozen=True):
    """So many sends, the first after `first_s`, then one every `gap_s` seconds."""

    count: int
    first_s: float
    gap_s: float

    def wait_s(self, number: int) -> float:
        return self.first_s + number * self.gap_s


def book(paced_until: datetime | None, now: datetime, *, rate: int, wanted: int) -> Booking:
    """Book up to `wanted` sends at `rate` per second, none of them beyond the horizon."""
    start = max(paced_until or now, now)
    room = int((now + HORIZON - start).total_seconds() * rate)
    return Booking(max(0, min(wanted, room)), (start - now).total_seconds(), 1 / rate)


def booked_until(now: datetime, booking: Booking, taken: int) -> datetime:
    """Return the moment up to which a destination is booked once `taken` sends are."""
    return now + timedelta(seconds=booking.wait_s(taken))
