"""Lists a page at a time: `{"items": […], "next_cursor": …}` with `?limit=&cursor=`."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from app.errors import FieldError, Invalid

T = TypeVar("T")

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

Limit = Annotated[
    int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many items, newest first.")
]
Cursor = Annotated[
    str | None, QueryParameter(max_length=64, description="`next_cursor` of the page before.")
]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None


def page_of(rows: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """Make a page of rows that were read with `limit + 1`: the extra one says there is more."""
    shown = list(rows[:limit])
    return Page(shown, cursor_of(shown[-1]) if len(rows) > limit else None)


def id_below(cursor: str | None, prefix: str) -> str | None:
    """Return the id that a cursor stands for; Invalid when it is not one of ours."""
    if cursor is not None and not re.fullmatch(rf"{prefix}_[0-9a-f]{{32}}", cursor):
        raise Invalid.fields([FieldError("cursor", "cursor must be a next_cursor of this list")])
    return cursor
