"""The product's own processes, started as an operator starts them, and ended whatever happens."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from app.settings import PREFIX, Settings
from app.tools.bench.plan import BenchError
from app.tools.supervisor import ROOT, answers

START_S: Final = 60.0
#: An operator may measure other values of these.
TUNABLE: Final = (
    "MAX_IN_FLIGHT",
    "MAX_IN_FLIGHT_PER_DESTINATION",
    "DELIVERY_TIMEOUT",
    "TRACING_RATIO",
)


#: A collector of this shell's has nothing to do with a measurement.
OTEL: Final = "OTEL_"


class Fleet:
    """Web and workers over one scratch database."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    @property
    def pids(self) -> list[int]:
        return [process.pid for _, process in self._processes]

    async def start_web(self, settings: Settings) -> None:
        """Return when it answers."""
        self._start("serve")
        await self.until(lambda: answers(settings, time.monotonic() + 1), "the web process answers")

    def start_workers(self, count: int) -> None:
        for _ in range(count):
            self._start("worker")

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Return once it holds; BenchError when one of the processes ends or it takes too long."""
        deadline = time.monotonic() + START_S
        while not await asyncio.to_thread(holds):
            self.check()
            if time.monotonic() > deadline:
                raise BenchError(f"waited {START_S:.0f} s in vain until {what}")
            await asyncio.sleep(0.05)

    def check(self) -> None:
        """Raise BenchError with the last words of a process that has ended by itself."""
        for name, process in self._processes:
            if process.poll() is not None:
                words = self._log(name).read_text(errors="replace").strip().splitlines()
                raise BenchError(f"{name} ended: {words[-1] if words else process.returncode}")

    def stop(self) -> None:
        """End them at once: the figures are in, and nobody will read this database again."""
        for _, process in self._processes:
            process.kill()
        for _, process in self._processes:
            process.wait()
        self._processes.clear()

    def _start(self, command: str) -> None:
        with self._log(command).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter, our own module
                [sys.executable, "-P", "-m", "app", command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to pass on
            )
        self._processes.append((command, process))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


@contextlib.contextmanager
def fleet(folder: Path, own: Mapping[str, str]) -> Iterator[Fleet]:
    """Yield a fleet whose settings are `own` and none of this shell's."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith((PREFIX, OTEL))}
    path = [str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    running = Fleet(folder, inherited | {"PYTHONPATH": os.pathsep.join(path)} | dict(own))
    try:
        yield running
    finally:
        running.stop()


def environment(
    database_url: str,
    *,
    web_port: int,
    egress_allow: str,
    secret_key: str,
    metrics: bool = True,
    collector_url: str | None = None,
) -> dict[str, str]:
    """Return the settings of a fleet, with the tunable ones of this shell."""
    own = {
        "DATABASE_URL": database_url,
        "PORT": str(web_port),
        "EGRESS_ALLOW": egress_allow,
        "SECRET_KEYS": secret_key,
        "METRICS": str(metrics).lower(),
        "TRACING": str(collector_url is not None).lower(),
    }
    tuned = {name: os.environ[PREFIX + name] for name in TUNABLE if PREFIX + name in os.environ}
    named = {PREFIX + name: value for name, value in (own | tuned).items()}
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector_url} if collector_url else {}
    return named | collector
