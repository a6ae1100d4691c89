"""What the operators of an installation can list: a table for people, JSON for programs."""

import json
from typing import Any

import pytest

from app.database import Database
from app.tools import roster
from tests.cli.conftest import Command
from tests.world import World


@pytest.fixture
def seeded(command: Command) -> Command:
    command("migrate")
    for tenant in ("initech", "umbrella"):
        command("tenant", "create", "--id", tenant, "--name", tenant.title())
    command(
        *("user", "create", "--tenant", "initech", "--email", "ada@initech.example"),
        *("--name", "Ada", "--role", "auditor"),
        stdin="a long password\n",
    )
    command("token", "create", "--tenant", "umbrella", "--name", "ci", "--role", "operator")
    return command


def items(command: Command, *arguments: str) -> list[dict[str, Any]]:
    done = command(*arguments, "--json")
    assert (0, "") == (done.returncode, done.stderr)
    return list(json.loads(done.stdout)["items"])


def test_tenants_users_and_tokens_are_listed_as_json(seeded: Command) -> None:
    assert ["initech", "umbrella"] == [row["id"] for row in items(seeded, "tenant", "list")]
    (ada,) = items(seeded, "user", "list", "--tenant", "initech")
    (token,) = items(seeded, "token", "list")
    assert ("ada@initech.example", "auditor") == (ada["email"], ada["role"])
    assert ("umbrella", "ci", "live") == (token["tenant"], token["name"], token["state"])
    assert [] == items(seeded, "user", "list", "--tenant", "umbrella")
    assert [] == items(seeded, "destination", "list")


def test_a_list_in_a_pipe_has_one_line_per_row(seeded: Command) -> None:
    lines = seeded("user", "list").stdout.splitlines()

    (row,) = [line for line in lines if "initech" in line]
    assert row.split()[:3] == ["initech", "ada@initech.example", "Ada"]


def test_no_list_shows_a_secret(seeded: Command) -> None:
    text = seeded("token", "create", "--tenant", "initech", "--name", "x", "--role", "operator")
    listed = seeded("token", "list").stdout + seeded("token", "list", "--json").stdout

    assert text.stdout.strip() not in listed
    assert "hash" not in listed


async def test_destinations_show_how_it_stands_with_them(world: World) -> None:
    first = await world.make_destination("https://8.8.8.8/", name="First")
    second = await world.make_destination("https://8.8.8.8/", who="globex_admin", name="Second")
    await world.as_("acme_admin").post(f"/integrations/destinations/{first['id']}/disable")

    async with world.database.reading() as session:
        every = await roster.destinations(session, None)
        one = await roster.destinations(session, "globex")

    assert [("acme", "disabled"), ("globex", "active")] == [(r.tenant, r.status) for r in every]
    assert [second["id"]] == [row.id for row in one]


async def test_tokens_say_whether_they_still_work(world: World) -> None:
    made = await world.as_("acme_admin").post("/tokens", json={"name": "t", "role": "operator"})
    await world.as_("acme_admin").delete(f"/tokens/{made.json()['id']}")

    database = Database(world.url)
    async with database.reading() as session:
        found = {row.name: row.state for row in await roster.tokens(session, "acme")}
    await database.close()

    assert ("revoked", "live") == (found["t"], found["Demo operator"])


def test_migrate_says_how_the_schema_stands_and_changes_nothing(command: Command) -> None:
    empty = command("migrate", "--status", "--json")
    again = command("migrate", "--status", "--json")
    command("migrate")
    done = command("migrate", "--status", "--json")

    (before,), (after,) = (json.loads(one.stdout)["items"] for one in (empty, done))
    assert (1, 1, 0) == (empty.returncode, again.returncode, done.returncode)
    assert (None, True) == (before["current"], before["pending"])
    assert (after["newest"], False) == (after["current"], after["pending"])
    assert empty.stderr.endswith("run: oneprotect migrate\n")
