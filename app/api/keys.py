"""The public halves of the keys that sign `v1a`, for whoever verifies; of no tenant, no token."""

from datetime import datetime
from typing import Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from app.destinations import signing_keys
from app.services import Services

KEPT: Final = "public, max-age=300"


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key: `public_key` is `whpk_` + base64 of 32 bytes, as Standard Webhooks has it."""

    id: str
    scheme: str = "v1a"
    algorithm: str = "ed25519"
    public_key: str
    created_at: datetime


class PublicKeys(msgspec.Struct, frozen=True):
    """Every key that may have signed, newest first."""

    keys: list[PublicKey]


@get(
    "/.well-known/webhooks-keys.json",
    summary="Public keys of v1a signatures",
    description="A destination with `asymmetric_signature` gets a `v1a,` signature beside `v1,`:"
    " Ed25519 over the same `{id}.{timestamp}.{body}`, by each of these keys.",
    tags=["System"],
)
async def webhooks_keys(services: NamedDependency[Services]) -> Response[PublicKeys]:
    async with services.database.reading() as session:
        rows = await signing_keys.published(session)
    if not rows:
        async with services.database.transaction() as session:
            await signing_keys.ensure(session, services.keyring)
            rows = await signing_keys.published(session)
    keys = [PublicKey(id=r.id, public_key=r.public, created_at=r.created_at) for r in rows]
    return Response(PublicKeys(keys), headers={"Cache-Control": KEPT})
