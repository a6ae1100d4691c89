"""`oneprotect up` from an empty folder to a verified webhook, and back to nothing running."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.tools.programs import Program, call, client, environment, eventually, free_port

ADMIN = {"Authorization": "Bearer op_local_acme_admin"}
STOP_WITHIN_S = 8.0

pytestmark = pytest.mark.timeout(180)


class Installation:
    """A folder, its ports, and a mark by which all its processes are known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid4().hex
        self.port, self.receiver_port = free_port(), free_port()
        self.web = client(f"http://127.0.0.1:{self.port}")
        self.receiver = client(f"http://127.0.0.1:{self.receiver_port}")

    @contextmanager
    def up(self) -> Iterator[Program]:
        env = environment(PORT=str(self.port)) | {"UP_MARK": self.mark}
        options = ("up", "--receiver-port", str(self.receiver_port))
        program = Program(self.folder, options, env)
        try:
            program.wait_for("Ctrl-C stops everything")
            yield program
        finally:
            program.end()
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)

    def pids(self, *, running: str = "") -> list[int]:
        """Processes of this installation that still run, those of one command if given."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                ours = f"UP_MARK={self.mark}".encode() in (folder / "environ").read_bytes()
                line = (folder / "cmdline").read_bytes().decode().split("\0")
            except (OSError, UnicodeDecodeError):
                continue
            if ours and (not running or running in line):
                found.append(int(folder.name))
        return found

    def publish(self) -> str:
        done = call(
            self.folder,
            *("publish", "--tenant", "acme", "--type", "alert.created"),
            *("--data", '{"severity": "high"}'),
            PORT=str(self.port),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        self.web.close()
        self.receiver.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    installation.close()


def test_one_command_leads_from_nothing_to_a_verified_webhook(here: Installation) -> None:
    with here.up() as program:
        for said in (f"http://127.0.0.1:{here.port}/", "admin@acme.example", "op_local_platform"):
            assert said in program.output
        assert here.web.get("/health/live").status_code == 200
        assert here.web.get("/api/docs").status_code == 200
        made = here.web.post(
            "/api/v1/integrations/destinations",
            json={
                "name": "Mine",
                "endpoint_url": f"http://127.0.0.1:{here.receiver_port}/",
            },
            headers=ADMIN,
        )
        assert made.status_code == 201, made.text
        here.publish()
        eventually(lambda: here.receiver.get("/api/requests").json()["items"])
        secret = made.json()["signing_secret"]
        here.receiver.post("/secrets", data={"secret": secret})
        (arrived,) = here.receiver.get("/api/requests").json()["items"]
        assert arrived["verified"] is True
        assert arrived["headers"]["x-oneprotect-event"] == "alert.created"
        assert secret not in program.output
        assert program.stop() == 0
    assert "Traceback" not in program.output


def test_ctrl_c_leaves_nothing_behind_even_with_open_requests(here: Installation) -> None:
    with here.up() as program, socket.create_connection(("127.0.0.1", here.port)) as hanging:
        hanging.sendall(
            b"POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer op_local_platform\r\nContent-Length: 100\r\n\r\n{"
        )
        assert len(here.pids()) >= 4
        began = time.monotonic()
        assert program.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < STOP_WITHIN_S
        eventually(lambda: not here.pids(), within_s=2)
    assert program.lines[-1] == "Stopped."
    assert "Traceback" not in program.output


def test_a_second_up_is_quick_and_keeps_the_data(here: Installation) -> None:
    destination = {"name": "Kept", "endpoint_url": f"http://127.0.0.1:{here.receiver_port}/"}
    with here.up() as program:
        made = here.web.post("/api/v1/integrations/destinations", json=destination, headers=ADMIN)
        assert made.status_code == 201, made.text
        assert program.stop(signal.SIGTERM) == 0
    began = time.monotonic()
    with here.up() as program:
        assert time.monotonic() - began < 20
        listed = here.web.get("/api/v1/integrations/destinations", headers=ADMIN).json()["items"]
        assert [one["name"] for one in listed] == ["Kept"]
        assert program.stop() == 0


def test_when_the_worker_dies_everything_stops_and_it_is_named(here: Installation) -> None:
    with here.up() as program:
        (worker,) = here.pids(running="worker")
        os.kill(worker, signal.SIGKILL)
        assert program.process.wait(STOP_WITHIN_S + 5) == 1
        eventually(lambda: not here.pids(), within_s=2)
        program.end()
    assert re.search(r"oneprotect: worker ended by itself \(code -?\d+\)", program.output)


def test_the_doctor_finds_nothing_wrong_while_it_runs(here: Installation) -> None:
    with here.up() as program:

        def is_healthy() -> bool:
            done = call(here.folder, "doctor", PORT=str(here.port))
            return done.returncode == 0

        eventually(is_healthy)
        assert program.stop() == 0
