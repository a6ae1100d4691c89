"""Single sign-on with the operator's OpenID provider: the code flow, and its tokens at the API.

What the provider publishes is fetched when first needed, kept for an hour, and its keys once more
when a token names one that we have not seen, at most once a minute.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from app.errors import Forbidden, Invalid, Unauthenticated, Unavailable
from app.identity import jwt
from app.identity.jwt import BadToken, Claims, PublicKey, UnknownKey
from app.sending.issuer import (
    IssuerClient,
    IssuerRefused,
    IssuerUnreachable,
    authorization_url,
)
from app.settings import Settings

KEPT_S: Final = 3_600.0
REFETCH_EVERY_S: Final = 60.0
#: A provider that does not answer is left alone for so long.
PAUSE_S: Final = 5.0
#: How long a person may take at the provider.
TICKET_S: Final = 600

log = structlog.get_logger(__name__)


class Ticket(msgspec.Struct, frozen=True):
    """What ties a sign-in that comes back to the browser that left; sealed in its cookie."""

    state: str
    nonce: str
    verifier: str
    onward: str
    until: int


class _Published(msgspec.Struct, frozen=True):
    """What the provider's discovery document says (OpenID Connect Discovery 1.0, section 3)."""

    authorization_endpoint: str
    token_endpoint: str
    keys: list[PublicKey]
    auth_method: str
    until: float


class SignOn:
    """One provider, seen from one web process."""

    def __init__(
        self,
        settings: Settings,
        client: IssuerClient | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._client_secret = settings.oidc_client_secret
        self._audience = settings.oidc_audience
        self._client = client or IssuerClient(require_https=not settings.env.relaxed)
        self._monotonic, self._clock = monotonic, clock
        self._published: _Published | None = None
        self._asked_at = float("-inf")
        self._turn = asyncio.Lock()

    @property
    def serves_portal(self) -> bool:
        return bool(self._client_id)

    @property
    def serves_api(self) -> bool:
        return bool(self._audience)

    async def begin(self, redirect_uri: str, onward: str) -> tuple[str, Ticket]:
        """Return where to send the browser, and the ticket that it must bring back."""
        found = await self._discovered()
        ticket = Ticket(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            onward=onward,
            until=int(self._clock()) + TICKET_S,
        )
        address = authorization_url(
            found.authorization_endpoint,
            client_id=self._client_id,
            redirect_uri=redirect_uri,
            state=ticket.state,
            nonce=ticket.nonce,
            verifier=ticket.verifier,
        )
        return address, ticket

    def check_return(self, ticket: Ticket, state: str, issuer: str | None) -> None:
        """Refuse an answer that is not the one to this ticket (RFC 9700, 2.1; RFC 9207)."""
        fits = secrets.compare_digest(ticket.state.encode(), state.encode())
        if not fits or ticket.until <= self._clock():
            raise Invalid("This sign-in is over or was begun elsewhere. Start it again.")
        if issuer not in {None, self.issuer}:
            raise Invalid("This answer comes from another provider than the one that was asked.")

    async def finish(self, ticket: Ticket, code: str, redirect_uri: str) -> Claims:
        """Return what the provider says of the person; Forbidden when it cannot be believed."""
        found = await self._discovered()
        try:
            answer = await self._client.exchange(
                found.token_endpoint,
                code=code,
                verifier=ticket.verifier,
                redirect_uri=redirect_uri,
                client=(self._client_id, self._client_secret),
                method=found.auth_method if self._client_secret else "none",
            )
        except IssuerUnreachable as fault:
            raise self._unavailable(fault) from None
        except IssuerRefused as fault:
            log.warning("sign_on.refused", by="provider", error=str(fault))
            raise Forbidden("The sign-on provider refused this sign-in. Start it again.") from None
        try:
            claims = await self._verified(str(answer.get("id_token", "")), self._client_id)
            jwt.check_id_token(claims, client_id=self._client_id, nonce=ticket.nonce)
        except BadToken as fault:
            log.warning("sign_on.refused", by="us", reason=str(fault))
            raise Forbidden(f"The provider's ID token is refused: {fault}.") from None
        return claims

    async def bearer(self, text: str) -> Claims:
        """Return what an access token for the API claims; Unauthenticated when it is no good."""
        try:
            claims = await self._verified(text, self._audience)
            jwt.check_access_token(claims)
        except BadToken as fault:
            raise Unauthenticated(f"The token is refused: {fault}.") from None
        return claims

    async def _verified(self, text: str, audience: str) -> Claims:
        found = await self._discovered()
        try:
            claims = jwt.signed_claims(text, found.keys)
        except UnknownKey:
            claims = jwt.signed_claims(text, (await self._rotated(found)).keys)
        jwt.check_common(claims, issuer=self.issuer, audience=audience, now=self._clock())
        return claims

    async def _discovered(self) -> _Published:
        found = self._published
        if found is not None and found.until > self._monotonic():
            return found
        return await self._rotated(found)

    async def _rotated(self, seen: _Published | None) -> _Published:
        """Ask the provider anew, one at a time and not too often; keep what we have if it fails."""
        async with self._turn:
            if self._published is not None and self._published is not seen:
                return self._published  # another request has just asked
            since_s = self._monotonic() - self._asked_at
            if self._published is not None and since_s < REFETCH_EVERY_S:
                return self._published
            if since_s < PAUSE_S:
                raise self._unavailable(IssuerUnreachable("asked just now, in vain"))
            try:
                self._published = await self._fetch()
            except IssuerUnreachable as fault:
                if self._published is None:
                    raise self._unavailable(fault) from None
                log.warning("sign_on.stale", reason=str(fault))
            finally:
                self._asked_at = self._monotonic()
            return self._published

    async def _fetch(self) -> _Published:
        root = self.issuer.removesuffix("/")
        said = await self._client.document(f"{root}/.well-known/openid-configuration")
        if said.get("issuer") != self.issuer:
            raise IssuerUnreachable("the discovery document is another issuer's")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        login, token, keys = (said.get(name) for name in names)
        if not (isinstance(login, str) and isinstance(token, str) and isinstance(keys, str)):
            raise IssuerUnreachable("the discovery document lacks an endpoint")
        found = jwt.public_keys(await self._client.document(keys))
        if not found:
            raise IssuerUnreachable("the provider publishes no key that can be used")
        methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = not isinstance(methods, list) or "client_secret_basic" in methods
        method = "client_secret_basic" if basic else "client_secret_post"
        return _Published(login, token, found, method, self._monotonic() + KEPT_S)

    def _unavailable(self, fault: IssuerUnreachable) -> Unavailable:
        log.warning("sign_on.unreachable", reason=str(fault))
        return Unavailable("The sign-on provider cannot be reached now. Try again.")


def sign_on_of(settings: Settings) -> SignOn | None:
    """Return the installation's single sign-on, or None where none is configured."""
    return SignOn(settings) if settings.oidc_issuer else None
