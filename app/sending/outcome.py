"""What we learnt from one attempt: every way the outside world can answer, as a value."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec

STORED_BODY_BYTES = 16 * 1024
MAX_RETRY_AFTER_S = 86_400
MAX_HEADER_CHARACTERS = 256
KEPT_HEADERS = (
    "content-type",
    "location",
    "retry-after",
    "server",
    "webhook-delivery",
    "x-request-id",
)


class OutcomeKind(StrEnum):
    """The fixed list that people, filters and retry rules read."""

    DELIVERED = "delivered"  # any 2xx
    HTTP_ERROR = "http_error"  # any other status, redirects too: they are never followed
    TIMEOUT = "timeout"  # the whole attempt took longer than it may
    DNS_ERROR = "dns_error"  # the name gave no address
    CONNECT_ERROR = "connect_error"  # nobody took the connection
    TLS_ERROR = "tls_error"  # no handshake, or a certificate that does not fit the name
    PROTOCOL_ERROR = "protocol_error"  # connected, but what came back is not a whole HTTP answer
    RESPONSE_TOO_LARGE = "response_too_large"  # headers or body beyond the hard limits
    DESTINATION_NOT_ALLOWED = "destination_not_allowed"  # private, reserved or otherwise refused
    GONE = "gone"  # 410: the receiver wants no more
    RATE_LIMITED = "rate_limited"  # 429: the whole destination must slow down


class Timing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the time went, in milliseconds; None is a step that did not happen or was not seen."""

    total_ms: float
    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None


class Outcome(msgspec.Struct, frozen=True):
    """One attempt's end. Holds nothing of ours: no secret, no error text of a library."""

    kind: OutcomeKind
    duration_ms: int
    response_status: int | None = None
    response_body: str = ""
    response_headers: dict[str, str] = {}
    retry_after_s: int | None = None
    resolved_address: str | None = None
    timing: Timing | None = None
    refused_because: str | None = None  # why it was not even tried; no fault of the endpoint's


def classify(status: int, *, oversized: bool = False) -> OutcomeKind:
    """Name the answer. `oversized` says that its body went beyond the hard limit."""
    if oversized:
        return OutcomeKind.RESPONSE_TOO_LARGE
    if 200 <= status <= 299:  # noqa: PLR2004
        return OutcomeKind.DELIVERED
    return _SPECIAL.get(status, OutcomeKind.HTTP_ERROR)


_SPECIAL = {410: OutcomeKind.GONE, 429: OutcomeKind.RATE_LIMITED}


def stored_text(body: bytes) -> str:
    """Make a receiver's bytes fit for a text column: at most 16 KiB of UTF-8, and no NUL."""
    text = body[:STORED_BODY_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")
    if not text.isascii():  # a replacement is longer than the byte it stands for
        return text.encode()[:STORED_BODY_BYTES].decode("utf-8", "ignore")
    return text


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Pick the few response headers that help a developer; `headers` ignores case."""
    return {name: _plain(headers[name]) for name in KEPT_HEADERS if name in headers}


def retry_after_s(value: str | None, *, now: float) -> int | None:
    """Seconds asked for by a Retry-After header, as a number or an HTTP-date; at most a day."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), MAX_RETRY_AFTER_S)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return max(0, min(int(seconds), MAX_RETRY_AFTER_S))


def _plain(value: str) -> str:
    # Header bytes may arrive as lone surrogates, which no database takes.
    clean = value[:MAX_HEADER_CHARACTERS].encode("utf-8", "replace").decode()
    return clean.replace("\0", "\ufffd")
