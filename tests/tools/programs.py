"""Start the real command line in a folder and an environment of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30.0


def environment(**values: str) -> dict[str, str]:
    """Ours without any setting or proxy; then `ENV="dev"` becomes `ONEPROTECT_ENV=dev`."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ONEPROTECT_", "OP_")) and "proxy" not in name.lower()
    }
    settings = {f"ONEPROTECT_{name}": value for name, value in values.items()}
    return own | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | settings


def call(
    folder: Path, *arguments: str, stdin: str = "", extra: dict[str, str] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "app", *arguments],
        cwd=folder,
        env=environment(**env) | (extra or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Program:
    """A command that runs on; its output is read line by line in the background."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "app", *arguments],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str) -> str:
        """Return the first line that holds the text."""
        eventually(lambda: any(text in line for line in self.lines) or self._gone(text))
        return next(line for line in self.lines if text in line)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Send the signal; return the exit code once everything has ended."""
        self.process.send_signal(how)
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._reader.join(DEADLINE_S)
        assert self.process.stdout
        self.process.stdout.close()

    def _gone(self, text: str) -> bool:
        if self.process.poll() is not None and not self._reader.is_alive():
            raise AssertionError(f"ended before it said {text!r}:\n{self.output}")
        return False

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))  # seen while it grows


@contextlib.contextmanager
def running(folder: Path, *arguments: str, **env: str) -> Iterator[Program]:
    program = Program(folder, arguments, environment(**env))
    try:
        yield program
    finally:
        program.end()


def eventually(holds: Callable[[], object], within_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def client(base_url: str) -> httpx.Client:
    return httpx.Client(base_url=base_url, trust_env=False, timeout=10)
