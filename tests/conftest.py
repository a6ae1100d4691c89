"""Both databases as a parameter, a seeded world on each, and what the machine lacks, said aloud."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.collector import calm_collector
from tests import summary
from tests.postgres import GIVEN, Server, running_server
from tests.world import World, build, open_world

ENGINES = ("sqlite", "postgresql")
HERE = Path(__file__).parent
#: Whole installations under load and browsers run one after the other: beside each other they
#: would be late through no fault of the product. Whatever else is tested runs beside them.
ONE_AT_A_TIME = ("browser", "chaos", "tools")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "let tests/chaos repeat its faults for about so many minutes"
    parser.addoption("--chaos-minutes", type=float, default=0.0, metavar="N", help=text)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite; none beside this one for a file or a folder of it."""
    whole = [Path(given).resolve() for given in config.args] == [HERE]
    return min(2, os.cpu_count() or 1) if whole else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file together, for what they share, and those of processes in one row."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "processes" if Path(path).parts[1] in ONE_AT_A_TIME else path

    return ByFile(config, log)


def pytest_collection_finish() -> None:
    """Leave what was loaded and collected out of every later garbage collection."""
    calm_collector()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["sections"] = summary.sections


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for section, lines in node.workeroutput.get("sections", {}).items():
        summary.tell(section, *lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for section, lines in sorted(summary.sections.items()):
        terminalreporter.section(section)
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL of the test run's own, which chaos may stop and start."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """Return where databases can be made: the server given, or the run's own."""
    given = os.environ.get(GIVEN)
    if given:
        return given
    server: Server = request.getfixturevalue("postgres")
    return server.url()


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """Migrate and seed once; every test's database is a copy of this one."""
    name = f"op_template_{uuid4().hex[:8]}"
    anyio.run(build, create_database(postgres_url, name))
    return name


def create_database(server_url: str, name: str, template: str = "template1") -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'.encode()
        )
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    anyio.run(build, f"sqlite:///{path}")
    return path


@pytest.fixture
def database_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a fresh copy of the seeded database, on the engine under test."""
    if engine_name == "sqlite":
        path = tmp_path / "oneprotect.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server_url = request.getfixturevalue("postgres_url")
    name = f"op_{uuid4().hex[:12]}"
    yield create_database(server_url, name, request.getfixturevalue("template"))
    drop_database(server_url, name)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Yield two tenants with every role, the API over them, and receivers on loopback."""
    async with open_world(database_url) as world:
        yield world
