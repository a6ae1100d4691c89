"""Several processes as one, with real processes under the real supervisor."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from app.tools import supervisor
from app.tools.banner import banner
from app.tools.up import receiver_allowed
from tests.tools.programs import environment, eventually, free_port

#: Starts two children that say who they are; web answers on PORT when asked to.
SCRIPT = """
import os, sys
from app.settings import Settings
from app.tools import supervisor
print(repr(supervisor.run(eval(sys.argv[1]), dict(os.environ), Settings(port={port}), "READY")))
"""
WEB = f"""{sys.executable} -c '
import http.server
class Live(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", {{port}}), Live).serve_forever()
'"""


def start(folder: Path, port: int, processes: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(port=port), repr(processes)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pid_in(file: Path) -> int:
    eventually(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie whose new parent has not looked yet is gone too.
    return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_and_counts_as_success(tmp_path: Path, how: signal.Signals) -> None:
    port = free_port()
    processes = {
        "web": WEB.format(port=port),
        "worker": f"echo $$ > {tmp_path}/pid; exec sleep 60",
    }
    program = start(tmp_path, port, processes)
    assert program.stdout
    said = iter(program.stdout.readline, "")
    assert any(line == "READY\n" for line in said)
    child = pid_in(tmp_path / "pid")
    program.send_signal(how)
    rest, _ = program.communicate(timeout=20)
    assert rest.splitlines()[-1] == "None"
    eventually(lambda: is_gone(child))


def test_a_closed_terminal_leaves_no_child_behind(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    processes = {
        "web": f"echo $$ > {tmp_path}/pid; exec sleep 60",
        "worker": "while true; do echo still here; sleep 0.1; done",
    }
    script = [sys.executable, "-c", SCRIPT.format(port=free_port()), repr(processes)]
    program = subprocess.Popen(
        script, cwd=tmp_path, env=environment(), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    child = pid_in(tmp_path / "pid")
    assert b"still here" in os.read(ours, 4096)
    os.close(ours)
    program.send_signal(signal.SIGHUP)
    program.wait(20)
    eventually(lambda: is_gone(child))


def test_when_one_process_ends_all_end_and_it_is_named(tmp_path: Path) -> None:
    processes = {
        "web": f"echo $$ > {tmp_path}/pid; exec sleep 60",
        "worker": "echo so long; exit 3",
    }
    rest, _ = start(tmp_path, free_port(), processes).communicate(timeout=20)
    assert "worker | so long" in rest
    assert "'worker ended by itself (code 3); everything was stopped'" in rest
    eventually(lambda: is_gone(pid_in(tmp_path / "pid")))


def test_a_process_that_ends_with_zero_is_a_failure_too(tmp_path: Path) -> None:
    rest, _ = start(tmp_path, free_port(), {"web": "sleep 60", "worker": "true"}).communicate(
        timeout=20
    )
    assert "worker ended by itself (code 0)" in rest


def test_the_procfile_holds_the_two_processes_and_the_release() -> None:
    lines = supervisor.PROCFILE.read_text().splitlines()
    assert lines == [
        "release: oneprotect migrate",
        "web: oneprotect serve",
        "worker: oneprotect worker",
    ]
    commands = supervisor.commands()
    assert list(commands) == ["web", "worker"]
    assert commands["web"].endswith(" -P -m app serve")


def test_the_receiver_is_allowed_exactly_and_beside_what_was_allowed() -> None:
    before = Settings(egress_allow="10.0.0.0/8:443")
    allowed = receiver_allowed(before, 9100)["ONEPROTECT_EGRESS_ALLOW"]
    assert allowed == "10.0.0.0/8:443,127.0.0.1:9100,localhost:9100"
    Settings.from_env({"ONEPROTECT_EGRESS_ALLOW": allowed})


def test_the_banner_says_where_to_look_and_how_to_sign_in() -> None:
    text = banner(Settings(port=8123), receiver_port=9123, demo=True)
    for expected in (
        "http://127.0.0.1:8123/api/docs",
        "http://127.0.0.1:9123/",
        "admin@globex.example",
        "oneprotect-local",
        "op_local_platform",
        "publish --tenant acme --type alert.created",
    ):
        assert expected in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_without_demo_data_the_banner_offers_no_sign_in() -> None:
    text = banner(Settings(), receiver_port=9100, demo=False)
    assert "op_local" not in text
    assert "oneprotect-local" not in text
