"""The world of a test: two tenants, each role in each, the API, a worker's engine, receivers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from litestar.datastructures import State
from sqlalchemy import update

from app.asgi import create_app, state_of
from app.audit.models import SYSTEM
from app.crypto import Keyring
from app.database import Database
from app.database.migrate import migrate
from app.deliveries.engine import Engine
from app.identity import demo, service
from app.identity.models import Member
from app.identity.permissions import Role
from app.observability.tracing import Tracing
from app.runtime import egress_of, keyring_of
from app.sending.transport import Sender
from app.services import Services
from app.settings import Settings
from app.wakeup import Bell
from app.worker import Office

TOKENS = {
    "acme_admin": "op_local_acme_admin",
    "acme_operator": "op_local_acme_operator",
    "acme_auditor": "op_local_acme_auditor",
    "globex_admin": "op_local_globex_admin",
    "globex_operator": "op_local_globex_operator",
    "globex_auditor": "op_local_globex_auditor",
    "platform": "op_local_platform",
}
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
LOOPBACK = "127.0.0.0/8"


class World:
    """What a test reaches for. `as_(who)` asks the API with that one's token."""

    def __init__(self, app: Litestar, client: httpx.AsyncClient, url: str) -> None:
        self.app = app
        self.client = client
        self.url = url
        #: Who hears the bell of the API, as a worker's process does through the broker.
        self.listening: list[Callable[[], None]] = []

    @property
    def services(self) -> Services:
        found: Services = self.app.state.services
        return found

    @property
    def settings(self) -> Settings:
        return self.services.settings

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def keyring(self) -> Keyring:
        return self.services.keyring

    def as_(self, who: str) -> "Caller":
        return Caller(self.client, TOKENS[who])

    async def make_destination(
        self, url: str, who: str = "acme_admin", **fields: Any
    ) -> dict[str, Any]:
        """Create a destination and return the API's answer, secret included."""
        body = {"name": "Tenant SOC webhook", "endpoint_url": url} | fields
        answer = await self.as_(who).post("/integrations/destinations", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def publish(
        self, who: str = "acme_admin", event_type: str = "alert.created", **fields: Any
    ) -> dict[str, Any]:
        body = {"type": event_type, "data": {"severity": "high"}} | fields
        answer = await self.as_(who).post("/events", json=body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def deliveries(self, who: str = "acme_admin", **filters: Any) -> list[dict[str, Any]]:
        answer = await self.as_(who).get("/integrations/deliveries", params=filters)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def delivery(self, delivery_id: str, who: str = "acme_admin") -> dict[str, Any]:
        answer = await self.as_(who).get(f"/integrations/deliveries/{delivery_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    @contextlib.asynccontextmanager
    async def worker(
        self, *, tracing: Tracing | None = None, **settings: Any
    ) -> AsyncIterator[Engine]:
        """Run a worker's engine of its own beside the API, with other settings if given."""
        import msgspec

        changed = msgspec.structs.replace(self.settings, **settings)
        database = Database(self.url, durable=False)
        sender = Sender(
            egress_of(changed).policy,
            timeout_s=changed.delivery_timeout,
            resolver=self.services.egress.resolver,
        )

        bell = Bell(database, queue=None)
        office = Office(changed, database, sender, keyring_of(changed), bell, tracing)
        task = asyncio.create_task(office.engine.run())
        self.listening.append(office.engine.wake)
        try:
            yield office.engine
        finally:
            self.listening.remove(office.engine.wake)
            office.engine.stop()
            await task
            await bell.close()
            await sender.aclose()
            await database.close()

    async def until(
        self, condition: Callable[[], Awaitable[Any]], *, within_s: float = 10.0
    ) -> Any:
        """Return what the condition returns once it is true; fail when it takes too long."""
        return await until(condition, within_s=within_s)


class Caller:
    """The API, asked by one token."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = self._headers | dict(more.pop("headers", {}))
        return await self._client.request(method, f"/api/v1{path}", headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("GET", path, **more)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("POST", path, **more)

    async def patch(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("PATCH", path, **more)

    async def delete(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("DELETE", path, **more)


async def until(condition: Callable[[], Awaitable[Any]], *, within_s: float = 10.0) -> Any:
    loop = asyncio.get_running_loop()
    ends = loop.time() + within_s
    while True:
        if found := await condition():
            return found
        assert loop.time() < ends, f"still not true after {within_s} s: {condition}"
        await asyncio.sleep(0.02)


def settings_for(url: str, **more: str) -> Settings:
    environ: Mapping[str, str] = {
        "ONEPROTECT_DATABASE_URL": url,
        "ONEPROTECT_EGRESS_ALLOW": LOOPBACK,
        "ONEPROTECT_RETRY_SCHEDULE": "0,0,0",
        "ONEPROTECT_DELIVERY_TIMEOUT": "2",
        "ONEPROTECT_SECRET_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }
    return Settings.from_env(environ | more)


async def build(url: str) -> None:
    """Migrate an empty database and seed it: the demo, and the roles that the demo lacks."""
    database = Database(url)
    await migrate(database)
    await demo.seed(database)
    async with database.transaction() as session:
        for role, token in ((Role.OPERATOR, "globex_operator"), (Role.AUDITOR, "globex_auditor")):
            await service.create_token(
                session, tenant_id="globex", name=token, role=role, actor=SYSTEM,
                text=TOKENS[token],
            )  # fmt: skip
        # A hash says itself what it costs to compare; with the product's own cost, most of what a
        # test of a page does would be one sign-in.
        await session.execute(update(Member).values(password_hash=QUICK.hash(demo.DEMO_PASSWORD)))
    await database.close()


@contextlib.asynccontextmanager
async def open_world(url: str, **more: str) -> AsyncIterator[World]:
    """Serve the API over a database that `build` made."""
    settings = settings_for(url, **more)
    # Its routes take longer to build than most tests take: what keeps nothing is used again.
    app = _spare.pop() if _spare else create_app(settings)
    app.state = state_of(settings)
    # In the test's own loop, so that a test may use the app's services directly.
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # Litestar is an ASGI app
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://testserver") as client,
    ):
        world = World(app, client, url)
        ring = world.services.bell.ring

        def ring_here() -> None:
            ring()
            for wake in world.listening:
                wake()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(world.services.bell, "ring", ring_here)
            yield world
    app.state = State()
    _spare.append(app)


#: Applications that no world holds; one whose world ended badly is not used again.
_spare: list[Litestar] = []
