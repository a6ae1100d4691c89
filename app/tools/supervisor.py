"""Run several processes as one: they start together, and when one ends, all end."""

import contextlib
import http.client
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from honcho.environ import parse_procfile
from honcho.manager import SYSTEM_PRINTER_NAME, Manager
from honcho.printer import Message, Printer

from app.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]
PROCFILE: Final = ROOT / "Procfile"
START_DEADLINE_S: Final = 60.0
NOTICE: Final = "notice"


def commands() -> dict[str, str]:
    """Return the long-running processes of the Procfile, called through this very interpreter."""
    parsed = parse_procfile(PROCFILE.read_text("utf-8"))  # type: ignore[no-untyped-call]
    return {name: own_command(line) for name, line in parsed.processes.items() if name != "release"}


def own_command(line: str) -> str:
    """`oneprotect …` as it also works where it is not on the PATH."""
    word, _, rest = line.partition(" ")
    # -P: a folder named `app` where the user stands must not be taken for ours.
    return f"{shlex.quote(sys.executable)} -P -m app {rest}" if word == "oneprotect" else line


def run(
    processes: Mapping[str, str], env: Mapping[str, str], settings: Settings, notice: str
) -> str | None:
    """Run until a signal (returns None) or until one process fails (returns the line about it).

    `notice` is printed as soon as the web process answers.
    """
    path = [str(ROOT), *filter(None, [env.get("PYTHONPATH")])]
    child_env = {**env, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
    screen = Screen()
    manager: Any = Manager(printer=screen)  # type: ignore[no-untyped-call]
    for name, command in processes.items():
        manager.add_process(name, command, env=child_env)

    def announce() -> None:
        if answers(settings, time.monotonic() + START_DEADLINE_S):
            manager.events.put(Message("line", notice, datetime.now().astimezone(), NOTICE, None))
        else:
            screen.fault = f"web did not answer within {START_DEADLINE_S:.0f} s"
            os.kill(os.getpid(), signal.SIGTERM)

    screen.on_start = announce
    # A closed terminal must not leave the children behind: they have sessions of their own.
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    manager.loop()
    return screen.fault


class Screen:
    """What honcho writes to: shows the children's lines, and reads its reports about them."""

    def __init__(self) -> None:
        self.width = 0  # honcho sets it to the longest name
        self.fault: str | None = None
        self.on_start: Callable[[], None] | None = None
        self._stopping = False
        self._printer: Any = Printer(sys.stdout)  # type: ignore[no-untyped-call]

    def write(self, message: Message) -> None:
        # A terminal that was closed must not keep us from stopping the children.
        with contextlib.suppress(OSError):
            self._write(message)

    def _write(self, message: Message) -> None:
        if message.name == NOTICE:
            click.echo(message.data)
        elif message.name == SYSTEM_PRINTER_NAME:
            self._hear(message.data)
        else:
            self._printer.width = self.width
            self._printer.write(message)

    def _hear(self, report: str) -> None:
        if " started " in report and self.on_start:
            # The first report comes after the last fork: a thread is safe from here on.
            threading.Thread(target=self.on_start, daemon=True).start()
            self.on_start = None
        elif " received" in report and not self._stopping:
            self._stopping = True
            click.echo("Stopping …")
        elif (stop := re.match(r"(\S+) stopped \(rc=(-?\d+)\)", report)) and not self._stopping:
            self._stopping = True
            self.fault = f"{stop[1]} ended by itself (code {stop[2]}); everything was stopped"


def answers(settings: Settings, deadline: float) -> bool:
    """Whether the web process says it lives before `deadline` (of the monotonic clock)."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(host, settings.port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            if connection.getresponse().status == http.client.OK:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    return False
