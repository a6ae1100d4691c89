"""How numbers, times and names read on a page: pure functions, used as template filters."""

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from markupsafe import Markup, escape

from app.database import utcnow

NOTHING: Final = "—"
#: More of a payload than this helps nobody on a page; the API gives it whole.
PAYLOAD_SHOWN: Final = 32 * 1024

#: Up to how many seconds a unit is used, its length, its name; app.js counts the same way.
UNITS: Final = (
    (90, 1, "s"),
    (5_400, 60, "min"),
    (129_600, 3_600, "h"),
    (float("inf"), 86_400, "d"),
)
#: A chart has a hundred moments, which are written three times and stay for a day.
KEPT: Final = functools.lru_cache(4_096)


def number(value: int) -> str:
    return f"{value:,}"


def percent(share: float | None) -> str:
    """Round down: 99.996 % is not all of them."""
    if share is None:
        return NOTHING
    digits = 2 if share > 0.99 else 1  # noqa: PLR2004
    scale = 10**digits
    text = f"{int(share * 100 * scale + 1e-9) / scale:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def millis(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value < 1:
        return "< 1 ms"
    if value < 1_000:  # noqa: PLR2004
        return f"{value:.0f} ms"
    return f"{value / 1_000:.1f} s"


def size(count: int) -> str:
    if count < 1_000:  # noqa: PLR2004
        return f"{count} B"
    if count < 1_000_000:  # noqa: PLR2004
        return f"{count / 1_000:.1f} KB"
    return f"{count / 1_000_000:.1f} MB"


def span(seconds: float) -> str:
    """`42 s`, `6 min`, `3 h`, `2 d`."""
    whole = int(abs(seconds))
    length, unit = next((length, unit) for limit, length, unit in UNITS if whole < limit)
    return f"{whole // length} {unit}"


def relative(moment: datetime) -> str:
    """`in 42 s` or `6 min ago`."""
    seconds = (moment - utcnow()).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(seconds)} ago"


def due(moment: datetime) -> str:
    """As `relative`; what should have happened already is due now."""
    return "now" if moment <= utcnow() else relative(moment)


def age(moment: datetime) -> str:
    return span((utcnow() - moment).total_seconds())


@KEPT
def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S")


def minute(moment: datetime) -> str:
    return moment.strftime("%H:%M")


@KEPT
def day(moment: datetime) -> str:
    return moment.strftime("%d %b %Y, %H:%M")


def date(moment: datetime) -> str:
    return moment.strftime("%d %b")


@KEPT
def exact(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


_WAYS: Final[dict[str, Callable[[datetime], str]]] = {
    "age": age,
    "clock": clock,
    "date": date,
    "day": day,
    "due": due,
    "minute": minute,
    "relative": relative,
}


def time_tag(moment: datetime, way: str = "relative") -> Markup:
    """Return a moment as it reads in one of the ways, with the exact one; app.js keeps it true."""
    return Markup(  # noqa: S704  # nosec B704  # numbers, our own words
        f'<time datetime="{iso(moment)}" title="{exact(moment)}" data-as="{way}">'
        f"{_WAYS[way](moment)}</time>"
    )


def words(value: str) -> str:
    """`http_error` reads `http error`."""
    return value.replace("_", " ")


def spaced(window: str) -> str:
    """`24h` reads `24 h`."""
    return f"{window[:-1]} {window[-1]}"


def dotted(name: str) -> Markup:
    """Let a narrow column break `incident.opened` after its dot."""
    return escape(name).replace(".", Markup(".<wbr>"))


def short_id(value: str) -> str:
    """`evt_0192f3c1…9f3a`: enough to recognise; the whole id stands in the title."""
    prefix, _, rest = value.partition("_")
    return f"{prefix}_{rest[:6]}…{rest[-6:]}" if len(rest) > 14 else value  # noqa: PLR2004


def pretty_text(text: str) -> str:
    """Indent an answer that is JSON; any other is shown as it came."""
    return pretty(text.encode("utf-8", "replace")) if text.lstrip()[:1] in {"{", "["} else text


def pretty(body: bytes) -> str:
    """Indent JSON without changing its values; cut what is too long to read."""
    try:
        text = msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace")
    if len(text) <= PAYLOAD_SHOWN:
        return text
    return f"{text[:PAYLOAD_SHOWN]}\n… {size(len(body))} in all"


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "age": age,
    "date": date,
    "clock": clock,
    "day": day,
    "dotted": dotted,
    "due": due,
    "exact": exact,
    "iso": iso,
    "millis": millis,
    "minute": minute,
    "number": number,
    "percent": percent,
    "pretty_text": pretty_text,
    "relative": relative,
    "short_id": short_id,
    "size": size,
    "spaced": spaced,
    "span": span,
    "words": words,
}
