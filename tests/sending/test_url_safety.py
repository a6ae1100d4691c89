"""Which URLs are accepted, in which form they are kept, and what a refusal says."""

import asyncio
import time
from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from app.sending.url_safety import (
    PRIVATE_MESSAGE,
    EgressAllow,
    EgressPolicy,
    UnsafeUrl,
    check_url,
    vet_url,
)
from tests.sending.resolvers import Answers

STRICT = EgressPolicy()
LOCAL = EgressPolicy(EgressAllow.parse("127.0.0.1:9100, sink:9100"), require_https=False)


def refusal(url: object, policy: EgressPolicy = STRICT) -> UnsafeUrl:
    with pytest.raises(UnsafeUrl) as caught:
        check_url(url, policy)
    return caught.value


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com./Hook?a=B", "https://example.com/Hook?a=B"),
        (" https://example.com/hook#part ", "https://example.com/hook"),
        ("https://example.com:443/", "https://example.com/"),
        ("https://example.com:8443", "https://example.com:8443/"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://faß.example/", "https://xn--fa-hia.example/"),
        ("https://example。com/", "https://example.com/"),
        ("https://[2606:4700:0::1111]/", "https://[2606:4700::1111]/"),
        ("https://8.8.8.8:8443/a/../b", "https://8.8.8.8:8443/b"),
        ("https://my_host.example/", "https://my_host.example/"),
    ],
)
def test_an_accepted_url_is_kept_in_one_canonical_form(url: str, kept: str) -> None:
    assert check_url(url, STRICT).url == kept
    assert check_url(kept, STRICT).url == kept


def test_a_literal_is_told_apart_from_a_name() -> None:
    assert check_url("https://8.8.8.8/", STRICT).literal == IPv4Address("8.8.8.8")
    assert check_url("https://[2606:4700::1]/", STRICT).literal == IPv6Address("2606:4700::1")
    assert check_url("https://example.com/", STRICT).literal is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "http://user:secret@127.0.0.1:99999/",
        "https://127.0.0.1:22/",
        "http://localhost:0/",
        "http://[::1]:/",
        "https://2130706433/",
        "https://a@metadata.google.internal/",
    ],
)
def test_a_private_host_gives_the_private_message_whatever_else_is_wrong(url: str) -> None:
    error = refusal(url)

    assert error.message == "endpoint_url must not target a private or reserved address"
    assert error.private


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "endpoint_url must be a text"),
        (["https://example.com"], "endpoint_url must be a text"),
        ("  ", "endpoint_url must not be empty"),
        ("https://example.com/" + "a" * 2029, "endpoint_url must have at most 2048 characters"),
        ("ftp://example.com/", "endpoint_url must look like https://host/path"),
        ("http://example.com/", "endpoint_url must start with https://"),
        ("https://a:b@example.com/", "endpoint_url must not carry a user name or password"),
        ("https://@example.com/", "endpoint_url must not carry a user name or password"),
        ("https://example.com:/", "endpoint_url must have a port between 1 and 65535"),
        ("https://example.com:70000/", "endpoint_url must have a port between 1 and 65535"),
        (
            "https://example.com:25/",
            "endpoint_url must not use port 25, which belongs to another service",
        ),
        ("https://exa_mple-.com/", "endpoint_url must have a valid host name"),
        ("https://xn--/", "endpoint_url must have a valid host name"),
        ("https://1.1.1.1.1/", "endpoint_url must have a valid host name or address"),
        (
            "https://134744072/",
            "endpoint_url must write an IPv4 address as four plain decimal numbers",
        ),
        ("https://[::ffff:8.8.8.8]/", PRIVATE_MESSAGE),
        ("https://[64:ff9b::808:808]/", PRIVATE_MESSAGE),
        ("https://example.com/" + "ü" * 1000, "endpoint_url must be a valid URL"),
    ],
)
def test_another_fault_has_its_own_sentence(url: object, message: str) -> None:
    error = refusal(url)

    assert error.message == message
    assert error.private == (message == PRIVATE_MESSAGE)


