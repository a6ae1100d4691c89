"""An installation whose every word is kept: its processes, and what they said and answered."""

import asyncio
import base64
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.security.needles import Haystack
from tests.tools.programs import Program, call, environment, free_port
from tests.world import until


@dataclass
class Site:
    """A web process and a worker on a database of their own, and all that they said."""

    folder: Path
    url: str
    queue: str = ""  # the broker, when it is not the database
    port: int = field(default_factory=free_port)
    keys: list[bytes] = field(default_factory=lambda: [secrets.token_bytes(32)])
    client: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)
    programs: list[Program] = field(default_factory=list)
    haystack: Haystack = field(default_factory=Haystack)
    broken: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.url,
            "QUEUE_URL": self.queue,
            "PORT": str(self.port),
            "EGRESS_ALLOW": "127.0.0.1/32",
            "RETRY_SCHEDULE": "0,0",
            "DELIVERY_TIMEOUT": "2",
            "SECRET_KEYS": ",".join(base64.b64encode(key).decode() for key in self.keys),
        }

    async def start(self, command: str, says: str, **more: str) -> Program:
        env = environment(**self.settings) | more
        program = Program(self.folder, (command,), env)
        self.programs.append(program)
        await asyncio.to_thread(program.wait_for, says)
        return program

    async def serve(self) -> httpx.AsyncClient:
        program = await self.start("serve", "listens on")
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=20
        )

        async def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await self.client.get("/health/live")).is_success
            assert program.process.poll() is None, program.output
            return False

        await until(answers, within_s=30)
        return self.client

    async def run(self, *arguments: str, stdin: str = "") -> str:
        """Run one command to its end; return what it printed."""
        done = await asyncio.to_thread(call, self.folder, *arguments, stdin=stdin, **self.settings)
        assert done.returncode == 0, done.stderr
        self.haystack.add(f"stderr of {arguments}", done.stderr)
        return done.stdout

    async def end(self) -> None:
        await self.client.aclose()
        for program in self.programs:
            program.end()


@contextlib.asynccontextmanager
async def site_of(url: str, folder: Path) -> AsyncIterator[Site]:
    if url.startswith("sqlite"):
        data = folder / "data"
        data.mkdir()
        shutil.move(url.removeprefix("sqlite:///"), data / "oneprotect.db")
        url = f"sqlite:///{data / 'oneprotect.db'}"
    site = Site(folder, url)
    try:
        yield site
    finally:
        await site.end()
