"""The way to the operator's own OpenID provider: small, patient for seconds, and never led astray.

Unlike a tenant's destination, the issuer is trusted: the operator configured it, and it may well
stand in a private network. So no address is refused here; what it answers is bounded all the same.
"""

import asyncio
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

DEADLINE_S: Final = 8.0
MAX_ANSWER_BYTES: Final = 512 * 1024
SCOPE: Final = "openid email profile"

_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


class IssuerUnreachable(Exception):
    """The provider does not answer as it should; the text is ours and tells no secret."""


class IssuerRefused(Exception):
    """The provider answered with an OAuth error, whose code this is."""


def authorization_url(
    endpoint: str, *, client_id: str, redirect_uri: str, state: str, nonce: str, verifier: str
) -> str:
    """Return where a browser asks for a code, with PKCE under S256 (RFC 7636)."""
    url: str = prepare_grant_uri(
        endpoint,
        client_id=client_id,
        response_type="code",
        redirect_uri=redirect_uri,
        scope=SCOPE,
        state=state,
        nonce=nonce,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
    )
    return url


class IssuerClient:
    """Asks the provider. No redirect, no proxy of the environment, https where it is required."""

    def __init__(
        self,
        *,
        require_https: bool,
        deadline_s: float = DEADLINE_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._require_https = require_https
        self._deadline_s = deadline_s
        self._tls = tls

    async def document(self, url: str) -> dict[str, Any]:
        """Fetch a JSON object."""
        status, value = await self._ask("GET", url, _HEADERS, b"")
        if status != httpx.codes.OK:
            raise IssuerUnreachable(f"the provider answered {status}")
        return value

    async def exchange(
        self,
        url: str,
        *,
        code: str,
        verifier: str,
        redirect_uri: str,
        client: tuple[str, str],
        method: str,
    ) -> dict[str, Any]:
        """Turn an authorization code into tokens (RFC 6749, 4.1.3, with RFC 7636)."""
        form = prepare_token_request(
            "authorization_code", redirect_uri=redirect_uri, code=code, code_verifier=verifier
        )
        headers = _HEADERS | {"Content-Type": "application/x-www-form-urlencoded"}
        client_id, client_secret = client
        _, headers, form = ClientAuth(client_id, client_secret, method).prepare(
            "POST", url, headers, form
        )
        status, value = await self._ask("POST", url, headers, form.encode())
        if status != httpx.codes.OK:
            raise IssuerRefused(str(value.get("error", status))[:60])
        return value

    async def _ask(
        self, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        self._check(url)
        if self._tls is None:
            # An internal provider may have an internal authority: SSL_CERT_FILE counts here.
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                httpx.AsyncClient(verify=self._tls, trust_env=False) as http,
                http.stream(method, url, headers=headers, content=body) as answer,
            ):
                return answer.status_code, _object(await _read(answer))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as fault:
            kind = type(fault).__name__
            raise IssuerUnreachable(f"the provider does not answer ({kind})") from None

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        allowed = {"https"} if self._require_https else {"https", "http"}
        if parts.scheme not in allowed or not parts.hostname:
            raise IssuerUnreachable("the provider names an address that is not https")


async def _read(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise IssuerUnreachable("the provider compresses its answer, unasked")
    kept = b""
    async for chunk in answer.aiter_raw():
        kept += chunk
        if len(kept) > MAX_ANSWER_BYTES:
            raise IssuerUnreachable("the provider's answer is too large")
    return kept


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise IssuerUnreachable("the provider's answer is not JSON") from None
    if not isinstance(value, dict):
        raise IssuerUnreachable("the provider's answer is no JSON object")
    return value
