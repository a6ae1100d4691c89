"""An answer becomes one of eleven words, and nothing in it can hurt a database."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sending.outcome import (
    MAX_RETRY_AFTER_S,
    STORED_BODY_BYTES,
    Outcome,
    OutcomeKind,
    classify,
    kept_headers,
    retry_after_s,
    stored_text,
)

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 226, 299])
def test_every_2xx_is_delivered(status: int) -> None:
    assert classify(status) is OutcomeKind.DELIVERED


@pytest.mark.parametrize(
    "status", [101, 300, 301, 302, 303, 307, 308, 304, 400, 404, 500, 502, 599]
)
def test_everything_else_is_an_http_error(status: int) -> None:
    assert classify(status) is OutcomeKind.HTTP_ERROR


def test_410_and_429_have_their_own_names() -> None:
    assert classify(410) is OutcomeKind.GONE
    assert classify(429) is OutcomeKind.RATE_LIMITED


def test_an_oversized_body_is_no_delivery_even_with_200() -> None:
    assert classify(200, oversized=True) is OutcomeKind.RESPONSE_TOO_LARGE


def test_the_kinds_are_the_contracts_list() -> None:
    words = "delivered http_error timeout dns_error connect_error tls_error protocol_error"
    words += " response_too_large destination_not_allowed gone rate_limited"

    assert words.split() == [kind.value for kind in OutcomeKind]


def test_an_outcome_can_be_stored_as_json() -> None:
    outcome = Outcome(kind=OutcomeKind.GONE, duration_ms=3, response_status=410)

    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


@given(st.binary(max_size=2 * STORED_BODY_BYTES) | st.just(b"\xff" * STORED_BODY_BYTES))
def test_any_bytes_become_text_that_a_database_takes(body: bytes) -> None:
    text = stored_text(body)

    assert "\0" not in text
    assert len(text.encode()) <= STORED_BODY_BYTES


def test_invalid_utf8_and_nul_are_replaced_not_dropped() -> None:
    assert stored_text(b"a\x00b\xffc") == "a\ufffdb\ufffdc"


def test_only_helpful_headers_are_kept_and_they_are_short() -> None:
    kept = kept_headers({"server": "x" * 9999, "x-secret-internal": "1", "retry-after": "3\0"})

    assert kept == {"server": "x" * 256, "retry-after": "3\ufffd"}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("999999999999999999999", MAX_RETRY_AFTER_S),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("\u0663", None),
        ("Tue, 99 Nov 2023 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str | None, seconds: int | None) -> None:
    assert retry_after_s(value, now=NOW) == seconds
