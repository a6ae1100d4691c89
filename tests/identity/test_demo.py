"""The demo data: complete in `local`, made once, and never served anywhere else."""

from pathlib import Path

import pytest
from sqlalchemy import delete

from app.database import Database
from app.database.migrate import migrate
from app.errors import SettingsError
from app.identity import demo
from app.identity.models import ApiToken, Member, Tenant
from app.settings import Env, Settings
from tests.api.rows import count
from tests.world import World, settings_for

OUTSIDE = (Env.DEV, Env.STAGING, Env.PRODUCTION)


def settings(env: Env) -> Settings:
    return settings_for("sqlite:///x.db", ONEPROTECT_ENV=env.value)


async def test_the_tokens_of_the_contract_work_with_their_roles(world: World) -> None:
    for token, tenant, role in (
        ("op_local_acme_admin", "acme", "tenant_admin"),
        ("op_local_acme_operator", "acme", "operator"),
        ("op_local_acme_auditor", "acme", "auditor"),
        ("op_local_globex_admin", "globex", "tenant_admin"),
        ("op_local_platform", "platform", "platform"),
    ):
        answer = await world.client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert (tenant, role) == (answer.json()["tenant"], answer.json()["role"])


async def test_a_database_that_holds_a_tenant_is_not_seeded_again(world: World) -> None:
    before = await count(world.database, ApiToken)

    assert not await demo.seed(world.database)

    assert (before, 2) == (
        await count(world.database, ApiToken), await count(world.database, Tenant),
    )  # fmt: skip


async def test_outside_local_the_start_is_refused_in_one_line(world: World) -> None:
    await demo.refuse_outside_local(settings(Env.LOCAL), world.database)
    for env in OUTSIDE:
        with pytest.raises(SettingsError) as caught:
            await demo.refuse_outside_local(settings(env), world.database)
        text = str(caught.value)
        assert text.startswith(f"ONEPROTECT_ENV is '{env}' but the database holds demo data")
        assert "\n" not in text


async def test_one_left_token_or_user_is_enough_for_the_refusal(world: World) -> None:
    async with world.database.transaction() as session:
        await session.execute(delete(Member))
        await session.execute(delete(ApiToken).where(ApiToken.tenant_id.in_(("acme", "globex"))))
    with pytest.raises(SettingsError):
        await demo.refuse_outside_local(settings(Env.PRODUCTION), world.database)

    async with world.database.transaction() as session:
        await session.execute(delete(ApiToken))
    await demo.refuse_outside_local(settings(Env.PRODUCTION), world.database)


async def test_a_fresh_database_is_seeded_all_or_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/fresh.db")
    try:
        await migrate(database)
        assert await demo.seed(database)
        assert (2, 4, 5) == (
            await count(database, Tenant), await count(database, Member),
            await count(database, ApiToken),
        )  # fmt: skip
    finally:
        await database.close()
