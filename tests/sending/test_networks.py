"""No denied IPv4 block can be reached in any dress, and nothing outside 2000::/3 is public."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.networks import (
    DENIED_V4,
    DENIED_V6,
    METADATA,
    is_local_name,
    is_metadata,
    is_public,
)
from app.sending.url_safety import PRIVATE_MESSAGE, UnsafeUrl, check_url

EMBEDDINGS: dict[str, Callable[[int], int]] = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "nat64": lambda v4: 0x64FF9B << 96 | v4,
    "nat64_local": lambda v4: 0x64FF9B0001 << 80 | v4,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80,
    "teredo_server": lambda v4: 0x20010000 << 96 | v4 << 64,
    "teredo_client": lambda v4: 0x20010000 << 96 | (v4 ^ 0xFFFFFFFF),
    "isatap": lambda v4: 0x26064700 << 96 | 0x5EFE << 32 | v4,
    "isatap_universal": lambda v4: 0x26064700 << 96 | 0x02005EFE << 32 | v4,
}

denied_v4 = st.sampled_from(DENIED_V4).flatmap(
    lambda block: (
        st.sampled_from([block[0], block[-1]])
        | st.integers(int(block[0]), int(block[-1])).map(IPv4Address)
    )
)


@given(denied_v4)
def test_a_denied_ipv4_address_is_not_public(ip: IPv4Address) -> None:
    assert not is_public(ip)


@given(denied_v4, st.sampled_from(sorted(EMBEDDINGS)))
def test_a_denied_ipv4_address_stays_denied_inside_ipv6(ip: IPv4Address, dress: str) -> None:
    embedded = IPv6Address(EMBEDDINGS[dress](int(ip)))

    assert not is_public(embedded)
    with pytest.raises(UnsafeUrl) as caught:
        check_url(f"https://[{embedded}]/", EgressPolicy())
    assert caught.value.message == PRIVATE_MESSAGE


@pytest.mark.parametrize("block", DENIED_V4, ids=str)
@pytest.mark.parametrize("dress", sorted(EMBEDDINGS))
def test_both_ends_of_every_block_are_denied_in_every_dress(block: IPv4Network, dress: str) -> None:
    for ip in (block[0], block[-1]):
        assert not is_public(ip)
        assert not is_public(IPv6Address(EMBEDDINGS[dress](int(ip))))


@pytest.mark.parametrize("block", DENIED_V6, ids=str)
def test_both_ends_of_every_ipv6_block_are_denied(block: IPv6Network) -> None:
    assert not is_public(block[0])
    assert not is_public(block[-1])


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_only_global_unicast_can_be_public(ip: IPv6Address) -> None:
    if ip not in IPv6Network("2000::/3") and ip.ipv4_mapped is None:
        assert not is_public(ip)


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "128.0.0.0",
        "168.63.129.15",
        "172.32.0.0",
        "192.0.1.0",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:200::1",
        "2001:db7:ffff::1",
        "2003::1",
        "::ffff:8.8.8.8",
        "2606:4700::5efe:808:808",
    ],
)
def test_the_neighbours_of_denied_blocks_are_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", ["fe80::1%2", "2606:4700::1%eth0", "::1%1"])
def test_an_address_with_a_zone_is_never_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("block", METADATA, ids=str)
def test_no_setting_opens_a_metadata_address(block: IPv4Network | IPv6Network) -> None:
    everything = EgressPolicy(EgressAllow.parse("0.0.0.0/0, ::/0"))

    assert not everything.permits(block[0], 80)
    if block.version == 4:
        assert not everything.permits(IPv6Address(EMBEDDINGS["mapped"](int(block[0]))), 80)
    assert is_metadata(block[-1])


def test_a_scope_does_not_hide_a_metadata_address() -> None:
    assert is_metadata(ip_address("fe80::a9fe:a9fe%eth0"))


@pytest.mark.parametrize(
    "name",
    ["localhost", "a.localhost", "x.local", "db.internal", "printer", "metadata.goog", "a.svc"],
)
def test_a_local_name_is_known_by_its_labels(name: str) -> None:
    assert is_local_name(name)


@pytest.mark.parametrize(
    "name", ["localhost.customer.example", "mylocal.example", "notlocalhost.com", "internal.io"]
)
def test_a_name_that_only_looks_local_is_not(name: str) -> None:
    assert not is_local_name(name)
