"""Seals: what the installation's key, which no database holds, vouches for in a chain."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditSeal
from app.database import utcnow
from app.database.base import EPOCH

#: No webhook starts so: a signature of one kind never passes for the other.
_PREFIX: Final = b"oneprotect-audit/1\n"


class Kind(StrEnum):
    """What a seal is about."""

    HEAD = "head"  # the newest entry when it was made
    ANCHOR = "anchor"  # the last entry that retention pruned


class Notary(msgspec.Struct, frozen=True):
    """The installation's Ed25519 keys: the newest signs, every one of them verifies.

    A plain value, so that the trail knows neither where keys are kept nor how they are opened.
    """

    public: Mapping[str, bytes]  # by key id
    key_id: str | None = None  # None: it can verify, but not sign
    sign: Callable[[bytes], bytes] | None = None

    def attest(self, statement: Any) -> tuple[str, bytes]:
        """Return the id of the key that signed, and the signature."""
        if self.key_id is None or self.sign is None:
            raise ValueError("none of our keys opens a signing key")
        return self.key_id, self.sign(_content(statement))

    def vouches(self, statement: Any, key_id: str, signature: bytes) -> bool:
        """Whether one of our keys signed this very statement."""
        public = self.public.get(key_id)
        if public is None:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, _content(statement))
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


def _content(statement: Any) -> bytes:
    return _PREFIX + msgspec.json.encode(statement, order="deterministic")


def _statement(seal: AuditSeal) -> list[Any]:
    at_us = (seal.at - EPOCH) // timedelta(microseconds=1)
    return [seal.kind, seal.tenant_id, seal.sequence, seal.hash.hex(), at_us]


def is_ours(seal: AuditSeal, notary: Notary) -> bool:
    """Whether our key made this seal, and nothing in it was changed since."""
    try:
        return notary.vouches(_statement(seal), seal.key_id, seal.signature)
    except (AttributeError, OverflowError, TypeError):  # a column that holds what none of ours does
        return False


async def read(session: AsyncSession, tenant_id: str) -> dict[str, AuditSeal]:
    """Return the tenant's seals by kind."""
    query = select(AuditSeal).where(AuditSeal.tenant_id == tenant_id)
    found = await session.execute(query.execution_options(populate_existing=True))
    return {seal.kind: seal for seal in found.scalars()}


async def write(
    session: AsyncSession,
    tenant_id: str,
    kind: Kind,
    sequence: int,
    digest: bytes,
    notary: Notary,
    *,
    at: datetime | None = None,
) -> None:
    """Seal that entry; one that was sealed at a later entry stays."""
    seal = AuditSeal(
        tenant_id=tenant_id, kind=kind.value, sequence=sequence, hash=digest, at=at or utcnow()
    )
    key_id, signature = notary.attest(_statement(seal))
    values = {
        "tenant_id": tenant_id,
        "kind": kind.value,
        "sequence": sequence,
        "hash": digest,
        "at": seal.at,
        "key_id": key_id,
        "signature": signature,
    }
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    insert = dialect.insert(AuditSeal).values(values)
    moved = {name: insert.excluded[name] for name in values if name not in ("tenant_id", "kind")}
    await session.execute(
        insert.on_conflict_do_update(
            index_elements=["tenant_id", "kind"],
            set_=moved,
            where=AuditSeal.sequence < insert.excluded.sequence,
        )
    )
