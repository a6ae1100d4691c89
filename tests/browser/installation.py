"""A real `oneprotect up` with a second receiver that never takes anything."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tools.programs import client, eventually, running


@dataclass(frozen=True)
class Installation:
    """Where the running parts answer."""

    portal: str
    receiver: str
    failing: str
    folder: Path

    def publish(self, event_type: str = "alert.created", tenant: str = "acme") -> str:
        """Publish as the platform does; return the event's id."""
        body = {"tenant": tenant, "type": event_type, "data": {"severity": "high"}}
        headers = {"Authorization": "Bearer op_local_platform"}
        with client(self.portal) as api:
            answer = api.post("/api/v1/events", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def received(self, event_id: str) -> dict[str, Any] | None:
        with client(self.receiver) as api:
            items = api.get("/api/requests").json()["items"]
        return next((one for one in items if event_id in one["body"]), None)

    def wait_until_received(self, event_id: str) -> dict[str, Any]:
        eventually(lambda: self.received(event_id))
        found = self.received(event_id)
        assert found
        return found


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    web, good, bad = _free_ports(3)
    folder.joinpath("bad").mkdir()
    with (
        running(folder / "bad", "receiver", "--port", str(bad), "--status", "503") as failing,
        running(
            folder,
            "up",
            "--receiver-port",
            str(good),
            PORT=str(web),
            EGRESS_ALLOW=f"127.0.0.1:{bad}",
        ) as up,
    ):
        failing.wait_for("listens on")
        up.wait_for("Ctrl-C stops everything")
        places = [f"http://127.0.0.1:{port}" for port in (web, good, bad)]
        yield Installation(*places, folder=folder)


def _free_ports(count: int) -> list[int]:
    """Return distinct ports: all are held at once before they are let go."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [sock.getsockname()[1] for sock in sockets]
