"""An operator's exceptions are exact, and a mistake in them stops with one sentence."""

from ipaddress import ip_address, ip_network

import pytest

from app.sending.egress import EgressAllow, EgressPolicy


def permits(allow: str, ip: str, port: int, host: str = "") -> bool:
    return EgressPolicy(EgressAllow.parse(allow)).permits(ip_address(ip), port, host)


@pytest.mark.parametrize(
    ("allow", "ip", "port"),
    [
        ("127.0.0.1:9100", "127.0.0.1", 9100),
        (" 10.0.0.1:80 , 127.0.0.1:9100 ,", "127.0.0.1", 9100),
        ("10.0.0.0/8", "10.9.8.7", 1),
        ("10.0.0.0/8:443", "10.9.8.7", 443),
        ("[fd00::1]:9100", "fd00::1", 9100),
        ("[FD00::/8]:443", "fd12::1", 443),
        ("fd00::/8", "fd12::1", 443),
        ("fd00::/8:443", "fd12::1", 443),
        ("127.0.0.1:9100", "::ffff:127.0.0.1", 9100),
    ],
)
def test_what_is_listed_may_be_reached(allow: str, ip: str, port: int) -> None:
    assert permits(allow, ip, port)


@pytest.mark.parametrize(
    ("allow", "ip", "port"),
    [
        ("", "127.0.0.1", 9100),
        ("127.0.0.1:9100", "127.0.0.1", 9101),
        ("127.0.0.1:9100", "127.0.0.2", 9100),
        ("10.0.0.0/8:443", "10.0.0.1", 80),
        ("10.0.0.0/8", "11.0.0.1:", 80),
        ("fd00::/8", "10.0.0.1", 80),
    ],
)
def test_what_is_not_listed_stays_closed(allow: str, ip: str, port: int) -> None:
    assert not permits(allow, ip.replace("11.0.0.1:", "192.168.0.1"), port)


def test_a_name_opens_its_addresses_for_itself_alone() -> None:
    assert permits("sink.internal:9100", "10.0.0.1", 9100, "sink.internal")
    assert not permits("sink.internal:9100", "10.0.0.1", 9100, "other.internal")
    assert not permits("sink.internal:9100", "10.0.0.1", 9101, "sink.internal")
    assert not permits("sink.internal:9100", "169.254.169.254", 9100, "sink.internal")


def test_an_operators_own_networks_can_be_closed() -> None:
    policy = EgressPolicy(extra_blocked=(ip_network("8.8.0.0/16"), ip_network("2606:4700::/32")))

    assert not policy.permits(ip_address("8.8.8.8"), 443)
    assert not policy.permits(ip_address("::ffff:8.8.8.8"), 443)
    assert not policy.permits(ip_address("2606:4700::1"), 443)
    assert policy.permits(ip_address("9.9.9.9"), 443)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("10.0.0.1", "neither host:port"),
        ("sink.internal", "neither host:port"),
        ("sink.internal:", "no port between"),
        ("sink.internal:0", "no port between"),
        ("sink.internal:65536", "no port between"),
        ("sink.internal:٣", "no port between"),
        ("http://10.0.0.1:80", "neither host:port"),
        ("10.0.0.0/33", "cannot|can be read"),
        ("10.0.0.1/8", "can be read"),
        ("127.1:80", "can be read"),
        ("[::1]", "needs a port"),
        ("[::1", "neither host:port"),
        ("*:80", "neither host:port"),
        ("169.254.169.254:80", "can never be allowed"),
        ("169.254.0.0/16", "can never be allowed"),
        ("100.100.100.200:80", "can never be allowed"),
        ("[fd00:ec2::254]:80", "can never be allowed"),
        ("metadata.google.internal:80", "can never be allowed"),
    ],
)
def test_a_wrong_entry_is_named_in_one_sentence(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        EgressAllow.parse(f"127.0.0.1:9100,{text}")

    assert repr(text) in str(caught.value)
