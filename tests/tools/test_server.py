"""A server stops soon, quietly, and in the right order."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from app.tools.server import GRACE_S
from tests.tools.programs import client, environment

#: `/stream` ends when it is asked to; `/hang` never does.
SCRIPT = """
import asyncio
from app.tools import ports, server

over = asyncio.Event()

async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello", "more_body": True})
    await (over.wait() if scope["path"] == "/stream" else asyncio.Event().wait())
    await send({"type": "http.response.body", "body": b"bye"})

async def before_stop():
    over.set()

sock = ports.listen("127.0.0.1", 0, setting="--port")
print(ports.address(sock), flush=True)
server.run(application, sock, lifespan="off", before_stop=before_stop)
print("done", flush=True)
"""


def stop_during(folder: Path, path: str, how: signal.Signals) -> tuple[float, int, str, str, bytes]:
    """Return how long the stop took, the exit code, stdout, stderr and the rest of the answer."""
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    with client(program.stdout.readline().strip()) as http, http.stream("GET", path) as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"hello"
        program.send_signal(how)
        began = time.monotonic()
        rest = b""
        with contextlib.suppress(httpx.RemoteProtocolError):
            rest = b"".join(parts)
    out, errors = program.communicate(timeout=20)
    return time.monotonic() - began, program.returncode, out, errors, rest


def test_a_stream_is_ended_before_the_stop_waits_for_it(tmp_path: Path) -> None:
    took, code, out, errors, rest = stop_during(tmp_path, "/stream", signal.SIGINT)
    assert (code, out, rest) == (0, "done\n", b"bye")
    assert took < GRACE_S
    assert errors == ""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_hanging_request_is_cut_after_the_grace_without_a_traceback(
    tmp_path: Path, how: signal.Signals
) -> None:
    took, code, _, errors, _ = stop_during(tmp_path, "/hang", how)
    assert code == 0
    assert GRACE_S - 1 < took < GRACE_S + 3
    assert "Traceback" not in errors
