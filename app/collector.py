"""How Python looks for rings of garbage: rarely, because we make few."""

import gc
from typing import Final

#: A batch makes and drops tens of thousands of objects, none of them in a ring.
YOUNG_OBJECTS: Final = 50_000


def collect_rarely() -> None:
    """Call first: with Python's own thresholds a start spends a seventh of its time on looking."""
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)


def calm_collector() -> None:
    """Leave what a start has loaded out of every later garbage collection, and collect rarely.

    With Python's own thresholds a busy worker spends a sixth of its time looking for rings.
    """
    gc.collect()
    gc.freeze()
    collect_rarely()
