"""The image and the compose file: read as their tools read them, and held to our own settings."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli import oneprotect
from app.settings import READERS, Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "app" / "deploy"
INSTRUCTIONS = {
    "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "STOPSIGNAL", "USER", "WORKDIR",
}  # fmt: skip
GIVEN = {
    "ONEPROTECT_SECRET_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "ONEPROTECT_DB_PASSWORD": "0123abcd",
    "POSTGRES_PASSWORD": "4567cdef",
}


def instructions() -> Iterator[tuple[str, str]]:
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        yield word, " ".join(rest.split())


def substituted(text: str) -> str:
    """Do with `${NAME:?why}` what compose does."""
    return re.sub(r"\$\{(\w+):\?[^}]+\}", lambda match: GIVEN[match[1]], text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(substituted((DEPLOY / "compose.yaml").read_text("utf-8"))))


def test_the_image_is_made_in_two_stages_and_runs_as_nobody_special() -> None:
    found = list(instructions())
    words = [word for word, _ in found]
    stages = [rest for word, rest in found if word == "FROM"]
    users = [rest for word, rest in found if word == "USER"]

    assert set(words) <= INSTRUCTIONS
    assert ["python:3.11-slim AS build", "python:3.11-slim"] == stages
    assert words.index("USER") > words.index("COPY", words.index("USER") - 5)
    assert ["10001"] == users
    assert ('["oneprotect"]', '["serve"]') == (
        dict(found)["ENTRYPOINT"], dict(found)["CMD"],
    )  # fmt: skip


def test_what_the_image_copies_exists_and_holds_no_secret() -> None:
    copied = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]

    assert {"app", "frontend", "migrations", "pyproject.toml", "constraints.txt"} <= set(copied)
    assert all((ROOT / source).exists() for source in copied)
    assert "." not in copied, "nothing comes along by accident"


def test_the_images_environment_names_settings_only() -> None:
    named = re.findall(r"ONEPROTECT_(\w+)=", " ".join(rest for _, rest in instructions()))

    assert {"ENV", "HOST"} <= set(named) <= set(READERS)


def test_every_service_runs_a_command_that_exists(compose: dict[str, Any]) -> None:
    ours = {name: one for name, one in compose["services"].items() if name != "db"}

    assert {"migrate", "web", "worker"} == set(ours)
    assert {"migrate", "serve", "worker"} == {one["command"][0] for one in ours.values()}
    assert {one["command"][0] for one in ours.values()} <= set(oneprotect.commands)
    for one in ours.values():
        assert (True, ["ALL"], ["no-new-privileges:true"]) == (
            one["read_only"], one["cap_drop"], one["security_opt"],
        )  # fmt: skip
        assert (ROOT / one["build"]["dockerfile"]).is_file()
        assert set(one["depends_on"]) <= set(compose["services"])


def test_its_environment_is_one_that_a_production_accepts(compose: dict[str, Any]) -> None:
    settings = Settings.from_env(compose["services"]["web"]["environment"])

    assert "production" == settings.env
    assert settings.require_https
    assert "://oneprotect:" in settings.database_url, "as the role of roles.sh, no superuser"
    assert settings.sqlite_path is None


def test_no_secret_stands_in_the_file_and_none_may_be_left_out() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?", text))

    assert set(GIVEN) == asked
    assert set(re.findall(r"\$\{(\w+)", text)) == asked
    assert ":latest" not in text


def test_its_mounts_exist_and_only_this_machine_reaches_the_port(compose: dict[str, Any]) -> None:
    mounts = [mount.split(":") for mount in compose["services"]["db"]["volumes"]]
    files = [source for source, *_ in mounts if source.startswith("./")]

    assert {source for source, *_ in mounts if not source.startswith(".")} == set(
        compose["volumes"]
    )
    assert files
    assert all((DEPLOY / source).is_file() for source in files)
    assert ["127.0.0.1:8000:8000"] == compose["services"]["web"]["ports"]
    assert "ports" not in compose["services"]["db"]
