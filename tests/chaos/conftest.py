"""The marker, the installations that are put in harm's way, and the table at the end."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from tests import summary
from tests.chaos import pace, report
from tests.chaos.disk import small_disk
from tests.chaos.scene import Scene, scene_at
from tests.chaos.site import Site, ended
from tests.conftest import ENGINES
from tests.postgres import running_server
from tests.world import build

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    pace.minutes = config.getoption("--chaos-minutes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(pace.timeout_s()))


def pytest_sessionfinish() -> None:
    if report.rows:
        summary.tell("what the faults cost", *report.lines())


@pytest.fixture(scope="package", params=ENGINES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One installation per engine for all faults; PostgreSQL's server is its own, to be shot at."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        path = folder / "disk" / "oneprotect.db"
        path.parent.mkdir()
        with small_disk(path.parent), ended(Site("sqlite", folder, f"sqlite:///{path}")) as site:
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            yield site
        return
    with running_server() as server:
        anyio.run(build, server.url())
        with ended(Site("postgresql", folder, server.url(), server)) as site:
            yield site


@pytest.fixture
async def scene(site: Site) -> AsyncIterator[Scene]:
    async with scene_at(site) as scene:
        yield scene
