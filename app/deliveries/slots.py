"""Who may send now: attempts in flight and leases that wait, overall and per destination.

Leases are claimed a batch ahead, so that a sender never waits for the database; they start as
slots free up. No I/O here: the engine asks, this answers.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Final, Generic, Protocol, TypeVar

#: Leases held, as a multiple of what may be in flight: a claim takes as long as a few batches of
#: quick sends, and until it is back the slots live on what was claimed before.
AHEAD: Final = 12
#: Bodies held, in bytes: large events are claimed fewer at a time.
AHEAD_BYTES: Final = 64 * 1024 * 1024


class Item(Protocol):
    """What waits: anything that is bound for a destination."""

    @property
    def destination_id(self) -> str: ...

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        ...


T = TypeVar("T", bound=Item)


class Slots(Generic[T]):
    """Bounded by `overall` attempts in flight, and `each` of them to one destination."""

    def __init__(self, *, overall: int, each: int) -> None:
        self._overall = overall
        self._each = each
        self._sending: Counter[str] = Counter()
        self._in_flight = 0
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._waiting_count = 0
        self._held_bytes = 0

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def held(self) -> int:
        """Leases in our hands: in flight, or waiting for a slot."""
        return self._in_flight + self._waiting_count

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    @property
    def free(self) -> int:
        """How many leases may be claimed."""
        return AHEAD * self._overall - self.held

    @property
    def per_lane(self) -> int:
        """How many leases of one destination may be held."""
        return AHEAD * self._each

    def busy(self) -> Counter[str]:
        """Return what is held per destination."""
        held = Counter(self._sending)
        for destination_id, items in self._waiting.items():
            held[destination_id] += len(items)
        return held

    def add(self, items: Iterable[T]) -> None:
        for item in items:
            self._waiting.setdefault(item.destination_id, deque()).append(item)
            self._waiting_count += 1
            self._held_bytes += item.size

    def start(self) -> Iterator[T]:
        """Yield what may start now, one destination after the other, taking a slot for each."""
        for _ in range(len(self._waiting)):
            destination_id = next(iter(self._waiting))
            self._waiting.move_to_end(destination_id)
            while item := self._take(destination_id):
                yield item
            if self._in_flight >= self._overall:
                return

    def finish(self, item: T) -> T | None:
        """Free its slot; return what may start in it, of the same destination if any waits."""
        destination_id = item.destination_id
        self._in_flight -= 1
        self._held_bytes -= item.size
        self._sending[destination_id] -= 1
        if not self._sending[destination_id]:
            del self._sending[destination_id]
        return self._take(destination_id) or next(self.start(), None)

    def withdraw(self, destination_id: str) -> list[T]:
        """Take back what waits for one destination."""
        left = list(self._waiting.pop(destination_id, ()))
        self._waiting_count -= len(left)
        self._held_bytes -= sum(item.size for item in left)
        return left

    def drain(self) -> list[T]:
        """Take back everything that waits."""
        return [item for name in list(self._waiting) for item in self.withdraw(name)]

    def _take(self, destination_id: str) -> T | None:
        items = self._waiting.get(destination_id)
        if not items or self._in_flight >= self._overall:
            return None
        if self._sending[destination_id] >= self._each:
            return None
        item = items.popleft()
        if not items:
            del self._waiting[destination_id]
        self._waiting_count -= 1
        self._in_flight += 1
        self._sending[destination_id] += 1
        return item
