"""Lists a page at a time: `{"items": […], "next_cursor": …}` with `?limit=&cursor=`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, Self, TypeVar

import msgspec
from litestar.openapi.spec import OpenAPIType
from litestar.params import QueryParameter

T = TypeVar("T")

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
NO_NUL: Final = r"^[^\x00]*$"

Limit = Annotated[
    int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many items, newest first.")
]


def words(
    max_length: int, description: str | None = None, *, name: str | None = None
) -> QueryParameter:
    """Return a text of the query; without NUL, for which PostgreSQL cannot even look."""
    return QueryParameter(
        name=name,
        max_length=max_length,
        pattern=NO_NUL,
        description=description,
        schema_extra=_plain(),
    )


def choice(kind: type[StrEnum], *, name: str | None = None) -> QueryParameter:
    """Return one of an enumeration's words."""
    return QueryParameter(name=name, schema_extra=_plain(enum=[word.value for word in kind]))


def number(least: int, most: int) -> QueryParameter:
    """Return a whole number of the query that may be left out."""
    extra = _plain(type=OpenAPIType.INTEGER)
    return QueryParameter(ge=least, le=most, schema_extra=extra)


def cursor_of(pattern: str) -> QueryParameter:
    """Return where to go on, in the shape that this list's cursors have."""
    return QueryParameter(
        max_length=64,
        pattern=rf"^{pattern}$",
        description="`next_cursor` of the page before.",
        schema_extra=_plain(),
    )


def below_id(prefix: str) -> QueryParameter:
    """Return the cursor of a list that is ordered by id."""
    return cursor_of(rf"{prefix}_[0-9a-f]{{32}}")


def _plain(**schema: Any) -> dict[str, Any]:
    # A parameter that may be left out is not one that may be null, as Litestar documents it.
    return {"one_of": None, "type": OpenAPIType.STRING, **schema}


class MomentIn(datetime):
    """A moment of the query; without an offset it would mean another one to everybody."""

    @classmethod
    def read(cls, _kind: Any, text: str) -> Self:
        given = msgspec.convert(text, datetime)
        if given.tzinfo is None:
            raise ValueError("no offset")
        return cls.combine(given.date(), given.timetz())


MOMENT_EXAMPLE: Final = "2026-11-23T14:00:00Z"
Moment = Annotated[
    MomentIn | None,
    QueryParameter(
        description=f"RFC 3339, such as {MOMENT_EXAMPLE}",
        schema_extra=_plain(format="date-time"),
    ),
]
#: How the query's own types are read.
DECODERS: Final = ((lambda kind: kind is MomentIn, MomentIn.read),)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None


def page_of(rows: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """Make a page of rows that were read with `limit + 1`: the extra one says there is more."""
    shown = list(rows[:limit])
    return Page(shown, cursor_of(shown[-1]) if len(rows) > limit else None)
