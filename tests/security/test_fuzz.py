"""Thousands of made-up URLs and headers: what passes means one thing, to every reader of it."""

import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

import h11
import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from app.sending.custom_headers import UnsafeHeaders, check_custom_headers, is_forbidden
from app.sending.egress import EgressPolicy
from app.sending.networks import is_local_name, is_public
from app.sending.url_safety import UnsafeUrl, check_url
from tests.sending.test_corpus import ENTRIES

POLICY = EgressPolicy(require_https=False)
URL_CASES = 2_000
HEADER_CASES = 1_500

deep = settings(max_examples=URL_CASES, deadline=None)

numbers = st.one_of(
    st.integers(0, 2**33).map(str),
    st.integers(0, 2**33).map(hex),
    st.integers(0, 2**33).map(lambda n: f"0{n:o}"),
    st.sampled_from(["0", "127", "10", "169", "254", "192", "168", "1", "00", "0x", "08", "①"]),
)
dotted = st.lists(numbers, min_size=1, max_size=5).map(".".join)
words = st.sampled_from(
    ["localhost", "example", "com", "internal", "metadata", "google", "xn--", "xn--bcher-kva",
     "faß", "ß", "hooks", "_a", "-a", "a-", "a" * 63, "a" * 64, "local", "nip", "io", "%31"]
)  # fmt: skip
names = st.lists(words | numbers, min_size=1, max_size=4).map(".".join)
loose = st.text("0123456789abf:.%", max_size=20)
brackets = (st.ip_addresses(v=6).map(str) | loose).map("[{}]".format)
nothing = st.just("")
odd = st.sampled_from(
    [".", "。", "\uff0e", "｡", "@", "\\", "#", "?", "%00", "\t", " ", "\u200b",
     "\u00ad", ":80", ":0", ":99999", ":٨٠", "/", "\ufe0f"]
)  # fmt: skip
# Mostly nothing odd, or hardly anything would pass.
separators = nothing | nothing | nothing | nothing | odd
public = (
    st.ip_addresses().filter(is_public).map(lambda ip: f"[{ip}]" if ip.version == 6 else str(ip))
)
honest = st.sampled_from(["hooks.example.com", "bücher.example", "a.b.c.example"]) | public
hosts = st.tuples(separators, honest | dotted | names | brackets, separators)
schemes = ["https://", "https://", "http://", "HTTPS://", "http:/", "https:\\\\", "//", "ftp://"]
tails = ["", "/", "/hook?a=b", "/ü", "/%2e%2e", "//x", "/\\x", "?@127.0.0.1", "#@127.0.0.1"]
urls = st.tuples(
    st.sampled_from(schemes),
    nothing | nothing | nothing | st.sampled_from(["user@", "a:b@", "127.0.0.1@", "@"]),
    hosts.map("".join),
    st.sampled_from(tails),
).map("".join)
hostile = st.sampled_from([entry["url"] for entry in ENTRIES if isinstance(entry["url"], str)])
corpus_urls = hostile | honest.map("https://{}:8443/hook?x=1".format)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A URL of the corpus with a few characters put in, taken out or doubled."""
    url = draw(corpus_urls)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(url)))
        more = draw(st.characters() | st.sampled_from(".:/@[]%\\#?0x1"))
        head, tail = url[:at], url[at:]
        url = draw(st.sampled_from([head + more + tail, head + tail[1:], head + tail[:1] + tail]))
    return url


def _judge(url: object) -> None:
    """Hold an accepted URL against every other reader of it that we have at hand."""
    try:
        safe = check_url(url, POLICY)
    except UnsafeUrl:
        return
    assert check_url(safe.url, POLICY) == safe, "the kept form is stable"
    assert safe.url.isascii()
    assert safe.url.isprintable()
    bare = safe.host
    assert httpx.URL(safe.url).raw_host.decode() == bare
    assert URL(safe.url, encoded=True).raw_host == bare
    split = urlsplit(safe.url)
    assert (split.hostname, split.username, split.fragment) == (bare, None, "")
    assert not is_local_name(bare) or safe.literal is not None
    for ip in _as_c_reads_it(bare):
        assert safe.literal == ip_address(ip), "a name that a C library takes for an address"
        assert is_public(ip_address(ip))


def _as_c_reads_it(host: str) -> set[str]:
    """Return the addresses that the C library sees in a host without asking any name server."""
    try:
        found = socket.getaddrinfo(host, 443, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return set()
    return {str(one[4][0]) for one in found}


@deep
@given(urls)
def test_a_composed_url_that_passes_has_one_reading(url: str) -> None:
    _judge(url)


@deep
@given(mutated())
def test_a_mutated_hostile_url_that_passes_has_one_reading(url: str) -> None:
    _judge(url)


@deep
@given(st.text(max_size=40) | st.binary(max_size=20) | st.floats() | st.none() | st.booleans())
def test_anything_else_is_refused_with_our_own_error_only(value: object) -> None:
    _judge(value)
    _judge(f"https://{value!s}/")


token = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=70)
header_names = token | st.text(max_size=8) | st.sampled_from(
    ["Host", "hOsT", "Transfer-Encoding", "Content-Length", "Webhook-Id", "X-OneProtect-Id",
     "Proxy-Authorization", "Cookie", "X-A\r\nHost", "X A", "", ":authority", "İ", "X-K\u212a"]
)  # fmt: skip
header_values = st.one_of(
    st.text(max_size=20),
    st.text("abc \t\r\n\0\x7f\x80é", max_size=10),
    st.sampled_from(["", " ", "x\r\nHost: evil", "\ud800", "v" * 1025]),
    st.integers(),
)
header_sets = st.dictionaries(header_names, header_values, max_size=24)


@settings(max_examples=HEADER_CASES, deadline=None)
@given(header_sets | st.lists(token) | st.none() | st.text())
def test_custom_headers_that_pass_stay_what_they_are_on_the_wire(headers: object) -> None:
    try:
        accepted = check_custom_headers(headers)
    except UnsafeHeaders:
        return
    assert not any(is_forbidden(name) for name in accepted)
    ours = [("Host", "a.example"), ("Content-Length", "0")]
    sent = h11.Connection(h11.CLIENT).send(
        h11.Request(method="POST", target="/", headers=[*ours, *accepted.items()])
    )
    read = h11.Connection(h11.SERVER)
    read.receive_data(sent or b"")
    request = read.next_event()
    assert isinstance(request, h11.Request)
    seen = [(name.decode(), value.decode()) for name, value in request.headers]
    assert seen == [(name.lower(), value) for name, value in [*ours, *accepted.items()]]
