"""Prove audit trails from outside: every tenant's chain, and a signed export against its keys."""

from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from sqlalchemy import select, union

from app.audit import export, proof
from app.audit.models import AuditEntry, AuditHead
from app.audit.proof import Verdict
from app.audit.seals import Notary
from app.database import Database
from app.destinations import signing_keys
from app.runtime import keyring_of
from app.settings import Settings
from app.tools import preflight

TIMEOUT_S: Final = 15.0


class KeysError(Exception):
    """The public keys cannot be read; one line that says why."""


class _Key(msgspec.Struct):
    id: str
    public_key: str


class _Keys(msgspec.Struct):
    keys: list[_Key]


async def verify(
    settings: Settings, tenant: str | None, against: Path | None
) -> dict[str, Verdict]:
    """Verify one tenant's chain, or every chain there is; with an export, against it too."""
    await preflight.require_ready(settings)
    database = preflight.open_database(settings)
    try:
        notary = await signing_keys.notary(database, keyring_of(settings))
        known = export.check(against, notary) if against else None
        tenant = tenant or (known.tenant if known else None)
        tenants = [tenant] if tenant else await _tenants(database)
        verdicts = {}
        for each in tenants:
            async with database.reading(each) as session:
                verdict = await proof.verify(session, each, notary)
                if known and verdict.intact and known.tenant == each:
                    verdict = await proof.compare(
                        session, each, verdict, known.head_sequence, bytes.fromhex(known.head)
                    )
                verdicts[each] = verdict
        return verdicts
    finally:
        await database.close()


async def _tenants(database: Database) -> list[str]:
    # Not of the table of tenants: an entry that was moved to nobody is found too.
    query = union(select(AuditEntry.tenant_id), select(AuditHead.tenant_id))
    async with database.reading() as session:
        return sorted((await session.execute(query)).scalars())


def public_keys(where: str) -> Notary:
    """Read `/.well-known/webhooks-keys.json` from a file or a URL."""
    try:
        raw = _fetched(where) if where.startswith(("http://", "https://")) else _read(where)
        keys = msgspec.json.decode(raw, type=_Keys).keys
        return Notary({key.id: signing_keys.public_bytes(key.public_key) for key in keys})
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as fault:
        raise KeysError(f"{where} holds no public keys: {fault}") from None


def _read(name: str) -> bytes:
    return Path(name).read_bytes()


def _fetched(url: str) -> Any:
    try:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
            answer = client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as fault:
        raise KeysError(f"cannot reach {url}: {fault}") from None
    if answer.status_code != httpx.codes.OK:
        raise KeysError(f"{url} answered {answer.status_code}")
    return answer.content
