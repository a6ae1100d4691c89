"""Every command there is, walked: it explains itself, and a mistake is one line and exit 2."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from app.cli import oneprotect
from tests.cli.conftest import Command

ROOT = Path(__file__).resolve().parents[2]
#: What scripts of others call: these names do not vary.
PROMISED = {
    "backup", "bench", "completion", "destination list", "doctor", "migrate", "openapi", "publish",
    "receiver", "rekey", "restore", "serve", "settings", "simulate-shards", "tenant create",
    "tenant list", "token create", "token list", "up", "user create", "user list", "worker",
}  # fmt: skip
#: What lists or reports, and therefore speaks JSON too.
REPORTING = {
    "audit check-export", "audit verify", "bench", "destination list", "doctor", "measure-portal",
    "migrate", "settings", "simulate-shards", "tenant list", "token list", "user list",
}  # fmt: skip


def walk(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))


ALL = dict(walk(oneprotect))


@pytest.mark.parametrize("name", sorted(ALL))
def test_it_has_a_summary_and_help_that_makes_nothing(
    command: Command, tmp_path: Path, name: str
) -> None:
    done = command(*name.split(), "--help")

    assert (0, "") == (done.returncode, done.stderr)
    assert f"Usage: oneprotect {name}" in done.stdout
    assert re.fullmatch(r"[A-Z].{6,70}\.", ALL[name].get_short_help_str(limit=90))
    assert "--debug" in done.stdout
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_option_that_does_not_exist_is_one_line_and_exit_2(
    command: Command, tmp_path: Path, name: str
) -> None:
    done = command(*name.split(), "--no-such-option")

    assert 2 == done.returncode
    assert done.stderr.startswith("oneprotect: ")
    assert 1 == done.stderr.count("\n")
    assert "--no-such-option" in done.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(ALL))
def test_what_lists_or_reports_speaks_json(name: str) -> None:
    options = [p for p in ALL[name].params if isinstance(p, click.Option)]

    assert all(option.opts[0].startswith("--") for option in options)
    assert ("--json" in {o for option in options for o in option.opts}) is (name in REPORTING)


def test_every_promised_command_exists() -> None:
    assert set() == PROMISED - set(ALL)


def test_every_command_that_the_readme_shows_exists() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = set(re.findall(r"\boneprotect ([a-z][a-z-]+)", readme))

    assert {"up", "publish", "migrate", "doctor"} <= shown
    assert set() == shown - set(oneprotect.commands)


def test_the_version_is_the_packages(command: Command) -> None:
    from app import __version__

    assert f"oneprotect, version {__version__}\n" == command("--version").stdout
