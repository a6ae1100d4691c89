"""How long the suite may take: a short form by default, more rounds by `--chaos-minutes`."""

import os

SHORT_TIMEOUT_S = 120
minutes = 0.0


def rounds(short: int, per_minute: float) -> int:
    """Return how often to repeat a fault."""
    return max(short, int(per_minute * minutes))


def timeout_s() -> float:
    return SHORT_TIMEOUT_S + 60 * minutes


def crowding() -> float:
    """How much longer things may take here than on a machine that has its cores for us."""
    return max(1.0, os.getloadavg()[0] / (1.5 * (os.cpu_count() or 1)))
