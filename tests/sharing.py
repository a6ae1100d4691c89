"""A world that the tests of one file share: for those that look only at what they made."""

import shutil
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from tests.conftest import ENGINES, create_database, drop_database
from tests.world import World, open_world


@pytest.fixture(scope="module", params=ENGINES)
def shared_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("shared") / "oneprotect.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server_url, name = request.getfixturevalue("postgres_url"), f"op_{uuid4().hex[:12]}"
    yield create_database(server_url, name, request.getfixturevalue("template"))
    drop_database(server_url, name)


@pytest.fixture(scope="module")
async def shared(shared_url: str) -> AsyncIterator[World]:
    """Yield a world that lives as long as the file's tests; a file opts in by its `world`."""
    async with open_world(shared_url) as world:
        yield world
