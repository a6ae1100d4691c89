"""The live signing secrets of a destination: which sign, and how one is revoked at once."""

from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.database import utcnow
from app.destinations import service
from app.destinations.models import SigningSecret
from app.errors import Conflict, NotFound


async def live(session: AsyncSession, tenant_id: str, destination_id: str) -> list[SigningSecret]:
    """Return the secrets that sign now, newest first; NotFound as for the destination itself."""
    await service.get(session, tenant_id, destination_id)
    return await _live(session, tenant_id, destination_id)


async def revoke(
    session: AsyncSession, tenant_id: str, destination_id: str, secret_id: str, *, actor: Actor
) -> None:
    """Destroy a secret, so that the next attempt is not signed with it any more.

    Never the last live one: nothing is ever sent unsigned. If it was the current one, the newest
    that is left becomes current and no longer expires.
    """
    destination = await service.get(session, tenant_id, destination_id, for_change=True)
    secrets = await _live(session, tenant_id, destination_id)
    doomed = next((one for one in secrets if one.id == secret_id), None)
    if doomed is None:
        raise NotFound
    left = [one for one in secrets if one is not doomed]
    if not left:
        raise Conflict("The last live secret cannot be revoked; rotate it first.")
    await session.delete(doomed)
    changes: dict[str, str] = {"secret": doomed.fingerprint}
    if all(one.expires_at is not None for one in left):
        left[0].expires_at = None
        changes["current"] = left[0].fingerprint
    target = Target("destination", destination.id, destination.name)
    await audit.record(
        session, tenant_id, actor, Action.DESTINATION_SECRET_REVOKED, target, changes
    )


async def _live(session: AsyncSession, tenant_id: str, destination_id: str) -> list[SigningSecret]:
    now = utcnow()
    return [
        one
        for one in await service.secrets_of(session, tenant_id, destination_id)
        if one.expires_at is None or one.expires_at > now
    ]
