"""The processes of an installation, as things that can be killed, frozen and measured."""

import asyncio
import multiprocessing
import os
import signal
import struct
import time
from pathlib import Path

from tests.chaos import launcher
from tests.tools.programs import environment

TICKS = os.sysconf("SC_CLK_TCK")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", launcher.__name__])


class Process:
    """One `oneprotect serve` or `worker` of its own session, with its log in a file."""

    def __init__(self, folder: Path, name: str, command: str, env: dict[str, str]) -> None:
        self.name = name
        self.command = command
        self.port = int(env["ONEPROTECT_PORT"])
        self.log = folder / f"{name}.log"
        self._clock = folder / f"{name}.clock"
        self._clock.write_bytes(struct.pack("d", 0.0))
        self.log.touch()
        self._process = FORKS.Process(
            target=launcher.run,
            args=(command, environment() | env, folder, self.log, self._clock),
            daemon=True,  # nothing outlives the test run
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def peak_mb(self) -> float:
        """The most memory it held since `forget_peak`."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def set_clock(self, wrong_by_s: float) -> None:
        """Put this process's clock wrong by so many seconds, at once."""
        with self._clock.open("r+b") as file:  # in place: the process has it mapped
            file.write(struct.pack("d", wrong_by_s))

    def kill(self) -> None:
        """kill -9: no handler runs, nothing is flushed."""
        self._process.kill()
        self._process.join(10)
        assert not self.alive

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def code(self, within_s: float = 10.0) -> int | None:
        """Return its exit code once it has ended."""
        await asyncio.to_thread(self._process.join, within_s)
        return self._process.exitcode

    async def stop(self) -> float:
        """SIGTERM; return the seconds it took to end, with code 0."""
        began = time.monotonic()
        self._process.terminate()
        code = await self.code()
        assert 0 == code, f"{self.name} ended with {code}:\n{self.output}"
        return time.monotonic() - began

    async def says(self, text: str, within_s: float = 20.0) -> None:
        """Wait until its log holds the text."""
        ends = time.monotonic() + within_s
        while text not in self.output:
            assert self.alive, f"{self.name} ended before it said {text!r}:\n{self.output}"
            assert time.monotonic() < ends, f"{self.name} never said {text!r}:\n{self.output}"
            await asyncio.sleep(0.02)

    def end(self) -> None:
        """Be gone, whatever it takes."""
        if self.alive:
            self.kill()
