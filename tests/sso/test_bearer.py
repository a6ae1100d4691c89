"""Access tokens of the provider at the API: by its keys, for us, in time, and nothing else."""

import base64
import json
import time
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from app.identity.sign_on import SignOn
from app.sending.issuer import IssuerClient
from tests.sso.conftest import AUDIENCE, Provider, settings_of
from tests.sso.journey import at_the_provider, leave, query_of
from tests.sso.provider import CALLBACK, CLIENT
from tests.world import World, open_world


@pytest.fixture
def world(shared: World) -> World:
    return shared


async def me(world: World, token: str) -> httpx.Response:
    return await world.client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})


def unsigned(claims: dict[str, Any], **header: str) -> str:
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


@pytest.mark.parametrize(
    ("claims", "tenant", "role"),
    [
        ({}, "acme", "operator"),
        ({"role": ["x", "tenant_admin", "auditor"]}, "acme", "tenant_admin"),
        ({"tenant": "globex", "role": "auditor"}, "globex", "auditor"),
        ({"tenant": "platform", "role": "platform"}, "platform", "platform"),
        ({"aud": ["other", AUDIENCE], "azp": "any-client"}, "acme", "operator"),
        ({"sub": "s" * 255}, "acme", "operator"),
    ],
)
async def test_a_token_signed_by_the_provider_is_its_holder(
    world: World, provider: Provider, claims: dict[str, Any], tenant: str, role: str
) -> None:
    answer = await me(world, provider.token(**claims))

    assert answer.status_code == 200, answer.text
    assert (tenant, role) == (answer.json()["tenant"], answer.json()["role"])


async def test_what_a_token_does_is_audited_under_its_subject(
    world: World, provider: Provider
) -> None:
    token = provider.token(role="tenant_admin", sub="deployer", name="Deployer", jti="x")
    made = await world.client.post(
        "/api/v1/tokens",
        json={"name": "by machine", "role": "auditor"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert made.status_code == 201
    found = (await world.as_("acme_admin").get("/audit?actor=deployer")).json()["items"]
    assert ["token.created"] == [entry["action"] for entry in found]
    assert "Deployer" in json.dumps(found[0])


SOON = 10**10


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "http://127.0.0.1:1/o"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "another-api"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": [AUDIENCE + "/"]}, "another audience"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": True}, "exp is not a time"),
        ({"exp": str(SOON)}, "exp is not a time"),
        ({"exp": 1e999}, "not JSON"),
        ({"nbf": SOON, "exp": 2 * SOON}, "not valid yet"),
        ({"iat": SOON, "exp": 2 * SOON}, "not valid yet"),
        ({"sub": None}, "no subject"),
        ({"sub": "s" * 256}, "no subject"),
        ({"sub": "a\0b"}, "no subject"),
        ({"nonce": "n"}, "is an ID token"),
        ({"at_hash": "h"}, "is an ID token"),
        ({"x": "y" * 20_000}, "too long"),
    ],
)
async def test_a_token_that_says_the_wrong_thing_is_refused(
    world: World, provider: Provider, claims: dict[str, Any], said: str
) -> None:
    answer = await me(world, provider.token(**claims))

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "claims", [{"tenant": "initech"}, {"tenant": None}, {"role": "root"}, {"role": "platform"},
               {"tenant": "platform", "role": "tenant_admin"}, {"tenant": "a\0"}],
)  # fmt: skip
async def test_a_good_token_without_a_place_here_is_forbidden(
    world: World, provider: Provider, claims: dict[str, Any]
) -> None:
    assert (await me(world, provider.token(**claims))).status_code == 403


async def test_the_clock_may_be_off_by_a_minute_and_no_more(
    world: World, provider: Provider
) -> None:
    now = int(time.time())
    for off, status in ((-30, 200), (-90, 401)):
        assert (await me(world, provider.token(exp=now + off))).status_code == status
    for off, status in ((30, 200), (120, 401)):
        token = provider.token(nbf=now + off, iat=now + off, exp=now + 600)
        assert (await me(world, token)).status_code == status


async def test_no_algorithm_but_ours_is_believed(world: World, provider: Provider) -> None:
    good = provider.token()
    head, body, signature = good.split(".")
    kid = provider.key.thumbprint()
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    public = provider.key.as_pem(private=False)
    secret = OctKey.import_key(base64.b64encode(public).decode())
    confused = [
        jws.serialize_compact(
            {"alg": "HS256", "kid": kid}, json.dumps(claims).encode(), key, algorithms=["HS256"]
        )
        for key in (secret, OctKey.import_key(base64.urlsafe_b64encode(public).decode()))
    ]
    for token in (
        unsigned(claims, alg="none", kid=kid),
        unsigned(claims, alg="None", kid=kid),
        unsigned(claims, alg="none") + signature,
        unsigned(claims, alg="RS256", kid=kid),
        unsigned(claims, alg="RS256", kid=kid) + signature[:-4] + "AAAA",
        unsigned(claims, alg="RS256", kid=kid, typ="logout+jwt") + signature,
        unsigned({**claims, "role": "tenant_admin"}, alg="RS256", kid=kid) + signature,
        f"{head}.{body}.",
        *confused,
    ):
        answer = await me(world, token)
        assert answer.status_code == 401, token
        assert "token is refused" in answer.json()["detail"]
    assert (await me(world, good)).status_code == 200


