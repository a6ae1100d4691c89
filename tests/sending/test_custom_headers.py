"""A tenant's own headers can carry a token, and can do no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sending.custom_headers import UnsafeHeaders, check_custom_headers


def refusal(headers: object) -> list[tuple[str, str]]:
    with pytest.raises(UnsafeHeaders) as caught:
        check_custom_headers(headers)
    return caught.value.errors


def test_ordinary_headers_pass_unchanged() -> None:
    headers = {"Authorization": "Bearer a.b-c", "X-Team": "blue & green"}

    assert check_custom_headers(headers) == headers
    assert check_custom_headers({}) == {}


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "HOST",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Expect",
        "Proxy-Authorization",
        "Cookie",
        "Content-Type",
        "User-Agent",
        "webhook-signature",
        "Webhook-Anything",
        "svix-id",
        "X-OneProtect-Signature",
        "Metadata",
        "Metadata-Flavor",
        "X-aws-ec2-metadata-token",
        "X-Google-Metadata-Request",
    ],
)
def test_a_header_that_is_ours_or_frames_the_request_is_refused(name: str) -> None:
    assert refusal({name: "x"}) == [(f"headers.{name}", f"headers must not contain {name}")]


@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", "a\r\nb", "a\n", "é", "x" * 65, "a\0", "(x)", None, 1]
)
def test_a_name_that_is_no_token_is_refused(name: object) -> None:
    assert [field for field, _ in refusal({name: "x"})] == ["headers"]


@pytest.mark.parametrize(
    "value",
    ["", " x", "x ", "a\r\nb", "a\nX-Injected: 1", "é", "a\0", "a\tb", "x" * 1025, None, 1, ["x"]],
)
def test_a_value_that_is_not_plain_ascii_is_refused(value: object) -> None:
    assert [field for field, _ in refusal({"X-Team": value})] == ["headers.X-Team"]


def test_one_name_in_two_spellings_is_refused() -> None:
    assert refusal({"X-Team": "a", "x-team": "b"}) == [
        ("headers.x-team", "headers must not contain x-team twice")
    ]


def test_all_faults_are_told_at_once() -> None:
    assert len(refusal({"Host": "x", "X-A": "\n", "b c": "x", "X-Fine": "y"})) == 3


def test_too_many_headers_are_refused() -> None:
    assert len(check_custom_headers({f"X-{n}": "x" for n in range(20)})) == 20
    assert refusal({f"X-{n}": "x" for n in range(21)})[0][0] == "headers"


@pytest.mark.parametrize("headers", [None, [], "X: y", 3, [("X", "y")]])
def test_anything_but_an_object_is_refused(headers: object) -> None:
    assert refusal(headers)[0][0] == "headers"


def test_a_refusal_never_repeats_the_value() -> None:
    assert "hunter2" not in str(refusal({"X-Token": "hunter2\n", "Host": "hunter2"}))


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8)))
def test_whatever_passes_stays_on_one_line(headers: dict[str, str]) -> None:
    try:
        accepted = check_custom_headers(headers)
    except UnsafeHeaders:
        return

    assert all(f"{name}: {value}".isprintable() for name, value in accepted.items())
    assert all(f"{name}: {value}".isascii() for name, value in accepted.items())
