"""Seal every stored secret under the newest key, so that an older one can be thrown away."""

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.crypto import Keyring, UndecryptableError
from app.destinations.models import Destination, SigningSecret, secret_context


class Rekeyed(msgspec.Struct, frozen=True):
    """How many values were sealed anew, and the destinations whose values no key opens."""

    sealed: int
    lost: frozenset[str]


async def rekey(session: AsyncSession, keyring: Keyring) -> Rekeyed:
    """Seal anew what is not under the newest key; what no key opens stays as it is."""
    sealed, lost = 0, set[str]()
    # Locked, so that a change at the same moment is not undone by what we read before it.
    for secret in (await session.scalars(select(SigningSecret).with_for_update())).all():
        context = secret_context(secret.tenant_id, secret.destination_id)
        try:
            fresh = _sealed_anew(secret.sealed, context, keyring)
        except UndecryptableError:
            lost.add(secret.destination_id)
            continue
        if fresh is not None:
            secret.sealed, sealed = fresh, sealed + 1
    for destination in (await session.scalars(select(Destination).with_for_update())).all():
        try:
            fresh = _sealed_anew(destination.sealed_headers, destination.headers_context, keyring)
        except UndecryptableError:
            lost.add(destination.id)
            continue
        if fresh is not None:
            destination.sealed_headers, sealed = fresh, sealed + 1
    return Rekeyed(sealed, frozenset(lost))


def _sealed_anew(sealed: bytes | None, context: str, keyring: Keyring) -> bytes | None:
    if not sealed or keyring.is_current(sealed):
        return None
    return keyring.seal(keyring.open(sealed, context), context)
