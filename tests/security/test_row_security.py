"""The second wall on PostgreSQL: a statement that forgets its tenant meets the database's own."""

import ast
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from app.database import Base
from app.destinations import service
from app.destinations.models import Destination, Lane
from tests.receiver import Receiver
from tests.world import World, build, open_world

ROOT = Path(__file__).resolve().parents[2]
TABLES = sorted(name for name, table in Base.metadata.tables.items() if "tenant_id" in table.c)
#: What acts for nobody yet, or for the installation: it finds out who is asking, or is no tenant's.
UNBOUND = {
    "api/auth.py", "api/keys.py", "api/metrics.py", "api/system.py",
    "portal/guards.py", "portal/live.py", "portal/session.py", "portal/sign_on.py",
    "portal/invites.py", "portal/presence.py",
}  # fmt: skip


@pytest.fixture(scope="module")
def plain_url(postgres_url: str) -> Iterator[str]:
    """Yield a database that belongs to an ordinary role, which superusers' powers do not cover."""
    role = f"op_app_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x' NOSUPERUSER NOBYPASSRLS".encode())
        server.execute(f"CREATE DATABASE {role} OWNER {role}".encode())
        url = make_url(postgres_url).set(username=role, password="x", database=role)
        yield url.render_as_string(hide_password=False)
        server.execute(f"DROP DATABASE {role} WITH (FORCE)".encode())
        server.execute(f"DROP ROLE {role}".encode())


@pytest.fixture(scope="module")
async def built_url(plain_url: str) -> str:
    await build(plain_url)
    return plain_url


@pytest.fixture
async def plain(built_url: str) -> AsyncIterator[World]:
    async with open_world(built_url) as world:
        yield world


async def _both_tenants_live(world: World) -> None:
    """Let both tenants own a row of every kind that traffic makes."""
    async with Receiver() as receiver:
        for who in ("acme_admin", "globex_admin"):
            await world.make_destination(receiver.url, who=who)
        async with world.worker():
            for who in ("acme_admin", "globex_admin"):
                await world.publish(who=who, id=uuid4().hex)

                async def delivered(who: str = who) -> bool:
                    return bool(await world.deliveries(who, state="delivered"))

                await world.until(delivered)


async def test_everything_works_for_an_ordinary_role_and_nobody_sees_beyond_the_wall(
    plain: World,
) -> None:
    await _both_tenants_live(plain)
    seen: dict[str, set[str]] = {}
    async with plain.database.reading("acme") as session:
        for table in TABLES:
            rows = await session.execute(text(f"SELECT DISTINCT tenant_id FROM {table}"))
            seen[table] = set(rows.scalars())
        tenants = set((await session.execute(text("SELECT id FROM tenant"))).scalars())

    assert {"acme"} == tenants == set[str]().union(*seen.values())
    assert {"delivery", "attempt", "event", "destination", "signing_secret", "audit_entry"} <= {
        table for table, owners in seen.items() if owners
    }
    async with plain.database.reading() as session:
        rows = await session.execute(text("SELECT DISTINCT tenant_id FROM delivery"))
        assert {"acme", "globex"} == set(rows.scalars())


