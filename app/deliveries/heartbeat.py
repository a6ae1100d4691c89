"""Proof that workers are alive: written by each, read by readiness and the doctor."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries.models import Heartbeat

BEAT_EVERY_S: Final = 5.0
#: A worker that was silent for this long counts as gone.
SILENT_AFTER_S: Final = 20.0


async def beat(session: AsyncSession, worker_id: str, *, started_at: datetime, load: int) -> None:
    """Write this worker's beat and forget workers that went long ago."""
    now = utcnow()
    await session.merge(
        Heartbeat(worker_id=worker_id, started_at=started_at, seen_at=now, in_flight=load)
    )
    await session.execute(delete(Heartbeat).where(Heartbeat.seen_at < now - timedelta(hours=1)))


async def last_seen(session: AsyncSession) -> datetime | None:
    """Return when any worker was last alive; None when none ever was."""
    return (await session.execute(select(func.max(Heartbeat.seen_at)))).scalar_one()


async def is_alive(session: AsyncSession) -> bool:
    seen = await last_seen(session)
    return seen is not None and utcnow() - seen < timedelta(seconds=SILENT_AFTER_S)
