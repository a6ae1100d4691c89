"""Register, change, enable, disable and delete destinations, and rotate their secrets."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog
from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.crypto import Keyring, UndecryptableError
from app.database import new_id, utcnow
from app.destinations import signing_keys
from app.destinations.models import Destination, Lane, SigningSecret, secret_context
from app.destinations.rules import Draft
from app.errors import FieldError, Invalid, NotFound
from app.sending.signing import Secret

log = structlog.get_logger(__name__)

MAX_LIVE_SECRETS: Final = 5
DEFAULT_OVERLAP_S: Final = 86_400
MAX_OVERLAP_S: Final = 604_800


async def register(
    session: AsyncSession, tenant_id: str, draft: Draft, *, keyring: Keyring, actor: Actor
) -> tuple[Destination, Secret]:
    """Create a destination; return it with its secret, which is shown this once."""
    now = utcnow()
    destination = Destination(
        tenant_id=tenant_id,
        id=new_id("dst"),
        name=draft.name,
        description=draft.description or "",
        endpoint_url=draft.endpoint_url,
        event_types=draft.event_types or [],
        rate_limit_per_second=draft.rate_limit_per_second or None,
        ordered=draft.ordered or False,
        asymmetric_signature=draft.asymmetric_signature or False,
        trace_context=draft.trace_context or False,
        created_at=now,
        updated_at=now,
    )
    destination.sealed_headers = _seal_headers(destination, draft.headers or {}, keyring)
    session.add(destination)
    session.add(Lane(tenant_id=tenant_id, destination_id=destination.id))
    await session.flush()
    if destination.asymmetric_signature:
        await signing_keys.ensure(session, keyring)
    secret = draft.signing_secret or Secret.generate()
    _add_secret(session, destination, secret, keyring, actor)
    shown = _visible(destination, sorted(draft.headers or {})) | {"secret": secret.fingerprint}
    await _audit(session, destination, actor, Action.DESTINATION_CREATED, shown)
    return destination, secret


async def get(
    session: AsyncSession, tenant_id: str, destination_id: str, *, for_change: bool = False
) -> Destination:
    """Return the tenant's destination; NotFound also for a deleted or a foreign one."""
    query = select(Destination).where(
        Destination.tenant_id == tenant_id,
        Destination.id == destination_id,
        Destination.deleted_at.is_(None),
    )
    found = (
        await session.execute(query.with_for_update() if for_change else query)
    ).scalar_one_or_none()
    if found is None:
        raise NotFound
    return found


async def change(
    session: AsyncSession,
    tenant_id: str,
    destination_id: str,
    draft: Draft,
    *,
    keyring: Keyring,
    actor: Actor,
) -> Destination:
    """Apply the given fields; the trail keeps old and new value of each that really changed."""
    destination = await get(session, tenant_id, destination_id, for_change=True)
    old_headers = _open_headers(destination, keyring)
    before = _visible(destination, sorted(old_headers))
    given = {
        name: value
        for name, value in msgspec.structs.asdict(draft).items()
        if value is not UNSET and name != "headers"
    }
    for name, value in given.items():
        setattr(destination, name, value)
    if draft.headers is not UNSET:
        destination.sealed_headers = _seal_headers(destination, draft.headers, keyring)
    if destination.asymmetric_signature:
        await signing_keys.ensure(session, keyring)
    headers = old_headers if draft.headers is UNSET else draft.headers
    after = _visible(destination, sorted(headers))
    changes: dict[str, Any] = {
        name: {"from": before[name], "to": after[name]}
        for name in before
        if before[name] != after[name]
    }
    # A new value under an old name is a change too; it is told by its name alone.
    if new_values := sorted(
        n for n in headers.keys() & old_headers if headers[n] != old_headers[n]
    ):
        changes["header_values"] = new_values
    if changes:
        destination.updated_at = utcnow()
        await _audit(session, destination, actor, Action.DESTINATION_UPDATED, changes)
    return destination


async def disable(
    session: AsyncSession, tenant_id: str, destination_id: str, *, reason: str, actor: Actor
) -> Destination:
    """Send nothing more; a second call changes nothing and is not an error."""
    destination = await get(session, tenant_id, destination_id, for_change=True)
    if destination.disabled_at is None:
        destination.disabled_at = destination.updated_at = utcnow()
        destination.disabled_reason = reason[:200]
        changes = {"reason": reason}
        await _audit(session, destination, actor, Action.DESTINATION_DISABLED, changes)
    return destination


async def enable(
    session: AsyncSession, tenant_id: str, destination_id: str, *, actor: Actor
) -> Destination:
    """Send again, with a clean lane."""
    destination = await get(session, tenant_id, destination_id, for_change=True)
    if destination.disabled_at is not None:
        destination.disabled_at = destination.disabled_reason = None
        destination.updated_at = utcnow()
        await clear_lane(session, tenant_id, destination_id)
        await _audit(session, destination, actor, Action.DESTINATION_ENABLED)
    return destination


async def delete(
    session: AsyncSession, tenant_id: str, destination_id: str, *, actor: Actor
) -> Destination:
    """Mark it deleted and destroy its secrets; its deliveries stay readable."""
    destination = await get(session, tenant_id, destination_id, for_change=True)
    destination.deleted_at = utcnow()
    destination.sealed_headers = None
    for secret in await secrets_of(session, tenant_id, destination_id):
        await session.delete(secret)
    await _audit(session, destination, actor, Action.DESTINATION_DELETED)
    return destination


