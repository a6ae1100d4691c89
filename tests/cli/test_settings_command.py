"""The reference of the settings is made from their code, and shows no secret."""

import json
from pathlib import Path

import pytest

from app.settings import DERIVED, MEANINGS, READERS, SECRET
from app.tools import reference
from tests.cli.conftest import Command

ROOT = Path(__file__).resolve().parents[2]
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def test_every_setting_has_a_meaning() -> None:
    assert list(READERS) == list(MEANINGS)
    assert set(READERS) >= {*DERIVED, *SECRET}
    assert all("|" not in text and "\n" not in text for text in MEANINGS.values())


def test_the_readmes_table_is_the_generated_one() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert reference.markdown() in readme, "regenerate it: oneprotect settings --markdown"


def test_the_markdown_does_not_depend_on_where_it_is_made(command: Command) -> None:
    assert reference.markdown() + "\n" == command("settings", "--markdown", PORT="9").stdout


def test_what_holds_here_stands_beside_the_default(command: Command) -> None:
    done = command("settings", "--json", PORT="9000", ENV="dev")
    rows = {row["name"]: row for row in json.loads(done.stdout)["items"]}

    port, env = rows["ONEPROTECT_PORT"], rows["ONEPROTECT_ENV"]
    assert ("8000", "9000", True) == (port["default"], port["value"], port["given"])
    assert "dev" == env["value"]
    assert (False, "200") == (rows["ONEPROTECT_MAX_IN_FLIGHT"]["given"],
                              rows["ONEPROTECT_MAX_IN_FLIGHT"]["value"])  # fmt: skip


def test_secrets_and_passwords_are_not_shown(command: Command) -> None:
    given = {
        "SECRET_KEYS": KEY,
        "DATABASE_URL": "postgresql://hooks:topsecret@db.internal:5433/x?password=topsecret",
        "QUEUE_URL": "redis://:topsecret@cache.internal/0",
        "EGRESS_PROXY": "http://me:topsecret@proxy.internal:3128",
        "OIDC_CLIENT_SECRET": "topsecret",
    }
    for form in ((), ("--json",)):
        shown = command("settings", *form, **given).stdout
        assert KEY not in shown
        assert "topsecret" not in shown
        assert "postgresql://hooks:***@db.internal:5433/x?***" in shown
        assert "proxy.internal:3128" in shown


def test_a_wrong_setting_is_one_line(command: Command) -> None:
    done = command("settings", PORT="eighty")

    assert 1 == done.returncode
    assert done.stderr.startswith("oneprotect: ONEPROTECT_PORT is 'eighty'; allowed: ")


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (15.0, "15"), (2.5, "2.5"), ((5, 300), "5,300"), ("x", "x")]
)
def test_a_value_is_written_as_the_environment_takes_it(value: object, text: str) -> None:
    assert text == reference.written(value)


def test_the_two_forms_exclude_each_other(command: Command) -> None:
    assert 2 == command("settings", "--json", "--markdown").returncode
