"""The progress bar: on a terminal only, and only for what takes long."""

import os
import pty
import subprocess
import sys

from tests.tools.programs import environment

SCRIPT = """
import sys, time
from app.cli.patience import patience
with patience("Migrating") as tell:
    tell(1, 2)
    time.sleep(float(sys.argv[1]))
"""


def on_terminal(seconds: str) -> str:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SCRIPT, seconds]
    process = subprocess.Popen(command, stderr=theirs, env=environment())
    os.close(theirs)
    shown = b""
    try:
        while more := os.read(ours, 4096):
            shown += more
    except OSError:  # how Linux says that the other side of a terminal was closed
        pass
    os.close(ours)
    assert process.wait(20) == 0
    return shown.decode()


def test_after_two_seconds_a_terminal_sees_a_bar() -> None:
    assert "Migrating" in on_terminal("2.6")


def test_what_is_quick_shows_nothing() -> None:
    assert on_terminal("0.1") == ""


def test_a_file_or_pipe_never_sees_a_bar() -> None:
    command = [sys.executable, "-c", SCRIPT, "2.6"]
    done = subprocess.run(command, capture_output=True, env=environment(), check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
