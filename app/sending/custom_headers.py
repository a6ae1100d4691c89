"""Which headers a tenant may add to its deliveries: none that could change ours or fool a proxy."""

import re
from collections.abc import Iterator

MAX_HEADERS = 20
MAX_NAME = 64
MAX_VALUE = 1024

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

_FORBIDDEN = frozenset(
    {
        # framing: two readers must never disagree about where a request ends
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # ours to say
        "accept-encoding",
        "content-type",
        "cookie",
        "set-cookie",
        "user-agent",
        # what a metadata service demands as proof of intent
        "metadata",
        "metadata-flavor",
        "x-google-metadata-request",
        "x-identity-header",
    }
)
_FORBIDDEN_PREFIXES = ("proxy-", "svix-", "webhook-", "x-aws-ec2-metadata-", "x-oneprotect-")


class UnsafeHeaders(ValueError):
    """Refused custom headers; `errors` holds every (field, message), ready for the user."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(message for _, message in errors))
        self.errors = errors


def check_custom_headers(headers: object) -> dict[str, str]:
    """Return the headers as given, or raise UnsafeHeaders with everything that is wrong."""
    if not isinstance(headers, dict):
        raise UnsafeHeaders([("headers", "headers must be an object of names and values")])
    errors = list(_faults(headers))
    if errors:
        raise UnsafeHeaders(errors)
    return dict(headers)


def is_forbidden(name: str) -> bool:
    """Whether a header name is not a tenant's to set."""
    lower = name.lower()
    return lower in _FORBIDDEN or lower.startswith(_FORBIDDEN_PREFIXES)


def _faults(headers: dict[object, object]) -> Iterator[tuple[str, str]]:
    if len(headers) > MAX_HEADERS:
        yield "headers", f"headers must be at most {MAX_HEADERS}"
        return
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or len(name) > MAX_NAME or not _TOKEN.fullmatch(name):
            yield "headers", f"headers must have names of 1 to {MAX_NAME} letters, digits or dashes"
            continue
        if is_forbidden(name):
            yield f"headers.{name}", f"headers must not contain {name}"
        elif name.lower() in seen:
            yield f"headers.{name}", f"headers must not contain {name} twice"
        elif not isinstance(value, str) or len(value) > MAX_VALUE or not _VALUE.fullmatch(value):
            rule = f"1 to {MAX_VALUE} printable ASCII characters without outer spaces"
            yield f"headers.{name}", f"headers must give {name} a value of {rule}"
        seen.add(name.lower())
