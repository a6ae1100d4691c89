"""What both faces are given: the database, the keys, the egress rules, the bell and the hub."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec
import structlog
from saq.queue.base import Queue
from sqlalchemy.ext.asyncio import AsyncSession

from app.crypto import Keyring
from app.database import Database
from app.deliveries.fanout import Accepted, accept
from app.deliveries.store import Store
from app.destinations.rules import Egress
from app.errors import Conflict
from app.events.gate import SchemaGate, Verdict
from app.events.intake import NewEvent
from app.identity.sign_on import SignOn
from app.live import LiveHub
from app.observability import metrics
from app.observability.tracing import Tracing
from app.settings import Settings
from app.wakeup import Bell

log = structlog.get_logger(__name__)


class Services:
    """One per web process; handlers get it as the dependency `services`.

    A plain class: msgspec would walk into the fields of a dataclass at every injection.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        store: Store,
        keyring: Keyring,
        egress: Egress,
        bell: Bell,
        hub: LiveHub,
        queue: Queue,
        tracing: Tracing | None = None,
        sign_on: SignOn | None = None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.store = store
        self.keyring = keyring
        self.egress = egress
        self.bell = bell
        self.hub = hub
        self.schemas = SchemaGate(database)
        self.queue = queue
        self.tracing = tracing
        self.sign_on = sign_on

    def absolute(self, asked: str, path: str) -> str:
        """Return a page's address on the host that was asked; https where cookies demand it."""
        parts = urlsplit(asked)
        scheme = "https" if self.settings.secure_cookies else parts.scheme
        return f"{scheme}://{parts.netloc}{path}"

    def refuse_without_passwords(self) -> None:
        """Raise Conflict where nobody may have a password, and an invite would lead nowhere."""
        if not self.settings.local_accounts:
            raise Conflict("Passwords are switched off here: people come in by single sign-on.")

    @contextlib.asynccontextmanager
    async def change(self, tenant_id: str) -> AsyncIterator[AsyncSession]:
        """Yield a transaction; after its commit tell the tenant's watchers and wake the workers."""
        async with self.database.transaction(tenant_id) as session:
            yield session
        self.bell.changed({tenant_id})
        self.bell.ring()

    async def publish(
        self,
        events: Sequence[NewEvent],
        *,
        by_platform: bool,
        batch: bool,
        caller: str | None = None,
    ) -> list[Accepted]:
        """Keep all events with their deliveries, or none; on return they are on the disk.

        `caller` is the publisher's own trace context, which goes on in ours.
        """
        verdicts = await self.schemas.judge(events, by_platform=by_platform, batch=batch)
        if self.tracing is None:
            return await self._publish(events, verdicts)
        with self.tracing.publishing(caller, len(events)) as trace:
            if trace:
                events = [msgspec.structs.replace(event, trace=trace) for event in events]
            return await self._publish(events, verdicts)

    async def _publish(
        self, events: Sequence[NewEvent], verdicts: Mapping[str, Verdict]
    ) -> list[Accepted]:
        async with self.database.begin() as c:
            answers = await accept(c, self.store, events, verdicts)
        if fresh := sum(not answer.duplicate for answer in answers):
            metrics.events_accepted.inc(fresh)
            log.debug("events.accepted", events=[a.id for a in answers if not a.duplicate])
            self.bell.changed({event.tenant_id for event in events})
            self.bell.ring()
        return answers
