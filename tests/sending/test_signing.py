"""Signatures that every Standard Webhooks library believes, and secrets that nobody sees."""

import copy
import pickle
import time
from base64 import b64decode, b64encode

import pytest
import standardwebhooks
import svix
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from app.sending.signing import (
    Secret,
    SigningKey,
    VerificationError,
    delivery_headers,
    sign_ed25519,
    signature,
    verify,
)

TEXT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1_614_265_330
BODY = b'{"test": 2432232314}'
PRIVATE = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
SIGNED = "hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def headers_of(*secrets: Secret, at: int, body: bytes = BODY) -> dict[str, str]:
    return dict(
        delivery_headers(
            message_id=ID,
            event_type="alert.created",
            attempt=1,
            timestamp=at,
            signature=signature(secrets, ID, at, body),
            user_agent="OneProtect-Webhooks/1",
            extra={},
        )
    )


def test_v1_matches_the_published_vector() -> None:
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    assert signature([Secret.parse(TEXT)], ID, AT, BODY) == expected


def test_v1a_matches_the_published_vector() -> None:
    key = SigningKey.parse(f"whsk_{PRIVATE}")
    expected = f"v1a,{SIGNED}"

    assert key.public == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
    assert sign_ed25519(key, ID, AT, BODY) == expected


def test_a_generated_ed25519_key_verifies_with_its_public_half_only() -> None:
    key = SigningKey.generate()
    signed = b64decode(sign_ed25519(key, ID, AT, BODY).removeprefix("v1a,"))
    public = Ed25519PublicKey.from_public_bytes(b64decode(key.public.removeprefix("whpk_")))
    public.verify(signed, f"{ID}.{AT}.".encode() + BODY)

    with pytest.raises(InvalidSignature):
        public.verify(signed, f"{ID}.{AT}.".encode() + BODY + b" ")
    assert SigningKey.parse(key.reveal()) == key


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.Webhook])
def test_the_official_libraries_verify_both_secrets_of_a_rotation(library: type) -> None:
    old, new = Secret.generate(), Secret.generate()
    headers = headers_of(new, old, at=int(time.time()))

    for secret in (old, new):
        library(secret.reveal()).verify(BODY, headers)  # raises if it does not believe us


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.Webhook])
def test_the_official_libraries_refuse_a_secret_whose_overlap_has_ended(library: type) -> None:
    headers = headers_of(Secret.generate(), at=int(time.time()))
    refusals = (standardwebhooks.WebhookVerificationError, svix.WebhookVerificationError)

    with pytest.raises(refusals):
        library(Secret.generate().reveal()).verify(BODY, headers)


def test_the_official_library_skips_v1a_beside_v1() -> None:
    secret, now = Secret.generate(), int(time.time())
    headers = headers_of(secret, at=now)
    both = f"{sign_ed25519(SigningKey.generate(), ID, now, BODY)} {headers['webhook-signature']}"

    standardwebhooks.Webhook(secret.reveal()).verify(BODY, headers | {"webhook-signature": both})


def test_signatures_stand_apart_by_exactly_one_space() -> None:
    header = signature([Secret.generate() for _ in range(3)], ID, AT, BODY)

    assert [token[:3] for token in header.split(" ")] == ["v1,"] * 3
    assert header == header.strip()


def test_both_header_families_say_the_same() -> None:
    headers = headers_of(Secret.parse(TEXT), at=AT)

    assert headers == {
        "Content-Type": "application/json",
        "User-Agent": "OneProtect-Webhooks/1",
        "X-OneProtect-Id": ID,
        "X-OneProtect-Timestamp": str(AT),
        "X-OneProtect-Signature": headers["webhook-signature"],
        "X-OneProtect-Event": "alert.created",
        "X-OneProtect-Attempt": "1",
        "webhook-id": ID,
        "webhook-timestamp": str(AT),
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_custom_headers_come_last_and_never_replace_ours() -> None:
    headers = delivery_headers(
        message_id=ID,
        event_type="a.b",
        attempt=2,
        timestamp=AT,
        signature="v1,x",
        user_agent="u",
        extra={"Authorization": "Bearer t", "Webhook-Signature": "v1,forged", "Host": "evil"},
    )

    assert headers[-1] == ("Authorization", "Bearer t")
    assert [value for name, value in headers if name.lower() == "webhook-signature"] == ["v1,x"]
    assert "Host" not in dict(headers)


def test_verify_returns_the_id_of_an_honest_webhook() -> None:
    secret = Secret.generate()

    assert verify([secret], headers_of(secret, at=AT), BODY, now=AT) == ID
    ours = {k: v for k, v in headers_of(secret, at=AT).items() if not k.startswith("webhook")}
    assert verify([Secret.generate(), secret], ours, BODY, now=AT + 299) == ID


@given(st.data())
def test_one_changed_byte_is_noticed(data: st.DataObject) -> None:
    secret = Secret.parse(TEXT)
    at = data.draw(st.integers(0, len(BODY) - 1))
    changed = bytearray(BODY)
    changed[at] ^= data.draw(st.integers(1, 255))

    with pytest.raises(VerificationError):
        verify([secret], headers_of(secret, at=AT), bytes(changed), now=AT)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"webhook-id": ""}, "the webhook-id header is missing"),
        ({"webhook-timestamp": ""}, "the webhook-timestamp header is missing"),
        ({"webhook-signature": ""}, "the webhook-signature header is missing"),
        ({"webhook-timestamp": "hello"}, "the timestamp is not a number of seconds"),
        ({"webhook-timestamp": "-5"}, "the timestamp is not a number of seconds"),
        ({"webhook-timestamp": str(AT - 301)}, "the timestamp is too old"),
        ({"webhook-timestamp": str(AT + 301)}, "the timestamp lies in the future"),
        ({"webhook-timestamp": str(AT - 1)}, "no signature matches the secret and the body"),
        ({"webhook-id": "msg_other"}, "no signature matches the secret and the body"),
        ({"webhook-signature": "v1,"}, "no signature matches the secret and the body"),
        ({"webhook-signature": "v1"}, "no signature matches the secret and the body"),
        ({"webhook-signature": "v1,\u00e9"}, "no signature matches the secret and the body"),
        (
            {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
            "no signature matches the secret and the body",
        ),
        (
            {"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1O"},
            "no signature matches the secret and the body",
        ),
    ],
)
def test_a_dishonest_webhook_is_refused_with_the_reason(
    change: dict[str, str], reason: str
) -> None:
    secret = Secret.parse(TEXT)
    only = {k: v for k, v in headers_of(secret, at=AT).items() if k.startswith("webhook-")}

    with pytest.raises(VerificationError) as caught:
        verify([secret], only | change, BODY, now=AT)

    assert caught.value.reason == reason


