"""The installation's Ed25519 key pairs: made once, sealed, published, opened for the sender."""

import time
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.crypto import Keyring, UndecryptableError
from app.database import Database, insert_if_absent, new_id, utcnow
from app.destinations.models import SigningKeyPair, key_context
from app.sending.signing import SigningKey

log = structlog.get_logger(__name__)

#: How long a worker keeps the opened keys: a new key pair signs after this at the latest.
KEPT_S: Final = 60.0


async def ensure(session: AsyncSession, keyring: Keyring) -> None:
    """Make the first key pair, unless there is one; two who do so at once make one."""
    if (await session.execute(select(SigningKeyPair.number).limit(1))).first():
        return
    key, key_id = SigningKey.generate(), new_id("key")
    values = {
        "number": 1,
        "id": key_id,
        "sealed": keyring.seal(key.key, key_context(key_id)),
        "public": key.public,
        "created_at": utcnow(),
    }
    await session.execute(insert_if_absent(session, SigningKeyPair, values))


async def published(session: AsyncSession) -> list[SigningKeyPair]:
    """Return every key pair, newest first; only the public halves are for others."""
    query = select(SigningKeyPair).order_by(SigningKeyPair.number.desc())
    return list((await session.execute(query)).scalars())


class OpenKeys:
    """The opened key pairs of a worker, read again now and then."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._keys: list[SigningKey] = []
        self._stale_at = 0.0

    async def all(self) -> list[SigningKey]:
        """Return the keys to sign with, newest first; none when no key of ours opens them."""
        if time.monotonic() >= self._stale_at:
            async with self._database.reading() as session:
                rows = await published(session)
            self._keys = self._opened(rows)
            self._stale_at = time.monotonic() + (KEPT_S if self._keys else 0.0)
        return self._keys

    def _opened(self, rows: list[SigningKeyPair]) -> list[SigningKey]:
        try:
            return [SigningKey(self._keyring.open(r.sealed, key_context(r.id))) for r in rows]
        except UndecryptableError:
            log.exception("signing_key.undecryptable")
            return []
