"""CPU time and memory of processes, as Linux counts them; None on other systems."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psycopg

_PROC: Final = Path("/proc")
# proc(5), counted from the field after the command's name in brackets.
_PARENT: Final = 1
_TIMES: Final = slice(11, 15)  # utime, stime, and those of the children that have ended


def cpu_seconds(pids: Iterable[int], server: int | None = None) -> float | None:
    """Return the CPU time of the processes, and of a database server with all its children."""
    if not _PROC.exists():
        return None
    counted = [*pids, *(() if server is None else (server, *_children(server)))]
    return sum(map(_cpu, counted))


def peak_rss_mb(pids: Iterable[int]) -> float | None:
    """Return the high-water mark of the largest of the processes."""
    peaks = [peak for pid in pids if (peak := _memory(pid, "VmHWM:"))]
    return round(max(peaks) / 1024, 1) if peaks else None


def rss_mb(pid: int) -> float | None:
    """Return the memory of a process now."""
    found = _memory(pid, "VmRSS:")
    return round(found / 1024, 1) if found else None


def postmaster(database_url: str) -> int | None:
    """Return the process id of the PostgreSQL server, if it runs on this machine."""
    with psycopg.connect(database_url) as connection:
        backend = connection.info.backend_pid
        # A server elsewhere, or in a container, has ids that mean other processes here.
        if not _name(backend).startswith("postgres"):
            return None
        return int(_stat(backend)[_PARENT])


def _children(pid: int) -> list[int]:
    others = [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]
    return [one for one in others if _stat(one)[_PARENT : _PARENT + 1] == [str(pid)]]


def _cpu(pid: int) -> float:
    return sum(map(int, _stat(pid)[_TIMES])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Return the fields after the name; none for a process that is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "comm").read_text()
    except OSError:
        return ""


def _memory(pid: int, field: str) -> int | None:
    """Return a field of the process's memory in KiB."""
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), None)