def test_what_an_operator_allowed_passes_and_its_neighbours_do_not() -> None:
    assert check_url("http://127.0.0.1:9100/hook", LOCAL).port == 9100
    assert check_url("http://sink:9100/hook", LOCAL).host == "sink"
    for url in (
        "http://127.0.0.1:9101/",
        "http://127.0.0.2:9100/",
        "http://sink/",
        "http://a:9100",
    ):
        assert refusal(url, LOCAL).private


def test_an_allowed_place_does_not_lift_the_demand_for_https() -> None:
    policy = EgressPolicy(EgressAllow.parse("127.0.0.1:9100"))

    assert refusal("http://127.0.0.1:9100/", policy).message.endswith("https://")
    assert check_url("https://127.0.0.1:9100/", policy).url == "https://127.0.0.1:9100/"


def test_an_allowed_place_may_use_any_port() -> None:
    policy = EgressPolicy(EgressAllow.parse("127.0.0.1:6379"))

    assert check_url("https://127.0.0.1:6379/", policy).port == 6379


hosts = st.text(alphabet="aA0.1x7f-_:@[]%\\#?/ \tüß。①⑦\u200b*|^é", min_size=1, max_size=14)


@given(hosts, st.sampled_from(["", "/", "/a b", "/ü?x=%zz", ":8443/x"]))
@example("127.0.0.1\\@example.com", "/")
@example("0x7f.1", "/")
@example("①②⑦.⓪.⓪.①", "/")
def test_whatever_is_accepted_every_parser_reads_alike(host: str, rest: str) -> None:
    try:
        safe = check_url(f"https://{host}{rest}", STRICT)
    except UnsafeUrl:
        return

    assert check_url(safe.url, STRICT) == safe
    assert safe.url.isascii()
    assert httpx.URL(safe.url).raw_host.decode() == safe.host
    assert URL(safe.url, encoded=True).raw_host == safe.host
    assert URL(safe.url, encoded=True).port == safe.port
    assert not safe.host.replace(".", "").isdigit() or safe.literal == ip_address(safe.host)


@given(st.text() | st.none() | st.integers() | st.lists(st.text()))
def test_nothing_but_a_refusal_is_ever_raised(url: object) -> None:
    for candidate in (url, f"https://{url}", f"https://{url}/", f"http://[{url}]"):
        assert verdict(candidate).startswith(("accepted", "endpoint_url "))


def verdict(url: object) -> str:
    try:
        check_url(url, STRICT)
    except UnsafeUrl as error:
        return error.message
    return "accepted"


async def test_one_private_answer_refuses_the_name() -> None:
    names = Answers({"mixed.example": ["93.184.215.14", "10.0.0.1"]})

    with pytest.raises(UnsafeUrl, match=PRIVATE_MESSAGE):
        await vet_url("https://mixed.example/", STRICT, names)


async def test_a_name_without_an_answer_is_accepted() -> None:
    class Broken:
        async def resolve(self, host: str, port: int) -> list[IPv4Address | IPv6Address]:
            raise OSError(host, port)

    assert (await vet_url("https://new.example/", STRICT, Answers({}))).host == "new.example"
    assert (await vet_url("https://new.example/", STRICT, Broken())).host == "new.example"
    assert (await vet_url("https://new.example/", STRICT, None)).host == "new.example"


async def test_a_form_does_not_wait_long_for_a_slow_name() -> None:
    class Slow:
        async def resolve(self, host: str, port: int) -> list[IPv4Address | IPv6Address]:
            await asyncio.sleep(60)
            raise AssertionError(host, port)

    started = time.monotonic()

    assert (await vet_url("https://slow.example/", STRICT, Slow())).host == "slow.example"
    assert time.monotonic() - started < 3


async def test_a_literal_is_not_looked_up() -> None:
    names = Answers({})
    await vet_url("https://8.8.8.8/", STRICT, names)

    assert names.asked == []


async def test_the_name_that_is_looked_up_is_the_one_that_is_kept() -> None:
    names = Answers({"fass.example": ["10.0.0.1"], "xn--fa-hia.example": ["93.184.215.14"]})
    safe = await vet_url("https://FAß.example./", STRICT, names)

    assert names.asked == [safe.host] == ["xn--fa-hia.example"]
