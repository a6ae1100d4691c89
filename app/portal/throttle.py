"""A brake on guessing passwords: per account and address, so that nobody locks another out."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from app.errors import TooManyRequests

TRIES: Final = 10
WITHIN_S: Final = 300.0
#: What is remembered, in this process only; the oldest is forgotten first.
KEPT: Final = 10_000

Key = tuple[str, str]


class Throttle:
    """Counts the tries of a key; a try that succeeded is no guess and clears them."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tries: OrderedDict[Key, deque[float]] = OrderedDict()

    def take(self, key: Key) -> None:
        """Count a try before it is made; TooManyRequests says when the next one may be."""
        now = self._now()
        tries = self._tries.setdefault(key, deque())
        self._tries.move_to_end(key)
        while tries and now - tries[0] > WITHIN_S:
            tries.popleft()
        if len(tries) >= TRIES:
            wait_s = int(WITHIN_S - (now - tries[0])) + 1
            raise TooManyRequests(
                f"Too many tries from here for this account. Try again in {wait_s // 60 + 1} min.",
                wait_s,
            )
        tries.append(now)
        while len(self._tries) > KEPT:
            self._tries.popitem(last=False)

    def clear(self, key: Key) -> None:
        self._tries.pop(key, None)
