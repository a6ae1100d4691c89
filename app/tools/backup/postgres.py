"""PostgreSQL's own tools, called so that row-level security hides nothing from them."""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.database.engine import ALL_TENANTS
from app.tools.backup.fault import BackupError, require_known
from app.wakeup import POSTGRES_SCHEMA

MAGIC: Final = b"PGDMP"
#: Where Debian keeps one folder per version, beside what is on the PATH.
DEBIAN: Final = Path("/usr/lib/postgresql")
GONE_TRIES: Final = 20
GONE_GAP_S: Final = 0.1
ENTRY: Final = re.compile(r"^\d+; \d+ \d+ TABLE \S+ (\S+) ", re.MULTILINE)


def dump(url: str, draft: Path) -> None:
    """Have pg_dump write the archive `draft`."""
    with _connected(url) as connection:
        tool = _tool("pg_dump", connection)
    _call(
        tool,
        url,
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--enable-row-security",  # as ourselves, who act for every tenant: not as a superuser
        f"--exclude-schema={POSTGRES_SCHEMA}",
        f"--file={draft}",
    )


def load(file: Path, url: str, *, force: bool, known: frozenset[str]) -> str:
    """Put the archive back in one transaction, in the place of what is there."""
    with _connected(url) as connection:
        tool = _tool("pg_restore", connection)
        there = _tables(connection)
        if there and not force:
            raise BackupError("the database is not empty; --force overwrites it")
        _require_unused(connection)
        kept = set(ENTRY.findall(_call(tool, None, "--list", str(file))))
        if beyond := sorted(there - kept):
            raise BackupError(
                f"the database has tables that the backup does not know ({', '.join(beyond)});"
                " restore into an empty database"
            )
        revision = require_known(_revision(tool, file), known)
        with connection.transaction():
            if there:
                connection.execute(f"DROP TABLE {', '.join(sorted(there))} CASCADE".encode())
            if triggers := _trigger_functions(connection):
                connection.execute(f"DROP FUNCTION {', '.join(triggers)}".encode())
            _replay(connection, tool, file)
    return revision


def _replay(connection: psycopg.Connection[Any], tool: Path, file: Path) -> None:
    """Run the archive's script ourselves: pg_restore cannot drop partitions and restore at once."""
    command = [str(tool), "--no-owner", "--no-privileges", "--file=-", str(file)]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,  # noqa: S603
    ):
        _run_script(connection, process.stdout or [])
        if process.wait():
            said.seek(0)
            raise BackupError(_reason(said.read().decode(errors="replace")))


def _run_script(connection: psycopg.Connection[Any], script: Iterable[bytes]) -> None:
    statements: list[bytes] = []
    for line in script:
        if not line.startswith(b"COPY "):
            # Lines for psql alone begin with a backslash.
            statements += [] if line.startswith(b"\\") else [line]
            continue
        connection.execute(b"".join(statements))
        statements = []
        with connection.cursor().copy(line.rstrip(b";\n")) as copy:
            for row in itertools.takewhile(lambda row: row != b"\\.\n", script):
                copy.write(row)
    connection.execute(b"".join(statements))


def _tool(name: str, connection: psycopg.Connection[Any]) -> Path:
    """Return the oldest tool that is not older than the server."""
    server = connection.info.server_version // 10_000
    on_path = [Path(found)] if (found := shutil.which(name)) else []
    versions = {
        version: path
        for path in [*DEBIAN.glob(f"*/bin/{name}"), *on_path]
        if (version := _version(path))
    }
    fitting = [version for version in versions if version >= server]
    if fitting:
        return versions[min(fitting)]
    have = f"only {name} {max(versions)} is" if versions else f"{name} is not"
    raise BackupError(
        f"{have} installed here, the server is PostgreSQL {server}; install its client tools"
    )


def _version(tool: Path) -> int:
    done = subprocess.run(  # noqa: S603  # a tool by its own name, no shell
        [tool, "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found[1]) if found else 0


def _call(tool: Path, url: str | None, *arguments: str) -> str:
    env = dict(os.environ)
    where: list[str] = []
    if url:
        parts = _parts(url)
        # Not as an argument: everybody on this machine can read those.
        if password := parts.pop("password", None):
            env["PGPASSWORD"] = str(password)
        where = ["--no-password", f"--dbname={make_conninfo('', **parts)}"]
    done = subprocess.run(  # noqa: S603  # a tool by its own name, no shell
        [tool, *where, *arguments], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BackupError(_reason(done.stderr))
    return done.stdout


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if "error" in line.lower()]
    return lines[0] if lines else " ".join(said.split()) or "the tool failed without a word"


def _revision(tool: Path, file: Path) -> str:
    script = _call(tool, None, "--data-only", "--table=alembic_version", "--file=-", str(file))
    found = re.search(r"^COPY \S+ \(version_num\) FROM stdin;\n(\S+)$", script, re.MULTILINE)
    if not found:
        raise BackupError(f"{file} is no backup that oneprotect made")
    return found[1]


def _parts(url: str) -> dict[str, Any]:
    parts: dict[str, Any] = dict(conninfo_to_dict(url))
    parts["options"] = f"{parts.get('options', '')} {ALL_TENANTS}".strip()
    return parts


def _tables(connection: psycopg.Connection[Any]) -> set[str]:
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = current_schema()::regnamespace"
    )
    return {row[0] for row in rows}


def _trigger_functions(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute(
        "SELECT oid::regprocedure FROM pg_proc WHERE prorettype = 'trigger'::regtype"
        " AND pronamespace = current_schema()::regnamespace"
    )
    return sorted(str(row[0]) for row in rows)


def _require_unused(connection: psycopg.Connection[Any]) -> None:
    # A process that has just stopped is still seen for a moment.
    for _ in range(GONE_TRIES):
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND usename = current_user AND pid <> pg_backend_pid()"
        ).fetchone()
        others = row[0] if row else 0
        if not others:
            return
        time.sleep(GONE_GAP_S)
    raise BackupError(f"the database is in use ({others} connections); stop web and worker first")


@contextlib.contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(make_conninfo("", **_parts(url)), autocommit=True) as connection:
            yield connection
    except psycopg.Error as fault:
        raise BackupError(f"the database refused: {' '.join(str(fault).split())}") from fault
