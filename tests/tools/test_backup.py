"""Backups made while everything runs, put back elsewhere: the same rows, unbroken chains."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from app.audit import proof
from app.database import Base, Database
from app.deliveries.models import Delivery
from app.destinations import signing_keys
from app.events.models import Event
from app.tools import backup as backups
from app.tools.backup import BackupError, postgres
from tests import postgres as server_of_tests
from tests.cli.conftest import command  # noqa: F401  # a fixture
from tests.receiver import Receiver
from tests.world import World, build, open_world, settings_for

Rows = dict[str, list[tuple[Any, ...]]]
#: Of the moment, not of the data.
FLEETING = {"worker_heartbeat"}


class Databases:
    """Makes databases of an ordinary role: a superuser sees through what a backup must pass."""

    def __init__(self, server_url: str) -> None:
        self.role = f"op_backup_{uuid4().hex[:8]}"
        self._url = make_url(server_url)
        self._server = psycopg.connect(server_url, autocommit=True)
        self._names: list[str] = []
        how = "LOGIN PASSWORD 'x' NOSUPERUSER NOBYPASSRLS"
        self._server.execute(f"CREATE ROLE {self.role} {how}".encode())

    def make(self, template: str = "template1") -> str:
        name = f"{self.role}_{len(self._names)}"
        made = f"CREATE DATABASE {name} OWNER {self.role} TEMPLATE {template} STRATEGY file_copy"
        self._server.execute(made.encode())
        self._names.append(name)
        url = self._url.set(username=self.role, password="x", database=name)
        return url.render_as_string(hide_password=False)

    def close(self) -> None:
        for name in self._names:
            self._server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        self._server.execute(f"DROP ROLE {self.role}".encode())
        self._server.close()


@pytest.fixture(scope="module")
def databases(postgres_url: str) -> Iterator[Databases]:
    databases = Databases(postgres_url)
    yield databases
    databases.close()


@pytest.fixture(scope="module")
def built(databases: Databases) -> str:
    """Return the name of a database that the role itself migrated and seeded."""
    url = databases.make()
    anyio.run(build, url)
    return str(make_url(url).database)


@pytest.fixture
def empty_url(
    engine_name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[], str]:
    """Return what makes the URL of a database without any table, each time it is called."""
    if engine_name == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/{uuid4().hex[:8]}/oneprotect.db"
    databases: Databases = request.getfixturevalue("databases")
    return databases.make


@pytest.fixture
def here_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a seeded database."""
    if engine_name == "sqlite":
        (tmp_path / "here").mkdir()
        path = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "here" / "op.db")
        return f"sqlite:///{path}"
    databases: Databases = request.getfixturevalue("databases")
    return databases.make(request.getfixturevalue("built"))


