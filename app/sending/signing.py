"""Standard Webhooks: `v1` (HMAC-SHA256) and `v1a` (Ed25519) over `{id}.{timestamp}.{body}`."""

import hmac
import re
import secrets as random
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.sending.custom_headers import is_forbidden

NEW_SECRET_BYTES = 32
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
ED25519_BYTES = 64  # the seed and the public key, as libsodium keeps them
TOLERANCE_S = 300

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


class Sealed:
    """Key bytes that no log, traceback, job argument or pickle can show by accident."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not to be pickled")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self._key, other._key)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def key(self) -> bytes:
        """The raw bytes."""
        return self._key

    @property
    def fingerprint(self) -> str:
        """Enough to tell two keys apart, nothing to compute one from."""
        return f"sha256:{sha256(self._key).hexdigest()[:12]}"


class Secret(Sealed):
    """A destination's shared secret: the HMAC key is the decoded bytes, not the text."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> "Secret":
        """Read `whsec_` + base64; ValueError says what is wrong and never repeats the text."""
        key = _decoded(text, "whsec_")
        if key is None or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
            size = f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes"
            raise ValueError(f"signing_secret must be whsec_ followed by the base64 of {size}")
        return cls(key)

    @classmethod
    def generate(cls) -> "Secret":
        return cls(random.token_bytes(NEW_SECRET_BYTES))

    def reveal(self) -> str:
        """Return the text to show once, to its owner."""
        return f"whsec_{b64encode(self._key).decode()}"


class SigningKey(Sealed):
    """An Ed25519 key pair for destinations that verify without a shared secret."""

    __slots__ = ("_signer",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._signer = Ed25519PrivateKey.from_private_bytes(key[:32])
        if key[32:] != self._public_bytes():
            raise ValueError("signing_key must hold a public half that belongs to its private half")

    @classmethod
    def parse(cls, text: object) -> "SigningKey":
        """Read `whsk_` + base64 of seed and public key."""
        key = _decoded(text, "whsk_")
        if key is None or len(key) != ED25519_BYTES:
            raise ValueError("signing_key must be whsk_ followed by the base64 of 64 bytes")
        return cls(key)

    @classmethod
    def generate(cls) -> "SigningKey":
        seed = random.token_bytes(32)
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        return cls(seed + public.public_bytes(Encoding.Raw, PublicFormat.Raw))

    def reveal(self) -> str:
        return f"whsk_{b64encode(self._key).decode()}"

    @property
    def public(self) -> str:
        """The half to publish: `whpk_` + base64."""
        return f"whpk_{b64encode(self._public_bytes()).decode()}"

    def sign(self, content: bytes) -> bytes:
        return self._signer.sign(content)

    def _public_bytes(self) -> bytes:
        return self._signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


class VerificationError(ValueError):
    """A webhook that must not be believed; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def signature(
    secrets: Sequence[Secret],
    message_id: str,
    timestamp: int,
    body: bytes,
    keys: Sequence[SigningKey] = (),
) -> str:
    """Sign with every valid secret, newest first, then with every key pair.

    Exactly one space stands between two signatures.
    """
    content = _content(message_id, timestamp, body)
    return " ".join(
        [_v1(secret.key, content) for secret in secrets] + [_v1a(key, content) for key in keys]
    )


def sign_ed25519(key: SigningKey, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign so that a public key verifies: to stand beside or instead of `v1`."""
    return _v1a(key, _content(message_id, timestamp, body))


def delivery_headers(
    *,
    message_id: str,
    event_type: str,
    attempt: int,
    timestamp: int,
    signature: str,
    user_agent: str,
    extra: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Every header of one attempt: our family, the Standard Webhooks family, then the tenant's."""
    seconds = str(timestamp)
    headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", user_agent),
        ("X-OneProtect-Id", message_id),
        ("X-OneProtect-Timestamp", seconds),
        ("X-OneProtect-Signature", signature),
        ("X-OneProtect-Event", event_type),
        ("X-OneProtect-Attempt", str(attempt)),
        ("webhook-id", message_id),
        ("webhook-timestamp", seconds),
        ("webhook-signature", signature),
    ]
    if extra:  # a row older than a rule must not break it
        headers.extend(pair for pair in extra.items() if not is_forbidden(pair[0]))
    return headers


def verify(
    secrets: Sequence[Secret],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_s: int = TOLERANCE_S,
    now: float,
) -> str:
    """Do what a receiver does: return the message id, or raise VerificationError."""
    lower = {name.lower(): value for name, value in headers.items()}
    message_id = _header(lower, "id")
    timestamp = _fresh(_header(lower, "timestamp"), tolerance_s, now)
    given = [token[3:] for token in _header(lower, "signature").split() if token.startswith("v1,")]
    content = _content(message_id, timestamp, body)
    expected = [_v1(secret.key, content)[3:].encode() for secret in secrets]
    # Every pair is compared, so that the time taken tells nothing about which one fits.
    matches = [hmac.compare_digest(ours, one.encode()) for ours in expected for one in given]
    if not any(matches):
        raise VerificationError("no signature matches the secret and the body")
    return message_id


def _content(message_id: str, timestamp: int, body: bytes) -> bytes:
    return b"%b.%d.%b" % (message_id.encode(), timestamp, body)


def _v1(key: bytes, content: bytes) -> str:
    return f"v1,{b64encode(hmac.digest(key, content, 'sha256')).decode()}"


def _v1a(key: SigningKey, content: bytes) -> str:
    return f"v1a,{b64encode(key.sign(content)).decode()}"


def _decoded(text: object, prefix: str) -> bytes | None:
    if not isinstance(text, str) or not text.startswith(prefix):
        return None
    encoded = text[len(prefix) :]
    if not _BASE64.fullmatch(encoded):
        return None
    try:
        return b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4))
    except ValueError:
        return None


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(f"webhook-{name}") or headers.get(f"x-oneprotect-{name}")
    if not value:
        raise VerificationError(f"the webhook-{name} header is missing")
    return value


def _fresh(text: str, tolerance_s: int, now: float) -> int:
    if not (text.isascii() and text.isdigit()):
        raise VerificationError("the timestamp is not a number of seconds")
    timestamp = int(text[:15])
    if timestamp < now - tolerance_s:
        raise VerificationError("the timestamp is too old")
    if timestamp > now + tolerance_s:
        raise VerificationError("the timestamp lies in the future")
    return timestamp
