"""What one claim costs, with few and with very many due rows."""

import time
from typing import Final
from uuid import uuid4

from sqlalchemy import text

from app.deliveries.store import ClaimRequest
from app.tools.bench.plan import FEW_ROWS
from app.tools.bench.stage import Stage

CLAIMS: Final = 25


async def claim_ms(stage: Stage) -> dict[str, float]:
    """Return the milliseconds of a claim by the number of due rows; call it when no worker runs.

    Each claim is rolled back, so that the next one finds the same. The best of them counts, as in
    timeit: the rest is other programs' noise.
    """
    found: dict[str, float] = {}
    due = 0
    for size in sorted({min(FEW_ROWS, stage.plan.claim_rows), stage.plan.claim_rows}):
        await stage.insert_due(size - due, stage.destinations, with_events=False)
        due = size
        await _settle(stage)
        found[str(size)] = round(min([await _claim(stage) for _ in range(CLAIMS)]), 2)
    return found


async def _claim(stage: Stage) -> float:
    request = ClaimRequest(
        limit=stage.settings.max_in_flight,
        per_lane=stage.settings.max_in_flight_per_destination,
        busy={},
        token=uuid4().hex,
        lease_s=60,
    )
    async with stage.database.engine.connect() as c, c.begin() as transaction:
        began = time.perf_counter()
        await stage.store.claim(c, request)
        took = time.perf_counter() - began
        await transaction.rollback()
    return took * 1000


async def _settle(stage: Stage) -> None:
    """Do now what PostgreSQL's autovacuum does a little later."""
    if stage.database.dialect == "postgresql":
        async with stage.database.engine.connect() as c:
            plain = await c.execution_options(isolation_level="AUTOCOMMIT")
            await plain.execute(text("VACUUM (ANALYZE) delivery"))
