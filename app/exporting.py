"""Rows as a file for a spreadsheet or a script: written as they are read, however many."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

#: Rows are handed on in pieces of about this many bytes.
PIECE: Final = 32 * 1024


class Format(StrEnum):
    """How the rows are written."""

    CSV = "csv"
    NDJSON = "ndjson"

    @property
    def media_type(self) -> str:
        return "text/csv" if self is Format.CSV else "application/x-ndjson"


def file_of(
    wanted: Format, kind: type[msgspec.Struct], rows: AsyncIterator[msgspec.Struct]
) -> AsyncIterator[bytes]:
    """Write rows of one kind; memory holds a piece of them."""
    return _pieces(_csv(kind, rows) if wanted is Format.CSV else _ndjson(rows))


async def _ndjson(rows: AsyncIterator[msgspec.Struct]) -> AsyncIterator[bytes]:
    async for row in rows:
        yield msgspec.json.encode(row) + b"\n"


async def _csv(
    kind: type[msgspec.Struct], rows: AsyncIterator[msgspec.Struct]
) -> AsyncIterator[bytes]:
    yield _line(kind.__struct_fields__)
    async for row in rows:
        yield _line(map(_cell, msgspec.to_builtins(row).values()))


def _line(values: Iterable[Any]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        value = msgspec.json.encode(value).decode()
    # A spreadsheet would run a cell that starts like a formula (OWASP, CSV injection).
    is_formula = isinstance(value, str) and value.lstrip(" ")[:1] in set("=+-@\t\r\n")
    return f"'{value}" if is_formula else value


async def _pieces(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    held, size = [], 0
    async for line in lines:
        held.append(line)
        size += len(line)
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