@pytest.mark.parametrize(
    ("alg", "stranger"),
    [
        ("RS256", RSAKey.generate_key(2048)),
        ("ES256", ECKey.generate_key("P-256")),
        ("PS256", RSAKey.generate_key(2048)),
    ],
)
async def test_a_key_that_the_provider_does_not_publish_signs_nothing(
    world: World, provider: Provider, alg: str, stranger: Any
) -> None:
    answer = await me(world, provider.token(key=stranger, alg=alg))

    assert answer.status_code == 401
    assert "does not publish" in answer.json()["detail"]


async def test_the_same_key_may_sign_as_pss(world: World, provider: Provider) -> None:
    # The provider publishes its key for RS256 alone, so that PS256 under it is refused.
    assert (await me(world, provider.token(alg="PS256"))).status_code == 401


async def test_an_id_token_of_the_provider_opens_no_api(
    database_url: str, provider: Provider
) -> None:
    client_id, client_secret = CLIENT
    same = settings_of(provider, ONEPROTECT_OIDC_AUDIENCE=client_id)
    from tests.portal.visitor import Visitor

    async with open_world(database_url, **same) as world, Visitor(world.app) as visitor:
        address, ticket = await world.services.sign_on.begin(CALLBACK, "/")  # type: ignore[union-attr]  # it is set
        code = query_of(await at_the_provider(address, provider.person()))["code"]
        answer = await IssuerClient(require_https=False).exchange(
            f"{provider.issuer}/token/", code=code, verifier=ticket.verifier,
            redirect_uri=CALLBACK, client=(client_id, client_secret),
            method="client_secret_basic",
        )  # fmt: skip
        refused = await me(world, answer["id_token"])
        assert await leave(visitor)

    assert refused.status_code == 401
    assert "it is an ID token" in refused.json()["detail"]


async def test_without_an_audience_no_json_web_token_is_taken(
    database_url: str, provider: Provider
) -> None:
    async with open_world(
        database_url, **settings_of(provider, ONEPROTECT_OIDC_AUDIENCE="")
    ) as world:
        answer = await me(world, provider.token())
        own = await world.as_("acme_admin").get("/me")

    assert (401, 200) == (answer.status_code, own.status_code)
    assert "unknown, expired or revoked" in answer.json()["detail"]


async def test_claims_may_have_other_names_and_lie_deeper(
    database_url: str, provider: Provider
) -> None:
    names = settings_of(
        provider,
        ONEPROTECT_OIDC_ROLE_CLAIM="realm_access.roles",
        ONEPROTECT_OIDC_TENANT_CLAIM="https://corp.example/tenant",
    )
    token = provider.token(
        **{"realm_access": {"roles": ["auditor"]}, "https://corp.example/tenant": "globex"}
    )
    async with open_world(database_url, **names) as world:
        answer = (await me(world, token)).json()

    assert ("globex", "auditor") == (answer["tenant"], answer["role"])


async def test_a_rotated_key_is_fetched_at_once_the_old_one_forgotten_and_floods_are_not(
    database_url: str, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = IssuerClient.document

    async def counted(self: IssuerClient, url: str) -> dict[str, Any]:
        asked.append(url)
        return await ask(self, url)

    monkeypatch.setattr(IssuerClient, "document", counted)
    now = 1_000.0
    async with open_world(database_url, **settings_of(provider)) as world:
        world.services.sign_on = SignOn(world.settings, monotonic=lambda: now)
        before = provider.token()
        assert (await me(world, before)).status_code == 200
        assert (await me(world, before)).status_code == 200
        assert len(asked) == 2, "the discovery document and the keys, once"

        provider.rotate()
        after = provider.token()
        assert (await me(world, after)).status_code == 401, "asked a moment ago"
        now += 61
        assert (await me(world, after)).status_code == 200
        assert (await me(world, before)).status_code == 401
        for _ in range(20):
            stranger = provider.token(key=STRANGER, alg="ES256")
            assert (await me(world, stranger)).status_code == 401
        assert len(asked) == 4

        provider.stop()
        now += 3_700  # what is known is old, and the provider away: better old than none
        assert (await me(world, after)).status_code == 200
        assert (await me(world, after)).status_code == 200
        assert len(asked) == 5
        provider.rotate()


STRANGER = ECKey.generate_key("P-256")
