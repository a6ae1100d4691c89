"""What a browser sends, as plain text: forms and query parameters, never trusted further."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from app.errors import Invalid, NotFound
from app.portal.cookies import Http

QUERY_MAX = 300
E = TypeVar("E", bound=StrEnum)


async def form_of(request: Http) -> dict[str, str]:
    """Return the text fields of the form; uploads are nothing to us."""
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


def words_of(text: str) -> list[str]:
    """Split what people separate by spaces, commas or lines."""
    return [word for word in re.split(r"[\s,]+", text) if word]


def query_text(request: Http, name: str) -> str | None:
    """Return a query parameter, or None when it is absent, empty or not printable."""
    value = request.query_params.get(name, "").strip()
    return value if value and len(value) <= QUERY_MAX and value.isprintable() else None


def query_choice(request: Http, name: str, kind: type[E]) -> E | None:
    value = query_text(request, name)
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        raise Invalid(f"{name} must be one of: {', '.join(kind)}.") from None


def query_id(request: Http, name: str, prefix: str) -> str | None:
    value = query_text(request, name)
    return None if value is None else known_id(value, prefix)


def query_day(request: Http, name: str) -> datetime | None:
    """Return the start of a day in UTC."""
    value = query_text(request, name)
    if value is None:
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Invalid(f"{name} must be a day such as 2026-11-23.") from None


def query_moment(request: Http, name: str) -> datetime | None:
    """Return a minute in UTC, as the browser's field for date and time writes it."""
    value = query_text(request, name)
    if value is None:
        return None
    try:
        return datetime.strptime(value[:16], "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
    except ValueError:
        raise Invalid(f"{name} must be a minute such as 2026-11-23T14:05.") from None


def whole_number(text: str) -> int | str | None:
    """Return the number that was typed, None for nothing; other text stays, to be refused."""
    text = text.strip()
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else text or None


def known_id(value: str, prefix: str) -> str:
    """Return an id of ours; NotFound for what cannot be one, before the database sees it."""
    if not re.fullmatch(rf"{prefix}_[0-9a-f]{{32}}", value):
        raise NotFound
    return value
