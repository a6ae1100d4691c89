"""The doctor, on real installations in every state."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.database import Database, utcnow
from app.deliveries import heartbeat
from app.tools.doctor import State, examine, judge_clock, judge_worker
from tests.tools.programs import call, free_port
from tests.world import World

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def report(folder: Path, **env: str) -> tuple[int, dict[str, tuple[str, str]]]:
    done = call(folder, "doctor", "--json", **env)
    said = json.loads(done.stdout)
    assert said["ok"] is (done.returncode == 0)
    return done.returncode, {one["name"]: (one["state"], one["detail"]) for one in said["checks"]}


async def beat(folder: Path) -> None:
    database = Database(f"sqlite:///{folder}/.data/oneprotect.db")
    async with database.transaction() as session:
        await heartbeat.beat(session, "w1", started_at=utcnow(), load=0)
    await database.close()


async def test_an_installation_with_a_worker_is_healthy(tmp_path: Path) -> None:
    call(tmp_path, "migrate")
    await beat(tmp_path)
    code, checks = report(tmp_path)
    assert code == 0
    healthy = ("settings", "database", "schema", "clock", "worker", "keys", "tenancy", "queue")
    assert {name: checks[name][0] for name in healthy} == dict.fromkeys(healthy, "ok")
    assert "http allowed" in checks["egress"][1]


def test_without_a_worker_nothing_is_delivered_and_that_is_said(tmp_path: Path) -> None:
    call(tmp_path, "migrate")
    code, checks = report(tmp_path)
    assert code == 1
    assert checks["worker"][0] == "fail"
    assert "oneprotect worker" in checks["worker"][1]


def test_looking_at_an_empty_folder_makes_nothing_there(tmp_path: Path) -> None:
    code, checks = report(tmp_path)
    assert code == 1
    assert checks["database"] == (
        "fail",
        "there is no file .data/oneprotect.db; run: oneprotect migrate",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_tables_fails_at_its_schema(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    code, checks = report(tmp_path, DATABASE_URL="sqlite:///empty.db")
    assert code == 1
    assert checks["database"][0] == "ok"
    assert checks["schema"][0] == "fail"
    assert "worker" not in checks


def test_a_file_that_is_no_database_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database at all, but long enough to be read" * 50)
    _, checks = report(tmp_path, DATABASE_URL="sqlite:///notes.db")
    assert checks["database"] == ("fail", "file is not a database")


def test_a_server_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://hook:topsecret@127.0.0.1:{free_port()}/hooks"
    code, checks = report(tmp_path, DATABASE_URL=url)
    assert code == 1
    assert checks["database"][0] == "fail"
    assert "topsecret" not in str(checks)


def test_a_wrong_setting_is_the_only_finding(tmp_path: Path) -> None:
    code, checks = report(tmp_path, PORT="eighty")
    assert code == 1
    assert list(checks) == ["settings"]
    assert "ONEPROTECT_PORT" in checks["settings"][1]


def test_a_proxy_that_is_not_there_fails(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    _, checks = report(tmp_path, EGRESS_PROXY=f"http://user:topsecret@{place}")
    state, detail = checks["egress"]
    assert state == "fail"
    assert place in detail
    assert "topsecret" not in detail


def test_a_redis_that_is_not_there_fails(tmp_path: Path) -> None:
    _, checks = report(tmp_path, QUEUE_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert checks["queue"][0] == "fail"


def test_the_table_is_for_people_and_the_verdict_goes_to_stderr(tmp_path: Path) -> None:
    done = call(tmp_path, "doctor")
    assert "settings" in done.stdout
    assert "environment local" in done.stdout
    assert done.stderr == "oneprotect: something is wrong with: database\n"


@pytest.mark.parametrize(
    ("offset_s", "state"),
    [(0, State.OK), (-2, State.OK), (2.1, State.FAIL), (-90, State.FAIL)],
)
def test_a_clock_may_be_two_seconds_off(offset_s: float, state: State) -> None:
    assert judge_clock(timedelta(seconds=offset_s))[0] is state


def test_the_clock_that_is_behind_is_named() -> None:
    assert "behind the database's" in judge_clock(timedelta(seconds=9))[1]
    assert "ahead of the database's" in judge_clock(timedelta(seconds=-9))[1]


@pytest.mark.parametrize(("age_s", "state"), [(1, State.OK), (-1, State.OK), (61, State.FAIL)])
def test_a_worker_is_well_as_long_as_it_beats(age_s: float, state: State) -> None:
    assert judge_worker(NOW - timedelta(seconds=age_s), NOW)[0] is state


async def findings(url: str, **env: str) -> dict[str, tuple[str, str]]:
    environ = {"ONEPROTECT_DATABASE_URL": url} | {f"ONEPROTECT_{k}": v for k, v in env.items()}
    return {one.name: (one.state, one.detail) for one in await examine(environ)}


async def test_a_key_that_was_left_behind_is_found_before_a_delivery_needs_it(world: World) -> None:
    await world.make_destination("https://8.8.8.8/")
    (key,) = world.settings.secret_keys
    other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

    right = (await findings(world.url, SECRET_KEYS=key))["keys"]
    newer = (await findings(world.url, SECRET_KEYS=f"{other},{key}"))["keys"]
    wrong = (await findings(world.url, SECRET_KEYS=other))["keys"]

    assert ("ok", "open the newest 1 stored secrets") == right
    assert ("ok", "open all, 1 under an older key; run: oneprotect rekey") == newer
    assert "fail" == wrong[0]
    assert "1 of the newest 1 stored secrets open with no key" in wrong[1]


async def test_a_role_above_row_level_security_is_told(world: World) -> None:
    state, detail = (await findings(world.url))["tenancy"]

    if world.database.dialect == "sqlite":
        assert ("ok", True) == (state, "no second wall" in detail)
    else:  # the tests' own role is a superuser
        assert ("warn", True) == (state, "roles.sh" in detail)
