"""Runs the real command line in a fresh process, with a clock that the test may turn.

Imported once by a fork server, so that a process is up in tenths of a second; each process is
forked before anything ran in it, and shares nothing with the others.
"""

import mmap
import os
import struct
import time
from datetime import datetime, timedelta
from pathlib import Path

from app import database
from app.database import base

real_time, real_utcnow = time.time, base.utcnow
_clock: mmap.mmap | None = None


def wrong_by() -> float:
    """Return the seconds by which this process's clock is wrong."""
    return float(struct.unpack("d", _clock)[0]) if _clock else 0.0


def wrong_utcnow() -> datetime:
    return real_utcnow() + timedelta(seconds=wrong_by())


# Before anything else of ours is imported: the modules bind these names.
time.time = lambda: real_time() + wrong_by()
time.time_ns = lambda: int(time.time() * 1e9)
database.utcnow = base.utcnow = wrong_utcnow

from app import __main__, asgi, cli, worker  # noqa: E402, F401
from app.cli import processes  # noqa: E402, F401
from app.deliveries import engine  # noqa: E402

#: Sized for production; a test would wait too long for them.
PATIENCE = ("LEASE_MARGIN_S", "START_MARGIN_S", "SHUTDOWN_GRACE_S")


def run(command: str, env: dict[str, str], folder: Path, log: Path, clock: Path) -> None:
    """Become `oneprotect COMMAND` in that folder and environment."""
    global _clock  # noqa: PLW0603
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    with clock.open("r+b") as file:
        _clock = mmap.mmap(file.fileno(), 8)
    for constant in PATIENCE:
        assert hasattr(engine, constant), f"the engine has no {constant} any more"
        setattr(engine, constant, float(env[f"CHAOS_{constant}"]))
    raise SystemExit(cli.run([command]))
