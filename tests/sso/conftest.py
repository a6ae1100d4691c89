"""The provider as a process of its own, what it says of people, and a portal that trusts it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jws
from joserfc.jwk import RSAKey

from tests.sharing import shared_url
from tests.sso.provider import CLIENT
from tests.tools.programs import free_port
from tests.world import World, open_world

__all__ = ["shared_url"]

PROGRAM = Path(__file__).with_name("provider.py")
AUDIENCE = "https://webhooks.example/api"
DEADLINE_S = 60.0
NAMES = [f"person{number}" for number in range(60)]


class Provider:
    """The running provider; it forgets nothing when its key changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}/o"
        self._names = iter(NAMES)
        self.say({name: {} for name in NAMES})
        self.key = self._new_key()
        self._process = self._start()

    def person(self, **claims: Any) -> str:
        """Let somebody have an account there, of whom this is claimed; return the name."""
        name = next(self._names)
        default = {"email": f"{name}@corp.example", "email_verified": True, "name": name.title()}
        self.claim(name, **default | {"tenant": "acme", "role": "operator"} | claims)
        return name

    def claim(self, person: str, **claims: Any) -> None:
        """Change what is claimed of somebody; None takes a claim away."""
        people = json.loads((self.folder / "people.json").read_text())
        people[person] = {k: v for k, v in (people[person] | claims).items() if v is not None}
        self.say(people)

    def say(self, people: dict[str, Any]) -> None:
        (self.folder / "people.json").write_text(json.dumps(people))

    def rotate(self) -> None:
        """Start again under a new key, as the same provider."""
        self.stop()
        self.key = self._new_key()
        self._process = self._start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def token(self, *, key: RSAKey | None = None, alg: str = "RS256", **claims: Any) -> str:
        """Sign an access token for the API as the provider would; None leaves a claim out."""
        now = int(time.time())
        said = {
            "iss": self.issuer, "aud": AUDIENCE, "sub": "machine-1", "iat": now, "exp": now + 300,
            "tenant": "acme", "role": "operator",
        } | claims  # fmt: skip
        payload = json.dumps({k: v for k, v in said.items() if v is not None}).encode()
        key = key or self.key
        header = {"alg": alg, "kid": key.thumbprint()}
        return jws.serialize_compact(header, payload, key, algorithms=[alg])

    def _new_key(self) -> RSAKey:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self.folder / "key.pem").write_bytes(pem)
        return RSAKey.import_key(pem)

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), str(self.folder), str(self.port)], env=os.environ
        )
        ends = time.monotonic() + DEADLINE_S
        while time.monotonic() < ends:
            assert process.poll() is None, "the provider ended before it answered"
            try:
                httpx.get(f"{self.issuer}/.well-known/openid-configuration", trust_env=False)
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return process
        process.kill()
        raise AssertionError("the provider never answered")


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = Provider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.stop()


def settings_of(provider: Provider, **more: str) -> dict[str, str]:
    client_id, client_secret = CLIENT
    return {
        "ONEPROTECT_OIDC_ISSUER": provider.issuer,
        "ONEPROTECT_OIDC_CLIENT_ID": client_id,
        "ONEPROTECT_OIDC_CLIENT_SECRET": client_secret,
        "ONEPROTECT_OIDC_AUDIENCE": AUDIENCE,
    } | more


@pytest.fixture
async def world(database_url: str, provider: Provider) -> AsyncIterator[World]:
    async with open_world(database_url, **settings_of(provider)) as world:
        yield world


@pytest.fixture(scope="module")
async def shared(shared_url: str, provider: Provider) -> AsyncIterator[World]:
    """Yield one world for all the cases of a table."""
    async with open_world(shared_url, **settings_of(provider)) as world:
        yield world
