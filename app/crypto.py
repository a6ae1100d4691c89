"""Encryption of stored secrets under a list of keys, and the making and hashing of tokens."""

import base64
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # NIST SP 800-38D, 8.2: 96-bit nonces
KEY_ID_BYTES: Final = 4
#: Where a local installation keeps the key that it made, beside its database.
KEY_FILE: Final = "secret.keys"


class UndecryptableError(Exception):
    """None of our keys opens this value: a key was dropped too early, or the row was altered."""


def parse_key(text: str) -> bytes:
    """Return the 32 bytes of a key in base64 (either alphabet); ValueError says what is wrong."""
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        raise ValueError("is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"has {len(key)} bytes, not {KEY_BYTES}")
    return key


class Keyring:
    """AES-256-GCM under the first key; every key decrypts.

    A sealed value is key id (4 bytes) + nonce (12) + ciphertext and tag. `context` is
    authenticated with it, so that a value copied to another row does not open there.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("a keyring needs a key")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._newest = _key_id(keys[0])

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> "Keyring":
        return cls([parse_key(text) for text in texts])

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._ciphers[self._newest]
        return self._newest + nonce + cipher.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return the plain bytes; UndecryptableError when no key fits."""
        cipher = self._ciphers.get(sealed[:KEY_ID_BYTES])
        if cipher is None:
            raise UndecryptableError("sealed under a key that is not in ONEPROTECT_SECRET_KEYS")
        nonce, box = sealed[KEY_ID_BYTES:][:NONCE_BYTES], sealed[KEY_ID_BYTES + NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, box, context.encode())
        except (InvalidTag, ValueError):  # ValueError: cut short, even its nonce
            raise UndecryptableError("the stored value was altered") from None

    def is_current(self, sealed: bytes) -> bool:
        return sealed[:KEY_ID_BYTES] == self._newest

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._ciphers)}>"


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"key-id:" + key).digest()[:KEY_ID_BYTES]


def local_keys(folder: Path) -> tuple[str, ...]:
    """Read, or make once, the key file of a local installation; readable by its owner only."""
    path = folder / KEY_FILE
    try:
        return (path.read_text("ascii").strip(),)
    except FileNotFoundError:
        pass
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)).decode())
    try:
        os.link(draft, path)  # fails when another process was first; then its key counts
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return (path.read_text("ascii").strip(),)


def mint_token(prefix: str) -> str:
    """Return a fresh bearer text with 256 random bits."""
    return f"{prefix}{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> bytes:
    """SHA-256: enough for a random 256-bit token, and one index probe finds it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
