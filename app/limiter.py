"""How often one caller may ask: a rate held in memory, one float per caller, no database."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from app.errors import TooManyRequests

#: Callers remembered per rate; the one who asked longest ago is forgotten first.
KEPT: Final = 10_000
_ROUNDING_S: Final = 1e-6


class Rate(msgspec.Struct, frozen=True):
    """So many at once, and so many a second in the long run."""

    burst: int
    per_s: float


class Standing(msgspec.Struct, frozen=True):
    """Where a request leaves its caller; `wait_s` above 0 means: refused, come back after it."""

    limit: int
    remaining: int
    reset_s: int  # until all is back
    wait_s: int = 0

    def check(self) -> None:
        """Raise TooManyRequests for a refused request."""
        if self.wait_s:
            text = f"Too many requests; the next one may come in {self.wait_s} s."
            raise TooManyRequests(text, self.wait_s)


class Limiter:
    """One rate for many callers (GCRA: a caller is the moment at which all is back)."""

    def __init__(
        self, rate: Rate, *, kept: int = KEPT, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self._kept = kept
        self._now = now
        self._back_at: OrderedDict[str, float] = OrderedDict()

    def take(self, caller: str) -> Standing:
        """Count one request, unless it is over the rate."""
        rate, now = self.rate, self._now()
        spent_s = max(0.0, self._back_at.get(caller, now) - now) + 1 / rate.per_s
        over_s = spent_s - rate.burst / rate.per_s
        if over_s > _ROUNDING_S:
            return Standing(rate.burst, 0, math.ceil(spent_s), wait_s=math.ceil(over_s))
        self._back_at[caller] = now + spent_s
        self._back_at.move_to_end(caller)
        if len(self._back_at) > self._kept:
            self._back_at.popitem(last=False)
        remaining = int((_ROUNDING_S - over_s) * rate.per_s)
        return Standing(rate.burst, remaining, math.ceil(spent_s))

    def __len__(self) -> int:
        return len(self._back_at)
