"""The script that makes the application's role, run against a real server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from tests.postgres import find_tools
from tests.world import build, open_world

SCRIPT = Path(__file__).resolve().parents[2] / "app" / "deploy" / "roles.sh"


@pytest.fixture
def made(postgres_url: str) -> Iterator[str]:
    """Run the script as the server's image would; yield the URL that the compose file uses."""
    parts = conninfo_to_dict(postgres_url)
    tools, _ = find_tools()
    env = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": str(parts["host"]),
        "PGPORT": str(parts.get("port", 5432)),
        "PGPASSWORD": str(parts.get("password", "")),
        "POSTGRES_USER": str(parts["user"]),
        "POSTGRES_DB": str(parts["dbname"]),
        "ONEPROTECT_DB_PASSWORD": "it's\\secret",
    }
    subprocess.run(["sh", SCRIPT], env=env, capture_output=True, text=True, check=True)
    url = make_url(postgres_url).set(
        username="oneprotect", password="it's\\secret", database="oneprotect"
    )
    yield url.render_as_string(hide_password=False)
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("DROP DATABASE oneprotect WITH (FORCE)")
        server.execute("DROP ROLE oneprotect")


async def test_the_role_owns_its_database_and_the_wall_holds_for_it(made: str) -> None:
    await build(made)
    async with open_world(made) as world:
        answer = await world.as_("acme_admin").get("/integrations/destinations")
    with psycopg.connect(made) as connection:
        powers = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
        seen = connection.execute("SELECT count(*) FROM member").fetchone()

    assert 200 == answer.status_code
    assert (False, False, False, False) == powers
    assert (0,) == seen, "a connection that says nothing sees nothing"
