"""The schema grows while old processes work; a schema that is missing is refused in one line."""

import shutil
from pathlib import Path

import pytest

from app.database import migrate
from tests.chaos.scene import Scene
from tests.tools.programs import free_port

EXTRA = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    for table in ("delivery", "event", "attempt", "destination"):
        op.add_column(table, sa.Column("chaos", sa.String(10), nullable=True))
"""


async def test_old_processes_work_on_through_an_additive_migration_and_start_after_it(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = migrate.newest_revision()
    async with scene.load() as load:
        await load.reached(10)
        with monkeypatch.context() as newer:
            newer.setattr(migrate, "SCRIPTS", scripts(tmp_path))
            assert (before, "9999") == await migrate.migrate(scene.database)
        await load.reached(10)
        for process in (scene.site.web, scene.site.workers[0]):
            process.kill()
        await scene.note_in_flight()
        await scene.site.heal()
        await load.reached(10)

    await scene.reckon(load, "migration while running")
    await undo(scene, before)


async def test_without_a_schema_both_processes_refuse_to_start_in_one_line(
    scene: Scene, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    if scene.site.server is not None:
        scene.site.server.execute("CREATE DATABASE empty")
        url = scene.site.server.url("empty")
    for command in ("serve", "worker"):
        process = scene.site.start(
            "stray", command, ONEPROTECT_DATABASE_URL=url, ONEPROTECT_PORT=str(free_port())
        )
        assert 0 != await process.code()
        (line,) = process.output.splitlines()
        assert "no schema yet; run: oneprotect migrate" in line
    if scene.site.server is not None:
        scene.site.server.execute("DROP DATABASE empty")


def scripts(folder: Path) -> Path:
    """Return our migrations and one that nobody has yet."""
    copied = folder / "migrations"
    shutil.copytree(migrate.SCRIPTS, copied)
    extra = EXTRA.format(newest=migrate.newest_revision())
    (copied / "versions" / "9999_a_column_of_tomorrow.py").write_text(extra)
    return copied


async def undo(scene: Scene, revision: str) -> None:
    async with scene.database.begin() as c:
        for table in ("delivery", "event", "attempt", "destination"):
            await c.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN chaos")
        await c.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
