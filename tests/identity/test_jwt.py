"""The rules for JSON Web Tokens, by themselves: keys, algorithms, claims."""

import json
import warnings
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from app.identity import jwt
from app.identity.jwt import BadToken, UnknownKey
from app.identity.permissions import Role
from app.identity.provisioning import Refused, claim, role_in

RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})


def signed(key: Any, alg: str, **header: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library prefers EdDSA's new name
        head = {"alg": alg, "kid": key.kid} | header
        head = {name: value for name, value in head.items() if value is not None}
        return jws.serialize_compact(head, b'{"sub": "x"}', key, algorithms=[alg])


def published(*keys: Any, **more: Any) -> list[jwt.PublicKey]:
    entries = [key.as_dict(private=False) | more for key in keys]
    return jwt.public_keys({"keys": entries})


@pytest.mark.parametrize(
    ("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA")]
)
def test_each_algorithm_of_the_list_is_believed_with_its_kind_of_key(key: Any, alg: str) -> None:
    token = signed(key, alg)

    assert {"sub": "x"} == jwt.signed_claims(token, published(RSA, EC, ED))
    assert {"sub": "x"} == jwt.signed_claims(signed(key, alg, kid=None), published(RSA, EC, ED))
    assert {"sub": "x"} == jwt.signed_claims(signed(key, alg, typ="at+jwt"), published(key))
    with pytest.raises(UnknownKey):
        jwt.signed_claims(token, published(*(one for one in (RSA, EC, ED) if one is not key)))
    with pytest.raises(BadToken, match="signature is wrong"):
        jwt.signed_claims(token[:-8] + "AAAAAAAA", published(RSA, EC, ED))


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (RSA, "RS384"),
        (RSA, "RS512"),
        (ECKey.generate_key("P-384"), "ES384"),
        (OctKey.generate_key(256), "HS256"),
    ],
)
def test_no_other_algorithm_is(key: Any, alg: str) -> None:
    with pytest.raises(BadToken, match="algorithm that is not allowed"):
        jwt.signed_claims(signed(key, alg, kid="rsa"), published(RSA))


def test_a_key_of_the_wrong_curve_signs_nothing() -> None:
    wide = ECKey.generate_key("P-384", {"kid": "wide"})
    token = signed(EC, "ES256", kid="wide")

    with pytest.raises(BadToken, match="signature is wrong"):
        jwt.signed_claims(token, published(wide))


def test_an_extension_that_must_be_understood_and_is_not_is_refused() -> None:
    token = signed(RSA, "RS256", typ="JWT")
    head = json.dumps({"alg": "RS256", "kid": "rsa", "crit": ["exp2"], "exp2": 1}).encode()
    from joserfc.util import urlsafe_b64encode

    forged = urlsafe_b64encode(head).decode() + token[token.index(".") :]
    with pytest.raises(BadToken):
        jwt.signed_claims(forged, published(RSA))


def test_keys_that_are_none_weak_or_secret_are_passed_over() -> None:
    good = RSA.as_dict(private=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weak = RSAKey.generate_key(1024).as_dict(private=False)
    secret = OctKey.generate_key(256).as_dict()
    odd = [good | {"use": "enc"}, good | {"n": "?"}, {"kty": "RSA"}, weak, secret, {}, 5, None]

    assert 1 == len(jwt.public_keys({"keys": [*odd, good]}))
    assert [] == jwt.public_keys({"keys": odd})
    for document in ({}, {"keys": {}}, {"keys": None}):
        assert [] == jwt.public_keys(document)


@pytest.mark.parametrize("text", ["", ".", "..", "ey.ey.ey", "eyJ.é.x", "a.b.c.d", "ey" * 9_000])
def test_what_is_no_token_is_refused_quietly(text: str) -> None:
    with pytest.raises(BadToken):
        jwt.signed_claims(text, published(RSA))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "us", "nonce": "other"},
        {"aud": "us"},
        {"aud": "us", "nonce": ["n"]},
        {"aud": ["us", "them"], "nonce": "n"},
        {"aud": ["us", "them"], "nonce": "n", "azp": "them"},
        {"aud": "us", "nonce": "n", "azp": "them"},
    ],
)
def test_an_id_token_is_bound_to_the_client_and_the_sign_in(claims: dict[str, Any]) -> None:
    with pytest.raises(BadToken):
        jwt.check_id_token(claims, client_id="us", nonce="n")
    jwt.check_id_token({"aud": ["us", "x"], "nonce": "n", "azp": "us"}, client_id="us", nonce="n")
    jwt.check_id_token({"aud": "us", "nonce": "n"}, client_id="us", nonce="n")


def test_a_claim_is_found_by_its_name_or_its_path() -> None:
    claims = {"a": {"b": ["c"]}, "a.b": "whole", "https://x.example/role": "r", "t": "x"}

    assert "whole" == claim(claims, "a.b")
    assert "r" == claim(claims, "https://x.example/role")
    assert ["c"] == claim({"a": {"b": ["c"]}}, "a.b")
    for path in ("a.c", "t.u", "", "a.b.c.d"):
        assert claim(claims, path) is None


def test_roles_are_taken_by_exact_name_and_never_guessed() -> None:
    assert Role.AUDITOR is role_in("auditor")
    assert Role.TENANT_ADMIN is role_in(["auditor", "tenant_admin", "operator"])
    assert Role.OPERATOR is role_in(["everyone", 5, None, "operator"])
    for value in ("Auditor", "auditor ", "", None, 5, {}, [], ["platform"], ["operator,auditor"]):
        with pytest.raises(Refused, match="none of the roles"):
            role_in(value)
    with pytest.raises(Refused, match="more than one"):
        role_in(["operator", "auditor"])
