"""Which destination URLs are allowed: one pure check for every write path and every delivery."""

import re
import unicodedata
from asyncio import timeout
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import httpx
import idna

from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.networks import SERVICE_PORTS, Address, is_local_name, is_public
from app.sending.resolver import Resolver

__all__ = [
    "PRIVATE_MESSAGE",
    "EgressAllow",
    "EgressPolicy",
    "SafeUrl",
    "UnsafeUrl",
    "check_url",
    "is_public",
    "vet_url",
]

PRIVATE_MESSAGE = "endpoint_url must not target a private or reserved address"

MAX_CHARACTERS = 2048
MAX_NAME = 253
MAX_PORT = 65_535
LOOKUP_S = 1.5  # a form waits for it; the guard at connect time decides anyway

_URL = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_OCTAL = re.compile(r"0[0-7]*")
_PORT = re.compile(r"[0-9]{1,5}")
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"))
_DEFAULT_PORT = {"http": 80, "https": 443}


class UnsafeUrl(ValueError):
    """A refused `endpoint_url`. `message` is for the user; `private` tells the one fixed text."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.private = message == PRIVATE_MESSAGE


@dataclass(frozen=True, slots=True)
class SafeUrl:
    """An accepted URL. `url` is the canonical form: store it and deliver from it."""

    url: str
    host: str
    port: int
    literal: Address | None


async def vet_url(url: object, policy: EgressPolicy, resolver: Resolver | None) -> SafeUrl:
    """Check a URL and what its name means now; UnsafeUrl if any answer may not be reached.

    No answer in time is no objection: the guard asks again at every connect.
    """
    safe = check_url(url, policy)
    if resolver is None or safe.literal is not None:
        return safe
    try:
        async with timeout(LOOKUP_S):
            answers = await resolver.resolve(safe.host, safe.port)
    except OSError:
        return safe
    if not all(policy.permits(ip, safe.port, safe.host) for ip in answers):
        raise UnsafeUrl(PRIVATE_MESSAGE)
    return safe


def check_url(url: object, policy: EgressPolicy) -> SafeUrl:
    """Judge a URL without asking the network. The host comes first, whatever else is wrong."""
    scheme, authority, rest = _split(_clean(url))
    userinfo, at, place = authority.rpartition("@")
    raw_host, raw_port = _host_and_port(place)
    port = _port(raw_port, scheme)
    host, literal = _judged_host(raw_host, port, policy)
    if at or userinfo:
        raise UnsafeUrl("endpoint_url must not carry a user name or password")
    if port is None:
        raise UnsafeUrl("endpoint_url must have a port between 1 and 65535")
    if scheme != "https" and policy.require_https:
        raise UnsafeUrl("endpoint_url must start with https://")
    if port in SERVICE_PORTS and not _is_allowed(host, literal, port, policy):
        raise UnsafeUrl(f"endpoint_url must not use port {port}, which belongs to another service")
    return SafeUrl(_canonical(scheme, host, port, rest), host, port, literal)


def _clean(url: object) -> str:
    if not isinstance(url, str):
        raise UnsafeUrl("endpoint_url must be a text")
    text = url.strip(" ")
    if not text:
        raise UnsafeUrl("endpoint_url must not be empty")
    if len(text) > MAX_CHARACTERS:
        raise UnsafeUrl(f"endpoint_url must have at most {MAX_CHARACTERS} characters")
    if any(map(_is_hidden, text)):
        raise UnsafeUrl("endpoint_url must not contain spaces, backslashes or invisible characters")
    return text


def _is_hidden(char: str) -> bool:
    if char < "\x7f":
        return char <= " " or char == "\\"
    return (
        unicodedata.category(char) in _HIDDEN
        or "\ufe00" <= char <= "\ufe0f"  # variation selectors leave no trace on a screen
        or "\U000e0100" <= char <= "\U000e01ef"
    )


def _split(text: str) -> tuple[str, str, str]:
    found = _URL.fullmatch(text)
    if found is None or not found[2]:
        raise UnsafeUrl("endpoint_url must look like https://host/path")
    return found[1].lower(), found[2], found[3]


def _host_and_port(place: str) -> tuple[str, str | None]:
    if found := _IN_BRACKETS.fullmatch(place):
        return f"[{found[1]}]", found[2]
    if "[" in place or "]" in place:
        raise UnsafeUrl("endpoint_url must have an IPv6 address alone between its brackets")
    host, colon, port = place.partition(":")
    return host, port if colon else None


def _port(text: str | None, scheme: str) -> int | None:
    if text is None:
        return _DEFAULT_PORT[scheme]
    if not _PORT.fullmatch(text) or not 0 < int(text) <= MAX_PORT:
        return None
    return int(text)


def _judged_host(raw: str, port: int | None, policy: EgressPolicy) -> tuple[str, Address | None]:
    """Return the canonical host, and its address when it is a literal."""
    if raw.startswith("["):
        literal = _ipv6(raw)
        _refuse_private(str(literal), literal, port, policy)
        return str(literal), literal
    host = _a_labels(raw)
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        address = _inet_aton(host)
        _refuse_private(str(address), address, port, policy)
        if str(address) != host:
            raise UnsafeUrl("endpoint_url must write an IPv4 address as four plain decimal numbers")
        return host, address
    if any(not _LABEL.fullmatch(label) for label in host.split(".")) or len(host) > MAX_NAME:
        raise UnsafeUrl("endpoint_url must have a valid host name")
    _refuse_private(host, None, port, policy)
    return host, None


def _refuse_private(
    host: str, literal: Address | None, port: int | None, policy: EgressPolicy
) -> None:
    if port is not None and _is_allowed(host, literal, port, policy):
        return
    if literal is None:
        private = is_local_name(host)
    else:
        mapped = isinstance(literal, IPv6Address) and literal.ipv4_mapped is not None
        private = mapped or not policy.permits(literal, port or 0)
    if private:
        raise UnsafeUrl(PRIVATE_MESSAGE)


def _is_allowed(host: str, literal: Address | None, port: int, policy: EgressPolicy) -> bool:
    if literal is None:
        return policy.allow.covers_name(host, port)
    return policy.allow.covers(literal, port)


def _ipv6(raw: str) -> IPv6Address:
    try:
        return IPv6Address(raw[1:-1])
    except ValueError:
        raise UnsafeUrl("endpoint_url must have a valid IPv6 address in its brackets") from None


def _a_labels(raw: str) -> str:
    """Lower the host to the ASCII form that will be resolved, without its trailing dot."""
    host = raw.lower()
    try:
        if not host.isascii():
            host = idna.uts46_remap(host, std3_rules=False, transitional=False)
        labels = host.removesuffix(".").split(".")
        return ".".join(map(_a_label, labels))
    except UnicodeError:
        raise UnsafeUrl("endpoint_url must have a valid host name") from None


def _a_label(label: str) -> str:
    if label.startswith("xn--"):
        return idna.alabel(idna.ulabel(label)).decode("ascii")
    return label if label.isascii() else idna.alabel(label).decode("ascii")


def _inet_aton(host: str) -> IPv4Address:
    """Read every spelling that a C library takes for an IPv4 address: octal, hex, short forms."""
    *heads, tail = [_number(part) for part in host.split(".")]
    room = 4 - len(heads)
    if room < 1 or any(head > 0xFF for head in heads) or tail >= 256**room:  # noqa: PLR2004
        raise _not_an_address()
    value = sum(head << (24 - 8 * at) for at, head in enumerate(heads))
    return IPv4Address(value + tail)


def _number(part: str) -> int:
    if not _NUMBER.fullmatch(part):
        raise _not_an_address()
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    if part.startswith("0"):
        if not _OCTAL.fullmatch(part):
            raise _not_an_address()
        return int(part, 8)
    return int(part[:12])


def _not_an_address() -> UnsafeUrl:
    return UnsafeUrl("endpoint_url must have a valid host name or address")


def _canonical(scheme: str, host: str, port: int, rest: str) -> str:
    """Compose the URL anew, and only if the client's own parser finds the same host in it."""
    netloc = f"[{host}]" if ":" in host else host
    if port != _DEFAULT_PORT[scheme]:
        netloc = f"{netloc}:{port}"
    try:
        parsed = httpx.URL(f"{scheme}://{netloc}{rest.partition('#')[0]}")
        agreed = parsed.raw_host == host.encode() and parsed.host != ""
        url = f"{scheme}://{netloc}{parsed.raw_path.decode('ascii')}"
    except (httpx.InvalidURL, ValueError):
        agreed, url = False, ""
    if not agreed or len(url) > MAX_CHARACTERS:
        raise UnsafeUrl("endpoint_url must be a valid URL")
    return url
