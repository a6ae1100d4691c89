"""One installation on one engine: a database, a web process and two workers, all expendable."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.chaos.pace import crowding
from tests.chaos.processes import Process
from tests.postgres import Server
from tests.tools.programs import free_port

#: A short lease, so that a dead worker's deliveries come back while a test waits.
TIMEOUT_S = 1.0
MARGIN_S = min(4.0, crowding())  # a live worker that gets no core must not be taken for dead
LEASE_S = TIMEOUT_S + MARGIN_S
#: Shorter than an attempt may take, so that a stop gives something back.
GRACE_S = 0.4
WORKERS = ("worker-1", "worker-2")

on_sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("site", ["postgresql"], indirect=True)


class Site:
    """Started whole; `heal` brings back whatever a fault took away."""

    def __init__(self, engine: str, folder: Path, url: str, server: Server | None = None) -> None:
        self.engine = engine
        self.folder = folder
        self.database_url = url
        self.server = server
        self.port = free_port()
        self.env = {
            "ONEPROTECT_DATABASE_URL": url,
            "ONEPROTECT_PORT": str(self.port),
            "ONEPROTECT_EGRESS_ALLOW": "127.0.0.0/8",
            "ONEPROTECT_RETRY_SCHEDULE": "1,1,1,1,1,1,1,1,1",
            "ONEPROTECT_DELIVERY_TIMEOUT": str(TIMEOUT_S),
            "ONEPROTECT_SECRET_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "CHAOS_LEASE_MARGIN_S": str(MARGIN_S),
            "CHAOS_START_MARGIN_S": "0.4",
            "CHAOS_SHUTDOWN_GRACE_S": str(GRACE_S),
        }
        self._processes: dict[str, Process] = {}
        self._born = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_file(self) -> Path:
        return Path(self.database_url.removeprefix("sqlite:///"))

    @property
    def web(self) -> Process:
        return self._processes["web"]

    @property
    def workers(self) -> list[Process]:
        return [self._processes[name] for name in WORKERS]

    @property
    def all(self) -> list[Process]:
        """What an installation is made of; heal keeps it whole."""
        return [self.web, *self.workers]

    def start(self, name: str, command: str = "", **env: str) -> Process:
        """Start the process of that name; an earlier one is forgotten, its log is kept."""
        self._born += 1
        command = command or ("serve" if name == "web" else "worker")
        process = Process(self.folder, f"{self._born:02d}-{name}", command, self.env | env)
        self._processes[name] = process
        return process

    async def heal(self) -> None:
        """Bring back every process that is missing, and set every clock right."""
        self.restart()
        for process in self.all:
            process.thaw()
            process.set_clock(0.0)
        await asyncio.gather(*(self.ready(process) for process in self.all))

    def restart(self, **env: str) -> None:
        """Start every process that is missing, and wait for none."""
        for name in ("web", *WORKERS):
            process = self._processes.get(name)
            if process is None or not process.alive:
                self.start(name, **env)

    async def ready(self, process: Process) -> None:
        """Wait until a started process does its work."""
        if process.command == "worker":
            await process.says("worker.started")
            return
        await process.says("listens on")
        ends = time.monotonic() + 20
        url = f"http://127.0.0.1:{process.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/health/live")).is_success:
                        return
                assert process.alive, process.output
                assert time.monotonic() < ends, process.output
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Hold the workers still, until what they had asked of the database is done too."""
        try:
            for worker in self.workers:
                await self.freeze(worker)
            yield
        finally:
            for worker in self.workers:
                worker.thaw()

    async def freeze(self, worker: Process) -> None:
        """Stop it where it stands, but not as the owner of SQLite's one lock."""
        while True:
            worker.freeze()
            await asyncio.sleep(0.03)
            if self.server or not self._is_locked():
                return
            worker.thaw()
            await asyncio.sleep(0.005)

    def _is_locked(self) -> bool:
        with contextlib.closing(sqlite3.connect(self.database_file, timeout=0.1)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.rollback()
            return False

    def end(self) -> None:
        for process in self._processes.values():
            process.end()


@contextlib.contextmanager
def ended(site: Site) -> Iterator[Site]:
    """Whatever happens in the block, no process outlives it."""
    try:
        yield site
    finally:
        site.end()
