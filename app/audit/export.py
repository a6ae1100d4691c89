"""The signed export: entries as CSV or NDJSON, closed by a line that says and signs what they are.

That line names tenant, filters, the chain's head, and the SHA-256 of every byte before it; it is
signed with the installation's Ed25519 key, whose public half is published.
"""

import base64
import csv
import hashlib
import io
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from app.audit.models import AuditEntry
from app.audit.proof import Point, span
from app.audit.seals import Notary
from app.audit.trail import AuditFilter, entry_hash, walk
from app.database import Database, utcnow
from app.errors import Unavailable
from app.exporting import Format

VERSION: Final = 1
#: The first cell of a CSV's last record; readers that know comments skip it.
MARK: Final = "#oneprotect-audit"
#: The last line is far shorter than this.
TAIL_BYTES: Final = 65_536


class EntryOut(msgspec.Struct, frozen=True, kw_only=True):
    """One change: who, what, which object, when, from where."""

    id: str
    sequence: int
    at: datetime
    action: str
    actor_kind: str
    actor_id: str
    actor: str
    address: str
    user_agent: str
    target_kind: str
    target_id: str
    target: str
    changes: dict[str, Any]
    previous_hash: str
    hash: str


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """The last line: what stands before it, and who says so."""

    oneprotect_audit: int = VERSION
    tenant: str
    filters: dict[str, str]  # empty: the whole chain
    entries: int
    previous_hash: str  # what the oldest kept entry follows
    head_sequence: int
    head: str
    sha256: str
    exported_at: datetime
    key_id: str = ""
    signature: str = ""


class NdjsonClosing(msgspec.Struct, frozen=True):
    """The closing as a line of NDJSON, which no entry looks like."""

    signed_head: Closing


class ExportFault(ValueError):
    """The file is not what our installation exported; the text says where it does not fit."""


def out(entry: AuditEntry) -> EntryOut:
    return EntryOut(
        id=entry.id,
        sequence=entry.sequence,
        at=entry.at,
        action=entry.action,
        actor_kind=entry.actor_kind,
        actor_id=entry.actor_id,
        actor=entry.actor_label,
        address=entry.address,
        user_agent=entry.user_agent,
        target_kind=entry.target_kind,
        target_id=entry.target_id,
        target=entry.target_label,
        changes=entry.changes,
        previous_hash=entry.previous_hash.hex(),
        hash=entry.hash.hex(),
    )


async def signed(
    database: Database,
    tenant_id: str,
    wanted: AuditFilter,
    export_format: Format,
    notary: Notary,
) -> AsyncIterator[bytes]:
    """Return the file of what the filter wants; Unavailable when it could not be signed."""
    if notary.key_id is None:
        raise Unavailable("No key of this installation opens its signing key: nothing can be"
                          " signed. Restore the key in ONEPROTECT_SECRET_KEYS.")  # fmt: skip
    async with database.reading(tenant_id) as session:
        start, head = await span(session, tenant_id)
    filters = {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in msgspec.structs.asdict(wanted).items()
        if value
    }
    return write(
        _entries(database, tenant_id, wanted, head.sequence),
        export_format=export_format,
        tenant_id=tenant_id,
        filters=filters,
        start=start,
        head=head,
        notary=notary,
    )


async def _entries(
    database: Database, tenant_id: str, wanted: AuditFilter, up_to: int
) -> AsyncIterator[AuditEntry]:
    # A stream outlives its request's dependencies: it opens its own session.
    async with database.reading(tenant_id) as session:
        async for entry in walk(session, tenant_id, wanted, up_to=up_to):
            yield entry


async def write(
    entries: AsyncIterator[AuditEntry],
    *,
    export_format: Format,
    tenant_id: str,
    filters: Mapping[str, str],
    start: Point,
    head: Point,
    notary: Notary,
) -> AsyncIterator[bytes]:
    """Yield the file in pieces: the entries as they come, then the closing."""
    is_csv = export_format is Format.CSV
    digest, count = hashlib.sha256(), 0
    if is_csv:
        yield _counted(_line(EntryOut.__struct_fields__), digest)
    async for entry in entries:
        one = out(entry)
        yield _counted(_csv(one) if is_csv else msgspec.json.encode(one) + b"\n", digest)
        count += 1
    closing = _signed(
        Closing(
            tenant=tenant_id,
            filters=dict(filters),
            entries=count,
            previous_hash=start.hash.hex(),
            head_sequence=head.sequence,
            head=head.hash.hex(),
            sha256=digest.hexdigest(),
            exported_at=utcnow(),
        ),
        notary,
    )
    if is_csv:
        yield _line([MARK, msgspec.json.encode(closing).decode()])
    else:
        yield msgspec.json.encode(NdjsonClosing(closing)) + b"\n"


def _counted(piece: bytes, digest: Any) -> bytes:
    digest.update(piece)
    return piece


def _signed(closing: Closing, notary: Notary) -> Closing:
    key_id, signature = notary.attest(_statement(closing))
    return msgspec.structs.replace(
        closing, key_id=key_id, signature=base64.b64encode(signature).decode()
    )


def _statement(closing: Closing) -> list[Any]:
    bare = msgspec.structs.replace(closing, key_id="", signature="")
    return ["export", msgspec.to_builtins(bare)]