@pytest.fixture
async def here(here_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Yield an installation that runs; PostgreSQL's own tools are those of the tests' server."""
    tools, _ = server_of_tests.find_tools()
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    async with open_world(here_url) as world:
        yield world


async def back_up(url: str, file: Path) -> int:
    return await asyncio.to_thread(backups.backup, settings_for(url), file)


async def restore(url: str, file: Path, *, force: bool = False) -> str:
    return await asyncio.to_thread(backups.restore, settings_for(url), file, force=force)


def files(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.is_file()]


async def all_rows(url: str) -> Rows:
    database = Database(url)
    try:
        async with database.begin() as c:
            return {
                name: [
                    tuple(row)
                    for row in await c.execute(select(table).order_by(*table.primary_key))
                ]
                for name, table in Base.metadata.tables.items()
                if name not in FLEETING
            }
    finally:
        await database.close()


async def test_a_backup_that_was_put_back_elsewhere_holds_the_same_rows(
    here: World, empty_url: Callable[[], str], tmp_path: Path
) -> None:
    async with Receiver() as receiver:
        made = await here.make_destination(receiver.url)
        async with here.worker():
            await here.publish(id="once")
            await here.until(lambda: here.deliveries(state="delivered"))
    await here.services.bell.close()  # the last hint is told: nothing is written from here on
    file, there = tmp_path / "copy", empty_url()

    size = await back_up(here.url, file)
    await restore(there, file)

    expected, found = await all_rows(here.url), await all_rows(there)
    assert expected == found
    assert min(len(found[name]) for name in ("event", "delivery", "attempt", "audit_entry")) >= 1
    assert (size, 0o600) == (file.stat().st_size, file.stat().st_mode & 0o777)
    assert made["signing_secret"].encode() not in file.read_bytes()
    assert ["copy"] == files(tmp_path)


async def test_a_backup_under_load_is_as_of_one_moment_and_what_it_owes_is_delivered(
    here: World, empty_url: Callable[[], str], tmp_path: Path
) -> None:
    file, there = tmp_path / "copy", empty_url()
    async with Receiver() as receiver:
        await here.make_destination(receiver.url)
        stop = asyncio.Event()
        async with here.worker():
            load = [asyncio.create_task(publish_until(here, stop)) for _ in range(3)]
            load.append(asyncio.create_task(change_until(here, receiver.url, stop)))
            await here.until(lambda: here.deliveries(state="delivered"))
            await back_up(here.url, file)
            await asyncio.sleep(0.1)
            stop.set()
            accepted = await asyncio.gather(*load)

        await restore(there, file)
        async with open_world(there) as world:
            await require_whole(world, known=sum(accepted[:3]))
            async with world.database.transaction() as session:  # as if hours had gone by
                await session.execute(update(Delivery).values(lease_until=Delivery.created_at))
            async with world.worker():
                await world.until(lambda: settled(world), within_s=30)


async def publish_until(world: World, stop: asyncio.Event) -> int:
    count = 0
    while not stop.is_set():
        await world.publish()
        await asyncio.sleep(0.02)
        count += 1
    return count


async def change_until(world: World, url: str, stop: asyncio.Event) -> int:
    count = 0
    while not stop.is_set():
        made = await world.make_destination(url, event_types=["audit.only"])
        await world.as_("acme_admin").delete(f"/integrations/destinations/{made['id']}")
        count += 1
    return count


async def require_whole(world: World, *, known: int) -> None:
    """Every event has the deliveries that it was accepted with, every chain is unbroken."""
    notary = await signing_keys.notary(world.database, world.keyring)
    async with world.database.reading() as session:
        events = {e.id: e.delivery_count for e in (await session.execute(select(Event))).scalars()}
        owed = list((await session.execute(select(Delivery.event_id))).scalars())
        verdicts = [
            await proof.verify(session, tenant, notary) for tenant in ("acme", "globex", "platform")
        ]

    assert 0 < len(events) < known, "made while events came in"
    assert sorted(owed) == sorted(one for one, count in events.items() for _ in range(count))
    assert all(verdict.intact for verdict in verdicts)
    assert verdicts[0].entries > 5


async def settled(world: World) -> bool:
    async with world.database.reading() as session:
        states = set((await session.execute(select(Delivery.state))).scalars())
    return states == {"delivered"}


async def test_what_is_there_is_overwritten_only_when_forced(
    here: World, empty_url: Callable[[], str], tmp_path: Path
) -> None:
    file, there = tmp_path / "copy", empty_url()
    await back_up(here.url, file)
    await restore(there, file)
    async with open_world(there) as world:
        await world.publish()
    changed = await all_rows(there)

    with pytest.raises(BackupError, match="not empty; --force overwrites it"):
        await restore(there, file)
    assert changed == await all_rows(there)

    await restore(there, file, force=True)
    assert await all_rows(here.url) == await all_rows(there) != changed


async def test_a_database_in_use_is_never_overwritten(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "GONE_TRIES", 2)
    file = tmp_path / "copy"
    await back_up(here.url, file)
    await here.publish()
    before = await all_rows(here.url)

    with pytest.raises(BackupError, match="is in use"):
        await restore(here.url, file, force=True)

    assert before == await all_rows(here.url)
    assert 202 == (await here.as_("acme_admin").post(
        "/events", json={"type": "a.b", "data": {}})).status_code  # fmt: skip


async def test_a_backup_with_a_newer_schema_is_refused(
    here: World, empty_url: Callable[[], str], tmp_path: Path
) -> None:
    file, there = tmp_path / "copy", empty_url()
    async with here.database.begin() as c:
        await c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await back_up(here.url, file)

    with pytest.raises(BackupError, match="schema 9999, which this version does not know"):
        await restore(there, file)


async def test_what_is_no_backup_changes_nothing(
    here: World, empty_url: Callable[[], str], tmp_path: Path
) -> None:
    whole, cut, other = tmp_path / "whole", tmp_path / "cut", tmp_path / "other"
    await back_up(here.url, whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    other.write_text("a shopping list, and nothing that a database could read")
    there = empty_url()
    await restore(there, whole)
    before = await all_rows(there)

    for wrong in (cut, other, tmp_path / "absent"):
        with pytest.raises(BackupError):
            await restore(there, wrong, force=True)

    assert before == await all_rows(there)


async def test_a_backup_never_overwrites_and_leaves_nothing_half_made(
    here: World, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    with pytest.raises(BackupError, match="exists already"):
        await back_up(here.url, kept)
    with pytest.raises(BackupError, match="there is no folder"):
        await back_up(here.url, tmp_path / "no" / "copy")
    with pytest.raises(BackupError):
        await back_up("postgresql://x@127.0.0.1:9/x", tmp_path / "copy")
    with pytest.raises(BackupError):
        await back_up(f"sqlite:///{tmp_path}/absent.db", tmp_path / "copy")

    assert "mine" == kept.read_text()
    assert ["kept"] == files(tmp_path)


@pytest.mark.parametrize("engine_name", ["postgresql"], indirect=True)
async def test_without_fitting_tools_one_line_says_what_to_install(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match="pg_dump is not installed here, the server is Postgre"):
        await back_up(here.url, tmp_path / "copy")

    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    with pytest.raises(BackupError, match="only pg_dump 9 is installed here"):
        await back_up(here.url, tmp_path / "copy")


@pytest.mark.parametrize("engine_name", ["postgresql"], indirect=True)
async def test_a_password_is_no_argument_of_a_process(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    real = postgres.subprocess.run

    def remember(arguments: list[Any], **more: Any) -> Any:
        seen.append([str(one) for one in arguments])
        return real(arguments, **more)

    monkeypatch.setattr(postgres.subprocess, "run", remember)
    url = make_url(here.url).set(password="topsecret").render_as_string(hide_password=False)
    await back_up(url, tmp_path / "copy")

    assert any("--format=custom" in arguments for arguments in seen)
    assert "topsecret" not in str(seen)


async def test_a_backup_of_one_engine_is_refused_by_the_other(tmp_path: Path) -> None:
    file = tmp_path / "copy"
    sqlite3.connect(file).execute("CREATE TABLE x (y)").connection.close()

    with pytest.raises(BackupError, match="is a backup of SQLite, ONEPROTECT_DATABASE_URL is Post"):
        await restore("postgresql://x@127.0.0.1:9/x", file)


def test_the_commands_say_what_they_did(
    command: Callable[..., Any],  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    command("migrate")
    command("tenant", "create", "--id", "initech", "--name", "Initech")
    made = command("backup", "copy")
    again = command("backup", "copy")
    refused = command("restore", "copy")
    elsewhere = command("restore", "copy", DATABASE_URL="sqlite:///other/x.db")
    listed = command("tenant", "list", DATABASE_URL="sqlite:///other/x.db")

    assert made.stdout.startswith("copy: ")
    assert (1, "oneprotect: copy exists already; a backup never overwrites\n") == (
        again.returncode, again.stderr,
    )  # fmt: skip
    assert (1, 1) == (refused.returncode, refused.stderr.count("\n"))
    assert elsewhere.stdout.startswith("restored copy, schema ")
    assert "initech" in listed.stdout
