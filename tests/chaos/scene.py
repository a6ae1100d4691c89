"""What one fault needs: a receiver, a destination of its own, publishers, and the auditor."""

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx

from app.database import Database
from tests.behaviours import slow
from tests.chaos import report
from tests.chaos.ledger import Load, Reckoning, Record, api, reckon
from tests.chaos.pace import crowding
from tests.chaos.processes import Process
from tests.chaos.site import LEASE_S, Site
from tests.receiver import Receiver

#: A receiver this slow has something in flight at almost any instant.
ANSWER_S = 0.03
#: Beyond the lease: the sweep that follows it, and the sending.
SLACK_S = 2.0


class Scene:
    """One fault on one installation: what is published here goes to one destination, `lane`."""

    def __init__(
        self, site: Site, client: httpx.AsyncClient, receiver: Receiver, database: Database
    ) -> None:
        self.site = site
        self.client = client
        self.receiver = receiver
        self.database = database
        self.event_type = f"chaos.n{uuid4().hex[:12]}"
        self.record = Record(database, self.event_type)
        self.in_flight: Counter[str] = Counter()
        self.lane = ""

    def load(self, publishers: int = 4, gap_s: float = 0.02) -> Load:
        return Load(self.client, self.event_type, publishers=publishers, gap_s=gap_s)

    async def make_destination(self, url: str, event_type: str | None = None) -> str:
        body = {
            "name": event_type or self.event_type,
            "endpoint_url": url,
            "event_types": [event_type or self.event_type],
        }
        answer = await self.client.post("/api/v1/integrations/destinations", json=body)
        assert 201 == answer.status_code, answer.text
        return str(answer.json()["id"])

    async def remove_destination(self, destination_id: str) -> None:
        path = f"/api/v1/integrations/destinations/{destination_id}"
        answer = await self.client.delete(path)
        assert 204 == answer.status_code, answer.text

    async def note_in_flight(self) -> None:
        """Call while nothing can claim: what is leased now may arrive once more."""
        self.in_flight.update(await self.record.in_flight())

    async def reckon(self, load: Load, fault: str, recovery_s: float | None = None) -> Reckoning:
        """Hold the books against each other, and put the sum into the table."""
        total = await reckon(load, self.record, self.receiver.requests, self.in_flight)
        assert total.accepted > 0, "nothing was published: the fault was not tried"
        report.add(fault, self.site.engine, total, recovery_s)
        return total


def assert_recovered(recovery_s: float, start_s: float = 0.0) -> None:
    """A dead worker costs its lease, or the start of another one, and a little."""
    limit_s = (max(LEASE_S, start_s) + SLACK_S) * crowding()
    assert recovery_s <= limit_s, f"recovered after {recovery_s:.1f} s, not {limit_s:.1f} s"


class Idle:
    """What the processes of a site do while they should do nothing."""

    #: A loop without rest takes a whole core; a patient one next to nothing.
    MAX_CORE = 0.6
    MAX_LINES_PER_S = 10

    def __init__(self, site: Site) -> None:
        self._site = site
        self._began = time.monotonic()
        self._before = {p: (p.cpu_s, len(facts(p))) for p in site.all}

    def assert_quiet(self, asked: int = 0) -> None:
        """No process ran hot or flooded its log; a request that was refused may cost one line."""
        passed_s = time.monotonic() - self._began
        for process, (cpu_s, lines) in self._before.items():
            used = (process.cpu_s - cpu_s) / passed_s
            assert used < self.MAX_CORE, f"{process.name} used {used:.0%} of a core"
            said = facts(process)[lines:]
            allowed = self.MAX_LINES_PER_S * passed_s + (asked if process.command == "serve" else 0)
            assert len(said) <= allowed, "\n".join(said[:40])


def facts(process: Process) -> list[str]:
    """Return the log's lines; a traceback counts as its head and its end."""
    return [
        one for one in process.output.splitlines() if one[:1].strip() and one[:9] != "Traceback"
    ]


@contextlib.asynccontextmanager
async def scene_at(site: Site) -> AsyncIterator[Scene]:
    """Set a scene on a healed site, and leave nothing behind that is still owed."""
    await site.heal()
    database = Database(site.database_url)
    try:
        async with (
            Receiver(slow(ANSWER_S)) as receiver,
            api(site.base_url) as client,
        ):
            scene = Scene(site, client, receiver, database)
            scene.lane = await scene.make_destination(receiver.url)
            yield scene
            await scene.remove_destination(scene.lane)
    finally:
        await database.close()
