"""How long the suite may take: a short form by default, more rounds by `--chaos-minutes`."""

SHORT_TIMEOUT_S = 120
minutes = 0.0


def rounds(short: int, per_minute: float) -> int:
    """Return how often to repeat a fault."""
    return max(short, int(per_minute * minutes))


def timeout_s() -> float:
    return SHORT_TIMEOUT_S + 60 * minutes
