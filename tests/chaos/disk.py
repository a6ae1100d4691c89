"""Disks that are full: a small one of our own where root may mount one, else a quota."""

import contextlib
import errno
import os
import resource
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import pace
from tests.chaos.site import Site

#: Less than the file has already: the next page that is written beyond it does not fit.
QUOTA_BYTES = 65_536


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a file system of a few megabytes there; False when this machine does not let us."""
    size = f"size={64 + int(16 * pace.minutes)}m"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    mounted = done.returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def ways_to_fill() -> list[str]:
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder)) as mounted:
        return ["quota", "no space"] if mounted else ["quota"]


@contextlib.contextmanager
def no_space(site: Site) -> Iterator[None]:
    """Fill the disk that the database stands on, to the last byte."""
    with contextlib.closing(sqlite3.connect(site.database_file, timeout=5)) as connection:
        # What the log has to spare would take a few more writes.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ballast = site.database_file.with_name("ballast")
    try:
        with ballast.open("wb", buffering=0) as file:
            _write_until_full(file.fileno())
        yield
    finally:
        ballast.unlink()


def _write_until_full(file: int) -> None:
    for piece in (1 << 20, 1 << 12):
        with contextlib.suppress(OSError):
            while True:
                os.posix_fallocate(file, os.fstat(file).st_size, piece)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        os.pwrite(file, b"x", os.fstat(file).st_size)


@contextlib.contextmanager
def quota(site: Site) -> Iterator[None]:
    """Let no file grow any more in these processes; the kernel refuses as a full disk does."""
    limits = {p.pid: resource.prlimit(p.pid, resource.RLIMIT_FSIZE) for p in site.all}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (QUOTA_BYTES, hard))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
