"""Seal every stored secret under the newest key, so that an older one can be thrown away."""

from collections import Counter

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit import Action, Actor, Target
from app.audit.models import SYSTEM
from app.crypto import Keyring, UndecryptableError
from app.database import Base
from app.destinations.models import (
    Destination,
    SigningKeyPair,
    SigningSecret,
    key_context,
    secret_context,
)
from app.identity.models import PLATFORM as INSTALLATION


class Rekeyed(msgspec.Struct, frozen=True):
    """How many values were sealed anew, and whose values no key opens."""

    sealed: int
    lost: frozenset[str]


async def rekey(session: AsyncSession, keyring: Keyring, actor: Actor = SYSTEM) -> Rekeyed:
    """Seal anew what is not under the newest key; what no key opens stays as it is.

    The trail of each tenant, and of the installation for its own keys, says how much it was.
    """
    sealed, lost = Counter[str](), set[str]()
    for table in (SigningSecret, Destination, SigningKeyPair):
        # Locked, so that a change at the same moment is not undone by what we read before it.
        for row in (await session.scalars(select(table).with_for_update())).all():
            column, context, owner = _sealed_in(row)
            value = getattr(row, column)
            if not value or keyring.is_current(value):
                continue
            try:
                setattr(row, column, keyring.seal(keyring.open(value, context), context))
                sealed[getattr(row, "tenant_id", INSTALLATION)] += 1
            except UndecryptableError:
                lost.add(owner)
    for tenant_id, count in sorted(sealed.items()):
        target = Target("secrets", tenant_id, "stored secrets")
        changes = {"sealed": count}
        await audit.record(session, tenant_id, actor, Action.SECRETS_REKEYED, target, changes)
    return Rekeyed(sealed.total(), frozenset(lost))


def _sealed_in(row: Base) -> tuple[str, str, str]:
    """Return the sealed column of a row, what its value is bound to, and whose it is."""
    if isinstance(row, SigningSecret):
        return "sealed", secret_context(row.tenant_id, row.destination_id), row.destination_id
    if isinstance(row, Destination):
        return "sealed_headers", row.headers_context, row.id
    assert isinstance(row, SigningKeyPair)  # noqa: S101  # these three seal
    return "sealed", key_context(row.id), row.id
