"""The installation's Ed25519 key pairs: made once, sealed, published, opened for the sender."""

import base64
import time
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.seals import Notary
from app.crypto import Keyring, UndecryptableError
from app.database import Database, insert_if_absent, new_id, utcnow
from app.destinations.models import SigningKeyPair, key_context
from app.sending.signing import SigningKey

log = structlog.get_logger(__name__)

#: How long a worker keeps the opened keys: a new key pair signs after this at the latest.
KEPT_S: Final = 60.0
PUBLIC_BYTES: Final = 32


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


async def notary(database: Database, keyring: Keyring) -> Notary:
    """Return what seals the audit trail: the newest key pair signs, every one of them verifies.

    Their public halves come from the sealed private ones: who can write the database can put a
    key of their own beside ours, but cannot seal it.
    """
    async with database.reading() as session:
        rows = await published(session)
    if not rows:
        async with database.transaction() as session:
            await ensure(session, keyring)
            rows = await published(session)
    keys = {row.id: key for row in rows if (key := _open(row, keyring))}
    public = {key_id: public_bytes(key.public) for key_id, key in keys.items()}
    newest = next(iter(keys), None)
    return Notary(public, newest, keys[newest].sign if newest else None)


def _open(row: SigningKeyPair, keyring: Keyring) -> SigningKey | None:
    try:
        return SigningKey(keyring.open(row.sealed, key_context(row.id)))
    except (UndecryptableError, ValueError):
        log.warning("signing_key.undecryptable", key_id=row.id)
        return None


def public_bytes(text: str) -> bytes:
    """Return the 32 bytes of a published key, `whpk_` + base64; ValueError when it is none."""
    prefix, _, encoded = text.partition("_")
    raw = base64.b64decode(encoded, validate=True)
    if prefix != "whpk" or len(raw) != PUBLIC_BYTES:
        raise ValueError("a public key must be whpk_ followed by the base64 of 32 bytes")
    return raw
