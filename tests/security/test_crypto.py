"""Sealed values: whatever was done to one, it opens as it was or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import Keyring, UndecryptableError

KEYS = Keyring([b"k" * 32, b"o" * 32])
SEALED = KEYS.seal(b"a secret of some length", "secret:acme:dst_1")


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_with_our_own_error(value: bytes) -> None:
    with pytest.raises(UndecryptableError):
        KEYS.open(value, "secret:acme:dst_1")


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_a_truncated_value_is_refused_with_our_own_error(length: int) -> None:
    with pytest.raises(UndecryptableError):
        KEYS.open(SEALED[:length], "secret:acme:dst_1")


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_a_value_with_one_flipped_bit_is_refused(place: int) -> None:
    flipped = bytearray(SEALED)
    flipped[place] ^= 1
    with pytest.raises(UndecryptableError):
        KEYS.open(bytes(flipped), "secret:acme:dst_1")


def test_a_value_opens_only_where_it_was_sealed_for() -> None:
    with pytest.raises(UndecryptableError):
        KEYS.open(SEALED, "secret:globex:dst_1")

    assert b"a secret of some length" == KEYS.open(SEALED, "secret:acme:dst_1")


def test_the_same_secret_never_looks_the_same_twice() -> None:
    assert KEYS.seal(b"x", "c") != KEYS.seal(b"x", "c")


def test_a_keyring_shows_no_key() -> None:
    assert "k" * 8 not in repr(KEYS) + repr(vars(KEYS))
