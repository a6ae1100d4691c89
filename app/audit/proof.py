"""Prove that a chain is whole: every link, its end, what was pruned, and what was sealed."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import seals
from app.audit.models import AuditEntry, AuditHead, AuditSeal
from app.audit.seals import Kind, Notary
from app.audit.trail import GENESIS, entry_hash

CHUNK: Final = 500
#: Retention may move the chain's start while we walk; then we walk again.
TRIES: Final = 3


class Point(msgspec.Struct, frozen=True):
    """A place in a chain: an entry's sequence and its hash."""

    sequence: int
    hash: bytes


START: Final = Point(0, GENESIS)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the chain found; `broken_at` is the first sequence that does not fit.

    `first` is the oldest entry that retention kept; up to `sealed` a key that the database does
    not hold vouches for the chain, so that not even who rewrites all of it goes unnoticed.
    """

    intact: bool
    entries: int
    head: str
    first: int = 1
    sealed: int | None = None
    sealed_at: datetime | None = None
    broken_at: int | None = None
    fault: str | None = None


class Broken(Exception):  # a finding, not an error
    """The chain does not fit at this sequence."""

    def __init__(self, at: int, fault: str, before: Point) -> None:
        super().__init__(fault)
        self.at = at
        self.fault = fault
        self.before = before


async def verify(session: AsyncSession, tenant_id: str, notary: Notary) -> Verdict:
    """Walk the whole chain; compare its start with the anchor, its end with head and seal."""
    for _ in range(TRIES):
        # Read before the head, which can only be further along.
        found = await seals.read(session, tenant_id)
        verdict = await _verify(session, tenant_id, notary, found)
        if verdict.intact:
            return verdict
        again = await seals.read(session, tenant_id)
        if _sequence(again.get(Kind.ANCHOR)) == _sequence(found.get(Kind.ANCHOR)):
            return verdict
    return verdict


async def span(session: AsyncSession, tenant_id: str) -> tuple[Point, Point]:
    """Return where the kept chain starts (what its oldest entry follows) and where it ends."""
    anchor = (await seals.read(session, tenant_id)).get(Kind.ANCHOR)
    _, head = await _ends(session, tenant_id)
    return Point(anchor.sequence, anchor.hash) if anchor else START, head


def _sequence(seal: AuditSeal | None) -> int | None:
    return seal.sequence if seal else None


async def _verify(
    session: AsyncSession, tenant_id: str, notary: Notary, found: dict[str, AuditSeal]
) -> Verdict:
    anchor, seal = found.get(Kind.ANCHOR), found.get(Kind.HEAD)
    start = Point(anchor.sequence, anchor.hash) if anchor else START
    end, head = await _ends(session, tenant_id)
    sealed_hash = None
    last = start
    fault: Broken | None = None
    try:
        if anchor and not seals.is_ours(anchor, notary):
            _fail(anchor.sequence, "what was pruned is not sealed by this installation", last)
        await _require_nothing_before(session, tenant_id, start)
        # What is written while we walk lies behind the end that we saw, and is no alteration.
        async for last in follow(session, tenant_id, start, up_to=end):
            if seal and last.sequence == seal.sequence:
                sealed_hash = last.hash
        if head != last:
            at = min(last.sequence, head.sequence) + 1
            _fail(
                at, f"the chain ends at entry {last.sequence}, its head says {head.sequence}", last
            )
        if seal:
            _check_seal(seal, sealed_hash, start, last, notary)
    except Broken as broken:
        fault = broken
    return Verdict(
        intact=fault is None,
        entries=(fault.before if fault else last).sequence - start.sequence,
        head=(fault.before if fault else last).hash.hex(),
        first=start.sequence + 1,
        sealed=seal.sequence if seal else None,
        sealed_at=seal.at if seal else None,
        broken_at=fault.at if fault else None,
        fault=fault.fault if fault else None,
    )


async def compare(
    session: AsyncSession, tenant_id: str, verdict: Verdict, sequence: int, digest: bytes
) -> Verdict:
    """Hold a whole chain to a head that was known before, as a signed export tells it."""
    if sequence < verdict.first - 1 or sequence == 0:
        return verdict  # pruned since
    query = select(AuditEntry.hash).where(
        AuditEntry.tenant_id == tenant_id, AuditEntry.sequence == sequence
    )
    if sequence == verdict.first - 1:
        query = select(AuditSeal.hash).where(
            AuditSeal.tenant_id == tenant_id, AuditSeal.kind == Kind.ANCHOR.value
        )
    found = (await session.execute(query)).scalar()
    if found == digest:
        return verdict
    fault = "is not the one that was exported" if found else "was exported and is missing"
    return msgspec.structs.replace(
        verdict, intact=False, broken_at=sequence, fault=f"entry {sequence} {fault}"
    )


def _check_seal(
    seal: AuditSeal, hash_there: bytes | None, start: Point, last: Point, notary: Notary
) -> None:
    if not seals.is_ours(seal, notary):
        _fail(seal.sequence, f"the seal of entry {seal.sequence} is not this installation's", last)
    if seal.sequence > last.sequence:
        fault = f"the chain ends at entry {last.sequence}, it was sealed up to {seal.sequence}"
        _fail(last.sequence + 1, fault, last)
    if seal.sequence == start.sequence:
        hash_there = start.hash
    if seal.sequence >= start.sequence and hash_there != seal.hash:
        _fail(seal.sequence, f"entry {seal.sequence} is not the one that was sealed", last)


def _fail(at: int, fault: str, before: Point) -> None:
    raise Broken(at, fault, before)


async def follow(
    session: AsyncSession, tenant_id: str, start: Point, *, up_to: int
) -> AsyncIterator[Point]:
    """Yield each link behind `start`; raise Broken at the first that does not fit."""
    last = start
    async for entry in _entries(session, tenant_id, start, up_to):
        expected = last.sequence + 1
        if isinstance(entry, int):
            _fail(expected, f"entry {entry} cannot be read", last)
        elif entry.sequence != expected:
            _fail(expected, f"entry {expected} is missing", last)
        elif entry.previous_hash != last.hash:
            _fail(expected, f"entry {expected} does not follow the one before it", last)
        elif not _is_whole(entry):
            _fail(expected, f"entry {expected} was altered", last)
        else:
            last = Point(entry.sequence, entry.hash)
            yield last


async def reach(session: AsyncSession, tenant_id: str, start: Point, *, up_to: int) -> Point:
    """Return the last link behind `start`; raise Broken at the first that does not fit."""
    last = start
    async for point in follow(session, tenant_id, start, up_to=up_to):
        last = point
    return last


def _is_whole(entry: AuditEntry) -> bool:
    try:
        return entry.hash == entry_hash(entry)
    except (AttributeError, OverflowError, TypeError, ValueError):
        return False  # a column holds what none of ours does


async def _entries(
    session: AsyncSession, tenant_id: str, start: Point, up_to: int
) -> AsyncIterator[AuditEntry | int]:
    """Yield every entry behind `start` up to the end; only the number of one that is unreadable."""
    above = start.sequence
    while True:
        here = (
            AuditEntry.tenant_id == tenant_id,
            AuditEntry.sequence > above,
            AuditEntry.sequence <= up_to,
        )
        query = select(AuditEntry).where(*here).order_by(AuditEntry.sequence).limit(CHUNK)
        entries: list[AuditEntry | int]
        try:
            entries = list((await session.execute(query)).scalars())
        except Exception:  # whatever a driver or decoder says to a forged value
            # The connection may still hold the half-read cursor, and with it an old snapshot.
            await session.invalidate()
            numbers = select(AuditEntry.sequence).where(*here).order_by(AuditEntry.sequence)
            found = list((await session.execute(numbers.limit(CHUNK))).scalars())
            if not found:
                raise
            entries = [await _one(session, tenant_id, number) for number in found]
        for entry in entries:
            yield entry
        if len(entries) < CHUNK:
            return
        last = entries[-1]
        above = last if isinstance(last, int) else last.sequence
        session.expunge_all()


async def _one(session: AsyncSession, tenant_id: str, number: int) -> AuditEntry | int:
    query = select(AuditEntry).where(
        AuditEntry.tenant_id == tenant_id, AuditEntry.sequence == number
    )
    try:
        return (await session.execute(query)).scalar_one()
    except Exception:  # noqa: BLE001  # as above
        await session.invalidate()
        return number


async def _require_nothing_before(session: AsyncSession, tenant_id: str, start: Point) -> None:
    first = select(func.min(AuditEntry.sequence)).where(AuditEntry.tenant_id == tenant_id)
    found: int | None = (await session.execute(first)).scalar()
    if found is not None and found <= start.sequence:
        _fail(found, f"entry {found} stands where nothing may", start)


async def _ends(session: AsyncSession, tenant_id: str) -> tuple[int, Point]:
    """Return the last entry's sequence and the head, both as of one moment."""
    last = select(func.max(AuditEntry.sequence)).where(AuditEntry.tenant_id == tenant_id)
    sequence, digest = (
        select(column).where(AuditHead.tenant_id == tenant_id)
        for column in (AuditHead.sequence, AuditHead.hash)
    )
    together = select(*(part.scalar_subquery() for part in (last, sequence, digest)))
    row = (await session.execute(together)).one()
    return row[0] or 0, Point(row[1] or 0, row[2] or GENESIS)
