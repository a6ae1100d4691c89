"""What an operator lets out: the policy that both the form check and every connect ask."""

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_network

from app.sending.networks import METADATA, METADATA_NAMES, Address, Network, is_metadata, is_public

_NETWORK = re.compile(r"(?P<base>[^/\[\]]+)/(?P<bits>[0-9]{1,3})(?::(?P<port>[0-9]+))?")
_BRACKETS = re.compile(r"\[(?P<base>[^\]]+)\](?::(?P<port>[0-9]+))?")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class EgressAllow:
    """Private places that may be reached all the same: exact `host:port`, or `CIDR[:port]`."""

    names: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "EgressAllow":
        """Read a comma list; ValueError says in one sentence which entry is wrong."""
        names: set[tuple[str, int]] = set()
        networks: list[tuple[Network, int | None]] = []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            place, port = _read(entry)
            if not isinstance(place, str):
                networks.append((place, port))
            elif port is not None:
                names.add((place, port))
        return cls(frozenset(names), tuple(networks))

    def covers(self, ip: Address, port: int, host: str = "") -> bool:
        """Whether the operator named this very place; a metadata address never is."""
        if not (self.names or self.networks) or is_metadata(ip):
            return False
        return self.covers_name(host, port) or any(
            ip in network and wanted in {None, port} for network, wanted in self.networks
        )

    def covers_name(self, host: str, port: int) -> bool:
        return (host, port) in self.names


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The one answer to "may we connect there?"; frozen, so a verdict can be remembered."""

    allow: EgressAllow = field(default_factory=EgressAllow)
    require_https: bool = True
    extra_blocked: tuple[Network, ...] = ()

    def permits(self, ip: Address, port: int, host: str = "") -> bool:
        """Whether this address may be dialled for `host`; the address of every connect is asked."""
        plain = _unwrapped(ip)
        if self.allow.covers(plain, port, host):
            return True
        return is_public(ip) and not any(plain in network for network in self.extra_blocked)


def _read(entry: str) -> tuple[Network | str, int | None]:
    place, port = _place(entry)
    if isinstance(place, str):
        if port is None:
            raise ValueError(f"{entry!r} needs a port, as in 'receiver.internal:9100'")
        if place in METADATA_NAMES:
            raise ValueError(f"{entry!r} is a cloud metadata service, which can never be allowed")
    elif any(place.version == one.version and _inside(place, one) for one in METADATA):
        raise ValueError(f"{entry!r} is a cloud metadata address, which can never be allowed")
    return place, port


def _place(entry: str) -> tuple[Network | str, int | None]:
    if found := _NETWORK.fullmatch(entry):
        return _network(entry, f"{found['base']}/{found['bits']}"), _port(entry, found["port"])
    if found := _BRACKETS.fullmatch(entry):
        port = _port(entry, found["port"])
        if port is None and "/" not in found["base"]:
            raise ValueError(f"{entry!r} needs a port, as in '[fd00::1]:9100'")
        return _network(entry, found["base"]), port
    host, _, digits = entry.rpartition(":")
    if not _NAME.fullmatch(host):
        raise ValueError(f"{entry!r} is neither host:port, [IPv6]:port nor CIDR[:port]")
    if host.rpartition(".")[2].isdigit():
        return _network(entry, host), _port(entry, digits)
    return host, _port(entry, digits)


def _network(entry: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{entry!r} holds no address or network that can be read") from None


def _port(entry: str, digits: str | None) -> int | None:
    if digits is None:
        return None
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) <= 65535):  # noqa: PLR2004
        raise ValueError(f"{entry!r} has no port between 1 and 65535")
    return int(digits)


def _inside(inner: Network, outer: Network) -> bool:
    return inner.network_address in outer and inner.broadcast_address in outer


def _unwrapped(ip: Address) -> Address:
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
