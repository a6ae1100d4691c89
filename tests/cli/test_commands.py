"""The command line as people meet it: help, one plain line for an error, administration."""

import sqlite3
from pathlib import Path

import pytest

from app.tools import ports
from tests.cli.conftest import Command
from tests.tools.programs import call, free_port

KEY_1 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
KEY_2 = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / ".data/oneprotect.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_without_a_command_the_help_is_shown(tmp_path: Path) -> None:
    done = call(tmp_path)
    assert done.returncode == 2
    assert "Run: oneprotect up" in done.stdout


@pytest.mark.parametrize("command", ["up", "serve", "worker", "migrate", "doctor", "rekey"])
def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path, command: str) -> None:
    done = call(tmp_path, command, ENV="prod")
    assert done.returncode == 1
    line = done.stderr.splitlines()[0]
    if command == "doctor":
        assert "ONEPROTECT_ENV" in done.stdout
    else:
        assert line == (
            "oneprotect: ONEPROTECT_ENV is 'prod'; allowed: local, dev, staging, production"
        )
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("--debug", "migrate"), ("migrate", "--debug")])
def test_only_debug_shows_a_traceback(command: Command, arguments: tuple[str, ...]) -> None:
    assert "Traceback" in command(*arguments, PORT="0").stderr
    assert "Traceback" not in command("migrate", PORT="0").stderr


@pytest.mark.parametrize("arguments", [("dance",), ("migrate", "--now"), ("token", "create")])
def test_a_mistyped_command_is_one_line(command: Command, arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("oneprotect: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_port_in_use_is_one_line_and_nothing_is_made(tmp_path: Path, command: str) -> None:
    with ports.listen("127.0.0.1", 0, setting="") as taken:
        port = taken.getsockname()[1]
        done = call(tmp_path, command, PORT=str(port))
    assert done.returncode == 1
    assert done.stderr == (
        f"oneprotect: port {port} on 127.0.0.1 is in use by another program;"
        " choose another with ONEPROTECT_PORT\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_receiver_port_in_use_stops_up_before_anything_is_made(tmp_path: Path) -> None:
    with ports.listen("127.0.0.1", 0, setting="") as taken:
        port = str(taken.getsockname()[1])
        done = call(tmp_path, "up", "--receiver-port", port, PORT=str(free_port()))
        alone = call(tmp_path, "receiver", "--port", port)
    assert done.stderr.endswith("choose another with --receiver-port\n")
    assert alone.stderr.endswith("choose another with --port\n")
    assert (done.returncode, alone.returncode) == (1, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["up", "migrate", "serve", "worker"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("in the way")
    url = "sqlite:///file/data/x.db"
    port = str(free_port())
    options = ("--receiver-port", str(free_port())) if command == "up" else ()
    done = call(tmp_path, command, *options, DATABASE_URL=url, PORT=port)
    assert done.returncode == 1
    assert done.stderr == (
        "oneprotect: cannot write to the data folder file/data: not a directory;"
        " choose another with ONEPROTECT_DATABASE_URL\n"
    )


@pytest.mark.parametrize("command", ["migrate", "serve", "worker"])
def test_a_database_server_that_is_not_there_is_one_line(tmp_path: Path, command: str) -> None:
    url = f"postgresql://hooks:topsecret@127.0.0.1:{free_port()}/hooks"
    done = call(tmp_path, command, DATABASE_URL=url, PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stderr.startswith("oneprotect: ")
    assert done.stderr.count("\n") == 1
    assert "topsecret" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_process_asks_for_the_migration_it_needs(tmp_path: Path, command: str) -> None:
    done = call(tmp_path, command, PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stderr.endswith("run: oneprotect migrate\n")


def test_migrating_twice_changes_nothing_the_second_time(command: Command) -> None:
    first, second = command("migrate"), command("migrate")
    assert first.stdout.startswith("empty → ")
    assert second.stdout.endswith(" already\n")
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_tenant_a_user_and_tokens_can_be_made(command: Command, tmp_path: Path) -> None:
    command("migrate")
    made = command("tenant", "create", "--id", "initech", "--name", "Initech")
    assert (made.returncode, made.stdout) == (0, "Tenant initech created.\n")
    ada = ("--tenant", "initech", "--email", "Ada@initech.example", "--name", "Ada")
    made = command("user", "create", *ada, "--role", "auditor", stdin="a long password\n")
    assert made.stdout == "User ada@initech.example created.\n"
    for tenant, role in (("initech", "operator"), ("platform", "platform")):
        given = ("--tenant", tenant, "--name", "ci", "--role", role, "--expires-days", "30")
        made = command("token", "create", *given)
        assert made.returncode == 0
        assert made.stdout.startswith("op_")
        assert len(made.stdout.strip()) > 40
    stored = rows(tmp_path, "SELECT tenant_id, role, expires_at IS NOT NULL FROM api_token")
    assert sorted(stored) == [("initech", "operator", 1), ("platform", "platform", 1)]
    actors = rows(tmp_path, "SELECT DISTINCT actor_label FROM audit_entry")
    assert all(str(label).endswith("(command line)") for (label,) in actors)


def test_what_the_domain_refuses_is_one_line(command: Command) -> None:
    command("migrate")
    command("tenant", "create", "--id", "acme", "--name", "Acme")
    twice = command("tenant", "create", "--id", "acme", "--name", "Acme")
    assert (twice.returncode, twice.stderr) == (
        1,
        "oneprotect: A tenant 'acme' exists already.\n",
    )
    stray = ("--tenant", "nobody", "--name", "x", "--role", "operator")
    unknown = command("token", "create", *stray)
    assert unknown.stderr == "oneprotect: tenant 'nobody' does not exist\n"


def test_a_short_password_is_refused(command: Command) -> None:
    command("migrate")
    given = ("--tenant", "acme", "--email", "a@b.example", "--name", "A", "--role", "operator")
    done = command("user", "create", *given, stdin="short\n")
    assert done.returncode == 2
    assert done.stderr == "oneprotect: the password needs at least 12 characters\n"


def test_rekey_says_how_many_it_sealed_anew(command: Command) -> None:
    command("migrate")
    done = command("rekey", SECRET_KEYS=f"{KEY_2},{KEY_1}")
    assert (done.returncode, done.stdout) == (
        0,
        "0 re-encrypted; the first of ONEPROTECT_SECRET_KEYS now suffices.\n",
    )


def test_a_bad_secret_is_not_repeated(command: Command) -> None:
    done = command("receiver", "--secret", "whsec_topsecret", "--port", "0")
    assert done.returncode == 2
    assert "topsecret" not in done.stderr
    assert "--secret" in done.stderr
