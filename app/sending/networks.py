"""Which addresses and names lie outside: our own default-deny tables, after the IANA registries."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure WireServer
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)

# Only this block can be public: what is not yet allocated stays refused without an update of ours.
GLOBAL_UNICAST = IPv6Network("2000::/3")

DENIED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, benchmarking, ORCHID, anycast
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address of the sender's choice
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)

# Cloud credentials live here: no setting of an operator opens them.
METADATA = (
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv4Network("168.63.129.16/32"),  # Azure
    IPv4Network("169.254.0.0/16"),  # AWS, Azure, GCP, OCI, ECS, Scaleway, Tencent
    IPv4Network("192.0.0.192/32"),  # Oracle
    IPv6Network("fd00:ec2::/32"),  # AWS, EKS
    IPv6Network("fd00:c1::a9fe:a9fe/128"),  # Oracle
    IPv6Network("fd20:ce::254/128"),  # GCP
    IPv6Network("fe80::/10"),
)

METADATA_NAMES = frozenset(
    {
        "instance-data",
        "metadata",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)

LOCAL_SUFFIXES = frozenset(
    {
        "cluster.local",
        "corp",
        "home",
        "home.arpa",
        "internal",
        "intranet",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "private",
        "svc",
    }
)

# Ports that browsers refuse (WHATWG), and data stores that take what they can out of a POST.
_SERVICES = (
    "0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 "
    "111 113 115 117 119 123 135 137 138 139 143 161 179 389 427 445 465 512 513 514 515 526 "
    "530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1433 1521 1719 1720 1723 2049 "
    "2181 2375 2379 3306 3389 3659 4045 4190 5060 5061 5432 5672 5900 6000 6379 6380 6566 "
    "6665 6666 6667 6668 6669 6679 6697 9042 9092 10080 10250 11211 27017"
)
SERVICE_PORTS = frozenset(map(int, _SERVICES.split()))

_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def is_public(ip: Address) -> bool:
    """Whether an address belongs to the open Internet, judged by our tables alone."""
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in DENIED_V4)
    if ip.scope_id is not None:
        return False
    if ip.ipv4_mapped is not None:
        return is_public(ip.ipv4_mapped)
    if ip not in GLOBAL_UNICAST or any(ip in network for network in DENIED_V6):
        return False
    return (int(ip) >> 32) & 0xFFFF_FFFF not in _ISATAP or is_public(_low_bits(ip))


def is_metadata(ip: Address) -> bool:
    """Whether an address hands out cloud credentials; also when wrapped in IPv6."""
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_metadata(ip.ipv4_mapped)
        ip = IPv6Address(int(ip))  # a scope id would hide it from the table
    return any(ip in network for network in METADATA)


def is_local_name(host: str) -> bool:
    """Whether a name (lower case, no final dot) can only mean this machine or its own network."""
    labels = host.split(".")
    if len(labels) == 1 or host in METADATA_NAMES:
        return True
    return any(".".join(labels[at:]) in LOCAL_SUFFIXES for at in range(len(labels)))


def _low_bits(ip: IPv6Address) -> IPv4Address:
    return IPv4Address(int(ip) & 0xFFFF_FFFF)
