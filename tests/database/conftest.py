"""Databases of this folder's tests: one without any table, and worlds shared by a file's tests."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import create_database, drop_database
from tests.sharing import shared, shared_url

__all__ = ["empty", "shared", "shared_url"]


@pytest.fixture
def empty(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a database without any table."""
    if engine_name == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server_url, name = request.getfixturevalue("postgres_url"), f"op_{uuid4().hex[:12]}"
    yield create_database(server_url, name)
    drop_database(server_url, name)
