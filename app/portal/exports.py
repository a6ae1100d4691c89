"""A list as a file to keep: the rows that its filters find, streamed."""

from collections.abc import AsyncIterator

import msgspec
from litestar.response import Stream

from app.database import utcnow
from app.exporting import Format, file_of
from app.portal.cookies import Http
from app.portal.fields import query_choice


def sent(
    request: Http, name: str, kind: type[msgspec.Struct], rows: AsyncIterator[msgspec.Struct]
) -> Stream:
    """Send the rows in the format that the address names."""
    wanted = query_choice(request, "format", Format) or Format.CSV
    return as_file(file_of(wanted, kind, rows), name, wanted)


def as_file(pieces: AsyncIterator[bytes], name: str, wanted: Format) -> Stream:
    """Answer with a file of this name and the time."""
    file = f"{name}-{utcnow():%Y%m%d-%H%M%S}.{wanted}"
    return Stream(
        pieces,
        media_type=wanted.media_type,
        headers={"Content-Disposition": f'attachment; filename="{file}"'},
    )
