"""Sealing: the newest key seals, every key opens, nothing altered or moved does."""

import base64
import stat
from pathlib import Path

import pytest

from app.crypto import Keyring, UndecryptableError, local_keys, mint_token, parse_key, token_hash

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
PLAIN, CONTEXT = b"a signing secret", "secret:acme:dst_1"


def test_what_is_sealed_opens_in_its_context_only() -> None:
    ring = Keyring([OLD])
    sealed = ring.seal(PLAIN, CONTEXT)

    assert PLAIN == ring.open(sealed, CONTEXT)
    for other in ("", "secret:acme:dst_2", "secret:globex:dst_1", CONTEXT + " "):
        with pytest.raises(UndecryptableError, match="altered"):
            ring.open(sealed, other)


def test_the_same_value_is_never_sealed_the_same_twice() -> None:
    ring = Keyring([OLD])

    assert 50 == len({ring.seal(PLAIN, CONTEXT) for _ in range(50)})


def test_after_a_rotation_the_first_key_seals_and_the_old_still_opens() -> None:
    sealed_before = Keyring([OLD]).seal(PLAIN, CONTEXT)
    rotated = Keyring([NEW, OLD])
    sealed_after = rotated.seal(PLAIN, CONTEXT)

    assert PLAIN == rotated.open(sealed_before, CONTEXT) == rotated.open(sealed_after, CONTEXT)
    assert (False, True) == (rotated.is_current(sealed_before), rotated.is_current(sealed_after))
    assert PLAIN == Keyring([NEW]).open(sealed_after, CONTEXT)


def test_a_key_dropped_too_early_is_told_apart_from_an_altered_value() -> None:
    sealed = Keyring([OLD]).seal(PLAIN, CONTEXT)

    with pytest.raises(UndecryptableError, match="not in ONEPROTECT_SECRET_KEYS"):
        Keyring([NEW]).open(sealed, CONTEXT)


def test_any_flipped_bit_is_found() -> None:
    ring = Keyring([OLD])
    sealed = ring.seal(PLAIN, CONTEXT)
    for place in range(len(sealed)):
        bent = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(UndecryptableError):
            ring.open(bent, CONTEXT)


def test_a_value_cut_anywhere_is_undecryptable_and_nothing_else() -> None:
    ring = Keyring([OLD])
    sealed = ring.seal(PLAIN, CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(UndecryptableError):
            ring.open(sealed[:length], CONTEXT)


def test_neither_repr_nor_an_error_shows_a_key_or_a_plain_value() -> None:
    ring = Keyring([NEW, OLD])
    with pytest.raises(UndecryptableError) as caught:
        ring.open(ring.seal(PLAIN, CONTEXT)[:-1], CONTEXT)

    assert "<Keyring of 2>" == repr(ring) == str(ring)
    assert "signing" not in str(caught.value)


def test_a_keyring_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        Keyring([])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "has 0 bytes, not 32"),
        ("a2V5", "has 3 bytes, not 32"),
        (base64.b64encode(bytes(33)).decode(), "has 33 bytes, not 32"),
        ("not base64!", "is not base64"),
        ("schlüssel", "is not base64"),
        ("A" * 43, "is not base64"),
    ],
)
def test_a_key_that_is_none_is_explained_without_repeating_it(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        parse_key(text)

    assert not text or text not in str(caught.value)


def test_keys_are_read_in_both_alphabets_of_base64() -> None:
    key = b"\xfb\xef\xff" * 10 + b"\xfb\xef"

    assert key == parse_key(base64.b64encode(key).decode())
    assert key == parse_key(base64.urlsafe_b64encode(key).decode())


def test_the_local_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = local_keys(tmp_path / "new")
    second = local_keys(tmp_path / "new")

    path = tmp_path / "new" / "secret.keys"
    assert first == second
    assert 32 == len(parse_key(first[0]))
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert ["secret.keys"] == [one.name for one in path.parent.iterdir()]


def test_tokens_are_long_random_and_compared_by_hash() -> None:
    tokens = {mint_token("op_") for _ in range(100)}

    assert 100 == len(tokens) == len({token_hash(token) for token in tokens})
    assert all(token.startswith("op_") and len(token) == 46 for token in tokens)
    assert all(len(token_hash(text)) == 32 for text in ("", "ü", "\ud800", "x" * 100_000))
