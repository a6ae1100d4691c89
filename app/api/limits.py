"""How often one caller of the API may ask."""

from typing import Final

from app.limiter import KEPT, Limiter, Rate, Standing

__all__ = ["KEPT", "Limiter", "Limits", "Rate", "Standing"]

ORDINARY: Final = Rate(burst=1_000, per_s=100)
#: Far above what a platform publishes: it stops a runaway loop, not a busy day.
PUBLISHING: Final = Rate(burst=20_000, per_s=5_000)
#: Tokens cannot be guessed; this keeps those who try from costing a look-up each time.
WRONG_TOKENS: Final = Rate(burst=60, per_s=1)


class Limits:
    """The limiters of one web process: per token for the API, per address for wrong tokens."""

    def __init__(
        self,
        ordinary: Rate = ORDINARY,
        publishing: Rate = PUBLISHING,
        wrong_tokens: Rate = WRONG_TOKENS,
    ) -> None:
        self.ordinary = Limiter(ordinary)
        self.publishing = Limiter(publishing)
        self.wrong_tokens = Limiter(wrong_tokens)