async def test_the_api_keeps_tenants_apart_even_when_a_statement_forgets_its_tenant(
    plain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = await plain.make_destination("https://8.8.8.8/theirs", who="globex_admin")

    async def careless_page(session: object, *_: object, **__: object) -> object:
        query = select(Destination, Lane).outerjoin(Lane, Lane.destination_id == Destination.id)
        return [(row[0], row[1]) for row in await session.execute(query)]  # type: ignore[attr-defined]

    async def careless_get(session: object, _tenant: str, one: str, **__: object) -> object:
        query = select(Destination).where(Destination.id == one)
        return (await session.execute(query)).scalar_one()  # type: ignore[attr-defined]

    monkeypatch.setattr(service, "page", careless_page)
    monkeypatch.setattr(service, "get", careless_get)
    listed = (await plain.as_("acme_admin").get("/integrations/destinations")).json()["items"]
    path = f"/integrations/destinations/{theirs['id']}"
    read = await plain.as_("acme_admin").get(path)
    changed = await plain.as_("acme_admin").patch(path, json={"name": "taken over"})

    assert theirs["id"] not in {one["id"] for one in listed}
    assert {500} == {read.status_code, changed.status_code}, "a bug, and nothing of theirs shown"
    assert "theirs" not in read.text + changed.text
    assert "Tenant SOC webhook" == (await plain.as_("globex_admin").get(path)).json()["name"]


async def test_a_tenants_transaction_cannot_write_for_another(plain: World) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with plain.database.transaction("acme") as session:
            await session.execute(text("INSERT INTO pulse (tenant_id, beat) VALUES ('globex', 1)"))


async def test_a_tenants_transaction_changes_and_deletes_only_its_own(plain: World) -> None:
    await plain.make_destination("https://8.8.8.8/", who="globex_admin")
    async with plain.database.transaction("acme") as session:
        await session.execute(text("UPDATE destination SET name = 'swept'"))
        await session.execute(text("DELETE FROM signing_secret"))
    async with plain.database.reading("globex") as session:
        names = set((await session.execute(text("SELECT name FROM destination"))).scalars())
        secrets = (await session.execute(text("SELECT count(*) FROM signing_secret"))).scalar_one()

    assert "swept" not in names
    assert secrets > 0


async def test_a_connection_goes_back_to_the_pool_without_its_tenant(plain: World) -> None:
    for _ in range(3):
        async with plain.database.reading("acme"):
            pass
        with contextlib.suppress(RuntimeError):
            async with plain.database.transaction("acme"):
                raise RuntimeError
        async with plain.database.begin() as c:
            scope = await c.execute(text("SELECT current_setting('oneprotect.tenant')"))
            assert "*" == scope.scalar_one()


async def test_a_connection_that_says_nothing_sees_nothing(plain: World) -> None:
    with psycopg.connect(plain.url) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            for table in (*TABLES, "tenant")
        ]

    assert {(0,)} == set(counts)


async def test_every_table_of_tenants_is_behind_the_wall(plain: World) -> None:
    with psycopg.connect(plain.url) as connection:
        walled = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid"
            " WHERE relrowsecurity AND relforcerowsecurity AND polname = 'tenant_only'"
        ).fetchall()

    assert {*TABLES, "tenant"} == {row[0] for row in walled}


async def test_what_the_platform_says_of_a_type_is_read_by_all_and_changed_by_none(
    plain: World,
) -> None:
    path, said = "/event-types/alert.created", {"description": "For all"}
    put = await plain.as_("platform").request("PUT", path, json=said)
    read = await plain.as_("acme_admin").get(path)
    async with plain.database.transaction("acme") as session:
        await session.execute(text("UPDATE event_type SET description = 'swept'"))
        await session.execute(text("DELETE FROM event_type"))
    after = await plain.as_("globex_admin").get(path)
    with psycopg.connect(plain.url) as connection:  # it says for nobody
        unseen = connection.execute("SELECT count(*) FROM event_type").fetchone()
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with plain.database.transaction("acme") as session:
            await session.execute(
                text("INSERT INTO event_type (tenant_id, type, description, schema_mode,"
                     " updated_at, updated_by) VALUES ('platform', 'a', '', 'off', now(), '')")
            )  # fmt: skip
    await plain.as_("platform").delete(path)

    assert (200, "For all", "For all") == (
        put.status_code, read.json()["description"], after.json()["description"],
    )  # fmt: skip
    assert (0,) == unseen


@pytest.mark.parametrize("face", ["api", "portal"])
def test_every_read_of_a_face_says_for_which_tenant(face: str) -> None:
    unbound = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in sorted((ROOT / "app" / face).glob("*.py"))
        if f"{face}/{file.name}" not in UNBOUND
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"reading", "transaction", "begin", "hot"}
        and not call.args
    ]

    assert [] == unbound