def test_a_decoy_beside_the_right_signature_does_no_harm() -> None:
    secret = Secret.parse(TEXT)
    headers = headers_of(secret, at=AT)
    decoys = f"v1,Zm9v v2,Zm9v {headers['webhook-signature']} v1,Zm9v"

    assert verify([secret], headers | {"webhook-signature": decoys}, BODY, now=AT) == ID


@pytest.mark.parametrize("size", [24, 25, 32, 63, 64])
def test_a_secret_survives_showing_and_reading(size: int) -> None:
    key = bytes(range(size))
    text = f"whsec_{b64encode(key).decode()}"

    assert Secret.parse(text).key == key
    assert Secret.parse(text).reveal() == text
    assert Secret.parse(text.rstrip("=")).reveal() == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "whsec_",
        "secret",
        b64encode(bytes(32)).decode(),
        f"whsec_{b64encode(bytes(23)).decode()}",
        f"whsec_{b64encode(bytes(65)).decode()}",
        f"whsec_{b64encode(bytes(32)).decode()}\n",
        f"whsec_{'-_' * 20}",
        f"whsec_{'a' * 41}",
        f"whpk_{b64encode(bytes(32)).decode()}",
        "whsec_\u00e9" + "a" * 40,
    ],
)
def test_a_bad_secret_is_refused_in_one_sentence_that_does_not_repeat_it(text: object) -> None:
    with pytest.raises(ValueError, match=r"^signing_secret must be whsec_") as caught:
        Secret.parse(text)

    assert str(text) not in str(caught.value) or str(text) in {"", "whsec_", "secret", "7"}
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", [None, "whsk_", f"whsk_{b64encode(bytes(64)).decode()}", TEXT])
def test_a_bad_signing_key_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"^signing_key must"):
        SigningKey.parse(text)


def test_two_generated_secrets_differ_and_have_32_bytes() -> None:
    one, two = Secret.generate(), Secret.generate()

    assert one != two
    assert len(one.key) == len(two.key) == 32


@pytest.mark.parametrize("sealed", [Secret.parse(TEXT), SigningKey.parse(f"whsk_{PRIVATE}")])
def test_a_key_shows_nothing_of_itself(sealed: Secret | SigningKey) -> None:
    shown = f"{sealed} {sealed!r} {sealed.fingerprint} {[sealed]} {sealed!a}"

    assert sealed.reveal()[6:16] not in shown
    assert sealed.key.hex()[:8] not in shown
    assert repr(sealed.key)[2:8] not in shown
    assert not hasattr(sealed, "__dict__")


@pytest.mark.parametrize("sealed", [Secret.parse(TEXT), SigningKey.parse(f"whsk_{PRIVATE}")])
def test_a_key_refuses_to_be_pickled_or_copied(sealed: Secret | SigningKey) -> None:
    with pytest.raises(TypeError, match="not to be pickled"):
        pickle.dumps(sealed)
    with pytest.raises(TypeError, match="not to be pickled"):
        copy.deepcopy(sealed)


def test_a_fingerprint_tells_keys_apart_and_is_short() -> None:
    fingerprint = Secret.parse(TEXT).fingerprint

    assert fingerprint == "sha256:" + fingerprint[7:]
    assert len(fingerprint) == 19
    assert fingerprint != Secret.generate().fingerprint