def _csv(entry: EntryOut) -> bytes:
    values = msgspec.to_builtins(entry)
    values["changes"] = msgspec.json.encode(entry.changes).decode()
    return _line([_tame(values[name]) for name in EntryOut.__struct_fields__])


def _line(values: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()


def _tame(value: Any) -> Any:
    # A spreadsheet would run a cell that starts like a formula (OWASP, CSV injection). A leading
    # apostrophe gets one too, so that the way back is plain.
    return f"'{value}" if isinstance(value, str) and value[:1] in _TAMED and value else value


_TAMED: Final = "=+-@\t\r'"


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a file was found to hold; `complete` when it is the whole chain, link by link."""

    tenant: str
    entries: int
    complete: bool
    head_sequence: int
    head: str
    exported_at: datetime
    key_id: str


def check(path: Path, notary: Notary) -> Checked:
    """Verify an export offline: signature, every byte, every entry's hash, every link."""
    with path.open("rb") as file:
        ends_at, closing, is_csv = _closing(file)
        _check_signature(closing, notary)
        if _sha256(file, ends_at) != closing.sha256:
            raise ExportFault("what stands before the last line was changed")
        entries = _read_csv(file, ends_at) if is_csv else _read_ndjson(file, ends_at)
        _check_entries(entries, closing)
    return Checked(
        tenant=closing.tenant,
        entries=closing.entries,
        complete=not closing.filters,
        head_sequence=closing.head_sequence,
        head=closing.head,
        exported_at=closing.exported_at,
        key_id=closing.key_id,
    )


def _closing(file: BinaryIO) -> tuple[int, Closing, bool]:
    size = file.seek(0, io.SEEK_END)
    start = max(0, size - TAIL_BYTES)
    file.seek(start)
    tail = file.read()
    cut = tail.rstrip(b"\r\n").rfind(b"\n") + 1
    line = tail[cut:]
    try:
        if not line.startswith(MARK.encode()):
            closing = msgspec.json.decode(line, type=NdjsonClosing).signed_head
            return start + cut, closing, False
        (record,) = csv.reader([line.decode()])
        return start + cut, msgspec.json.decode(record[1], type=Closing), True
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, ValueError, csv.Error):
        raise ExportFault("its last line is not the closing of an export: cut short?") from None


def _check_signature(closing: Closing, notary: Notary) -> None:
    if closing.oneprotect_audit != VERSION:
        raise ExportFault(f"it has version {closing.oneprotect_audit}, this knows {VERSION}")
    if closing.key_id not in notary.public:
        raise ExportFault(f"it is signed with key {closing.key_id!r}, which is not among the keys")
    try:
        signature = base64.b64decode(closing.signature, validate=True)
    except ValueError:
        signature = b""
    if not notary.vouches(_statement(closing), closing.key_id, signature):
        raise ExportFault("the signature does not fit its last line")


def _sha256(file: BinaryIO, ends_at: int) -> str:
    file.seek(0)
    digest, left = hashlib.sha256(), ends_at
    while left and (piece := file.read(min(left, 1 << 20))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _read_ndjson(file: BinaryIO, ends_at: int) -> Iterator[EntryOut]:
    file.seek(0)
    while file.tell() < ends_at:
        yield msgspec.json.decode(file.readline(), type=EntryOut)


def _read_csv(file: BinaryIO, ends_at: int) -> Iterator[EntryOut]:
    file.seek(0)
    text = io.StringIO(file.read(ends_at).decode(), newline="")
    for record in csv.DictReader(text):
        values: dict[str, Any] = {
            name: value[1:] if value[:1] == "'" else value for name, value in record.items()
        }
        values["changes"] = msgspec.json.decode(values["changes"])
        yield msgspec.convert(values, EntryOut, strict=False)


def _check_entries(entries: Iterator[EntryOut], closing: Closing) -> None:
    """Hold each entry to its hash, and the whole chain to its links, whoever signed."""
    count, previous, last = 0, closing.previous_hash, 0
    try:
        for entry in entries:
            if entry.hash != _hash_of(entry, closing.tenant).hex():
                raise ExportFault(f"entry {entry.sequence} does not have the hash it says")
            is_next = entry.previous_hash == previous and last in (0, entry.sequence - 1)
            if not closing.filters and not is_next:
                raise ExportFault(f"entry {entry.sequence} does not follow the one before it")
            count, previous, last = count + 1, entry.hash, entry.sequence
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError) as fault:
        raise ExportFault(f"what follows entry {last} is no entry: {fault}") from None
    if count != closing.entries:
        raise ExportFault(f"it holds {count} entries, its last line says {closing.entries}")
    if not closing.filters and previous != closing.head:
        raise ExportFault("its entries do not lead to the head of its last line")


def _hash_of(entry: EntryOut, tenant_id: str) -> bytes:
    return entry_hash(
        AuditEntry(
            tenant_id=tenant_id,
            sequence=entry.sequence,
            id=entry.id,
            at=entry.at,
            action=entry.action,
            actor_kind=entry.actor_kind,
            actor_id=entry.actor_id,
            actor_label=entry.actor,
            address=entry.address,
            user_agent=entry.user_agent,
            target_kind=entry.target_kind,
            target_id=entry.target_id,
            target_label=entry.target,
            changes=entry.changes,
            previous_hash=bytes.fromhex(entry.previous_hash),
        )
    )
