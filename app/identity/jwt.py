"""Is this JSON Web Token what it says it is? Rules only: keys and clock are handed in.

The signature by one of the issuer's public keys, under an algorithm of our list; then issuer,
audience and times (RFC 7519, RFC 8725), and for ID tokens nonce and `azp` (OpenID Connect Core).
"""

import hmac
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

#: Which kinds of key sign under which algorithm. Never `none`, never a shared secret.
ALGORITHMS: Final = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
SKEW_S: Final = 60
MAX_LENGTH: Final = 16 * 1024
MIN_RSA_BITS: Final = 2048
SUBJECT_MAX: Final = 255

Claims = dict[str, Any]
PublicKey = RSAKey | ECKey | OKPKey


class BadToken(Exception):
    """Why a token is refused, in words that repeat nothing of it."""


class UnknownKey(BadToken):
    """Signed by a key that we have not seen: the issuer may have rotated its keys."""


class _Allowed(JWSRegistry):
    """The algorithms of our list, EdDSA without the library's warning that it got a new name."""

    def get_alg(self, name: str) -> JWSAlgModel:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


_REGISTRY: Final = _Allowed(strict_check_header=False)


def looks_like_one(text: str) -> bool:
    return text.startswith("ey") and text.count(".") == 2  # noqa: PLR2004


def public_keys(document: Mapping[str, Any]) -> list[PublicKey]:
    """Return the signing keys of a JWKS document that we can use; others are passed over."""
    entries = document.get("keys")
    keys = [_public_key(entry) for entry in entries] if isinstance(entries, list) else []
    return [key for key in keys if key is not None]


def _public_key(entry: Any) -> PublicKey | None:
    usable = (
        isinstance(entry, dict)
        and entry.get("kty") in set(ALGORITHMS.values())
        and entry.get("use", "sig") == "sig"
        and not (entry["kty"] == "RSA" and _bits(entry.get("n")) < MIN_RSA_BITS)
    )
    if not usable:
        return None
    try:
        key = JWKRegistry.import_key(entry)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey):
        return key if key.public_key.key_size >= MIN_RSA_BITS else None
    return key if isinstance(key, ECKey | OKPKey) else None


def _bits(number: Any) -> int:
    return len(number) * 6 if isinstance(number, str) else 0  # base64url


def signed_claims(text: str, keys: Sequence[PublicKey]) -> Claims:
    """Return what the token claims, if one of the keys signed it; UnknownKey when none may have."""
    header = _header(text)
    kind = ALGORITHMS.get(str(header.get("alg")))
    if kind is None:
        raise BadToken("it is signed under an algorithm that is not allowed")
    if str(header.get("typ", "JWT")).lower().removeprefix("application/") not in {"jwt", "at+jwt"}:
        raise BadToken("it is a token of another type")
    fitting = [key for key in keys if key.key_type == kind and _is_named(key, header)]
    if not fitting:
        raise UnknownKey("it is signed by a key that the issuer does not publish")
    for key in fitting:
        try:
            payload = jws.deserialize_compact(text, key, registry=_REGISTRY).payload
        except (JoseError, ValueError, TypeError):
            continue
        return _object(payload or b"")
    raise BadToken("its signature is wrong")


def _header(text: str) -> dict[str, Any]:
    if len(text) > MAX_LENGTH:
        raise BadToken("it is too long")
    try:
        return dict(jws.extract_compact(text.encode()).headers())
    except (JoseError, ValueError, TypeError):
        raise BadToken("it is not a JSON Web Token") from None


def _is_named(key: PublicKey, header: Mapping[str, Any]) -> bool:
    if key.alg is not None and key.alg != header["alg"]:
        return False
    wanted = header.get("kid")
    return wanted is None or key.kid == wanted


def _object(payload: bytes) -> Claims:
    try:
        claims = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadToken("its claims are not JSON") from None
    if not isinstance(claims, dict):
        raise BadToken("its claims are no JSON object")
    return claims


def check_common(claims: Claims, *, issuer: str, audience: str, now: float) -> None:
    """Hold the claims that every token has against what we expect; BadToken says what is off."""
    if claims.get("iss") != issuer:
        raise BadToken("it is from another issuer")
    if audience not in _audiences(claims):
        raise BadToken("it is meant for another audience")
    expires = _moment(claims, "exp")
    if expires is None or expires + SKEW_S <= now:
        raise BadToken("it has expired")
    for name in ("nbf", "iat"):
        starts = _moment(claims, name)
        if starts is not None and starts - SKEW_S > now:
            raise BadToken("it is not valid yet")
    subject = claims.get("sub")
    if not (isinstance(subject, str) and 0 < len(subject) <= SUBJECT_MAX and subject.isprintable()):
        raise BadToken("it names no subject")


def check_id_token(claims: Claims, *, client_id: str, nonce: str) -> None:
    """Ask of an ID token what OpenID Connect Core 3.1.3.7 asks beyond that."""
    party = claims.get("azp")
    if (len(_audiences(claims)) > 1 and party is None) or party not in {None, client_id}:
        raise BadToken("it was issued to another client")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise BadToken("it belongs to another sign-in")


def check_access_token(claims: Claims) -> None:
    """Refuse an ID token: it says who signed in, and is no key to the API."""
    if {"nonce", "at_hash", "c_hash"} & claims.keys():
        raise BadToken("it is an ID token")


def _audiences(claims: Claims) -> list[str]:
    given = claims.get("aud")
    if isinstance(given, str):
        return [given]
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []


def _moment(claims: Claims, name: str) -> float | None:
    given = claims.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise BadToken(f"its {name} is not a time")
    return float(given)
