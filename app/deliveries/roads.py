"""Open the routes of a batch: what is sealed in the database becomes what the sender signs with."""

from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from app import __version__
from app.crypto import Keyring, UndecryptableError
from app.database import Database
from app.deliveries.store import Route
from app.destinations.models import headers_context, secret_context
from app.destinations.signing_keys import OpenKeys
from app.sending import transcript
from app.sending.outcome import Outcome, OutcomeKind
from app.sending.signing import Secret, SigningKey

log = structlog.get_logger(__name__)

#: What becomes of an attempt whose road cannot be opened: it is tried again by the schedule, so
#: that a key that comes back delivers it, and says why it fails as long as it does.
UNSIGNABLE: Final = Outcome(
    OutcomeKind.DESTINATION_NOT_ALLOWED,
    duration_ms=0,
    refused_because="its secret or headers cannot be opened: restore the key or set new ones",
)


class Road(msgspec.Struct, frozen=True):
    """An opened route: it lives in memory for one batch."""

    url: str
    headers: dict[str, str]
    secrets: list[Secret]
    keys: list[SigningKey]
    sent: msgspec.Raw  # what is kept of each request
    trace_context: bool = False


class Roads:
    """Opens routes with the installation's keys."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._keyring = keyring
        self._signing_keys = OpenKeys(database, keyring)

    async def open(self, routes: Mapping[str, Route]) -> dict[str, Road | None]:
        """Unseal routes for one batch; None for what cannot be signed for."""
        is_asked = any(route.asymmetric for route in routes.values())
        keys = await self._signing_keys.all() if is_asked else []
        return {name: self._open(route, keys) for name, route in routes.items()}

    def _open(self, route: Route, keys: list[SigningKey]) -> Road | None:
        headers: dict[str, str] = {}
        try:
            context = secret_context(route.tenant_id, route.destination_id)
            secrets = [Secret(self._keyring.open(s, context)) for s in route.sealed_secrets]
            if route.sealed_headers:
                context = headers_context(route.tenant_id, route.destination_id)
                plain = self._keyring.open(route.sealed_headers, context)
                headers = msgspec.json.decode(plain, type=dict[str, str])
        except UndecryptableError:
            log.exception("secret.undecryptable", destination_id=route.destination_id)
            return None
        keys = keys if route.asymmetric else []
        if not secrets or (route.asymmetric and not keys):  # nothing is ever sent unsigned
            log.error("secret.missing", destination_id=route.destination_id)
            return None
        sent = transcript.kept(__version__, secrets=len(secrets), keys=len(keys), own=headers)
        return Road(route.endpoint_url, headers, secrets, keys, sent, route.trace_context)