async def rotate_secret(
    session: AsyncSession,
    tenant_id: str,
    destination_id: str,
    *,
    secret: Secret | None,
    overlap_s: int,
    keyring: Keyring,
    actor: Actor,
) -> tuple[Destination, Secret]:
    """Add a new current secret; the old one signs beside it until the overlap ends."""
    destination = await get(session, tenant_id, destination_id, for_change=True)
    now = utcnow()
    live = [
        s
        for s in await secrets_of(session, tenant_id, destination_id)
        if s.expires_at is None or s.expires_at > now
    ]
    if len(live) >= MAX_LIVE_SECRETS and overlap_s:
        rule = f"overlap_seconds must be 0 while {MAX_LIVE_SECRETS} secrets are live"
        raise Invalid.fields([FieldError("overlap_seconds", rule)])
    ends = now + timedelta(seconds=overlap_s)
    for old in live:
        old.expires_at = min(old.expires_at or ends, ends)
    fresh = secret or Secret.generate()
    _add_secret(session, destination, fresh, keyring, actor)
    changes = {"secret": fresh.fingerprint, "overlap_seconds": overlap_s}
    await _audit(session, destination, actor, Action.DESTINATION_SECRET_ROTATED, changes)
    return destination, fresh


async def secrets_of(
    session: AsyncSession, tenant_id: str, destination_id: str
) -> list[SigningSecret]:
    """Return all kept secrets, newest first; expired ones until retention removes them."""
    query = select(SigningSecret).where(
        SigningSecret.tenant_id == tenant_id, SigningSecret.destination_id == destination_id
    )
    return list((await session.execute(query.order_by(SigningSecret.id.desc()))).scalars())


async def clear_lane(session: AsyncSession, tenant_id: str, destination_id: str) -> None:
    lane = await session.get(Lane, (tenant_id, destination_id))
    if lane is not None:
        lane.consecutive_failures, lane.failing_since, lane.open_until = 0, None, None


def header_names(destination: Destination, keyring: Keyring) -> list[str]:
    """Return the names of its custom headers; none that can be told when no key opens them."""
    return sorted(_open_headers(destination, keyring))


def headers_named(
    destination: Destination, keyring: Keyring, names: Sequence[str]
) -> dict[str, str]:
    """Return those of its custom headers, values and all: to seal them again, not to show them."""
    return {n: v for n, v in _open_headers(destination, keyring).items() if n in names}


def _open_headers(destination: Destination, keyring: Keyring) -> dict[str, str]:
    if not destination.sealed_headers:
        return {}
    try:
        plain = keyring.open(destination.sealed_headers, destination.headers_context)
    except UndecryptableError:
        log.warning("headers.undecryptable", destination_id=destination.id)
        return {}
    return msgspec.json.decode(plain, type=dict[str, str])


def _seal_headers(
    destination: Destination, headers: dict[str, str], keyring: Keyring
) -> bytes | None:
    if not headers:
        return None
    return keyring.seal(msgspec.json.encode(headers), destination.headers_context)


def _add_secret(
    session: AsyncSession, destination: Destination, secret: Secret, keyring: Keyring, actor: Actor
) -> None:
    context = secret_context(destination.tenant_id, destination.id)
    session.add(
        SigningSecret(
            tenant_id=destination.tenant_id,
            destination_id=destination.id,
            id=new_id("sec"),
            sealed=keyring.seal(secret.key, context),
            fingerprint=secret.fingerprint,
            created_by=actor.label,
        )
    )


def _visible(destination: Destination, headers: list[str]) -> dict[str, Any]:
    """Return what the trail may say of a destination: header names, never their values."""
    return {
        "name": destination.name,
        "description": destination.description,
        "endpoint_url": destination.endpoint_url,
        "event_types": list(destination.event_types),
        "headers": headers,
        "rate_limit_per_second": destination.rate_limit_per_second,
        "ordered": destination.ordered,
        "asymmetric_signature": destination.asymmetric_signature,
        "trace_context": destination.trace_context,
    }


async def _audit(
    session: AsyncSession,
    destination: Destination,
    actor: Actor,
    action: Action,
    changes: Mapping[str, Any] | None = None,
) -> None:
    target = Target("destination", destination.id, destination.name)
    await audit.record(session, destination.tenant_id, actor, action, target, changes)


async def names(session: AsyncSession, tenant_id: str, *, limit: int) -> list[tuple[str, str]]:
    """Return id and name of the tenant's destinations, newest first."""
    query = select(Destination.id, Destination.name).where(
        Destination.tenant_id == tenant_id, Destination.deleted_at.is_(None)
    )
    rows = await session.execute(query.order_by(Destination.id.desc()).limit(limit))
    return [(row.id, row.name) for row in rows]


async def page(
    session: AsyncSession, tenant_id: str, *, limit: int, below: str | None = None
) -> list[tuple[Destination, Lane | None]]:
    """Return the tenant's destinations with their lanes, newest first, with an id under `below`."""
    query = (
        select(Destination, Lane)
        .outerjoin(
            Lane,
            (Lane.tenant_id == Destination.tenant_id) & (Lane.destination_id == Destination.id),
        )
        .where(Destination.tenant_id == tenant_id, Destination.deleted_at.is_(None))
        .order_by(Destination.id.desc())
        .limit(limit)
    )
    if below:
        query = query.where(Destination.id < below)
    return [(row[0], row[1]) for row in await session.execute(query)]


async def fingerprints(
    session: AsyncSession, destinations: Sequence[Destination]
) -> dict[str, str]:
    """Return the fingerprint of each destination's current secret, by destination id."""
    if not destinations:
        return {}
    query = (
        select(SigningSecret.destination_id, SigningSecret.fingerprint)
        .where(
            SigningSecret.tenant_id == destinations[0].tenant_id,
            SigningSecret.destination_id.in_([d.id for d in destinations]),
            SigningSecret.expires_at.is_(None),
        )
        .order_by(SigningSecret.id)
    )
    return {row[0]: row[1] for row in await session.execute(query)}
