"""`oneprotect audit`: every chain, one chain, an export; what is broken fails the command."""

import json
import sqlite3
from pathlib import Path

import anyio
import pytest

from tests.cli.conftest import Command
from tests.world import World, build, open_world


@pytest.fixture
def seeded(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'op.db'}"
    anyio.run(build, url)
    return url


KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def alter(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "op.db")
    for name in ("audit_entry_no_update", "audit_entry_no_delete"):
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")
    connection.execute(statement)
    connection.commit()
    connection.close()


def export(url: str, folder: Path) -> None:
    async def fetch() -> None:
        async with open_world(url) as world:
            await _save(world, folder)

    anyio.run(fetch)


async def _save(world: World, folder: Path) -> None:
    for kind in ("csv", "ndjson"):
        answer = await world.as_("acme_auditor").get(f"/audit/export?format={kind}")
        (folder / f"acme.{kind}").write_bytes(answer.content)
    keys = await world.client.get("/.well-known/webhooks-keys.json")
    (folder / "keys.json").write_bytes(keys.content)


def test_every_chain_is_verified_and_told(command: Command, seeded: str) -> None:
    done = command("audit", "verify", DATABASE_URL=seeded, SECRET_KEYS=KEY)
    as_json = command("audit", "verify", "--json", DATABASE_URL=seeded, SECRET_KEYS=KEY)

    assert (0, "") == (done.returncode, done.stderr)
    lines = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert ["acme", "globex", "platform"] == lines
    told = json.loads(as_json.stdout)
    assert told["intact"]
    assert set(lines) == set(told["tenants"])


def test_an_altered_entry_fails_the_command_and_only_its_tenant(
    command: Command, seeded: str, tmp_path: Path
) -> None:
    alter(tmp_path, "UPDATE audit_entry SET actor_label = 'nobody'"
                    " WHERE tenant_id = 'acme' AND sequence = 2")  # fmt: skip

    every = command("audit", "verify", DATABASE_URL=seeded, SECRET_KEYS=KEY)
    as_json = command("audit", "verify", "--json", DATABASE_URL=seeded, SECRET_KEYS=KEY)
    other = command("audit", "verify", "--tenant", "globex", DATABASE_URL=seeded, SECRET_KEYS=KEY)

    assert (1, "oneprotect: the audit trail is broken for: acme\n") == (
        every.returncode, every.stderr,
    )  # fmt: skip
    assert "acme: broken at entry 2: entry 2 was altered" in every.stdout
    assert (1, 2) == (
        as_json.returncode, json.loads(as_json.stdout)["tenants"]["acme"]["broken_at"],
    )  # fmt: skip
    assert 0 == other.returncode


def test_a_newest_entry_that_is_gone_is_found_by_an_older_export(
    command: Command, seeded: str, tmp_path: Path
) -> None:
    export(seeded, tmp_path)
    against = ("audit", "verify", "--against", str(tmp_path / "acme.csv"))
    before = command(*against, DATABASE_URL=seeded, SECRET_KEYS=KEY)
    newest = "(SELECT max(sequence) FROM audit_entry WHERE tenant_id = 'acme')"
    alter(tmp_path, f"DELETE FROM audit_entry WHERE tenant_id = 'acme' AND sequence = {newest}")
    alter(tmp_path, "DROP TRIGGER audit_head_no_update")
    alter(tmp_path, "UPDATE audit_head SET sequence = sequence - 1, hash = (SELECT hash FROM"
                    " audit_entry e WHERE e.tenant_id = 'acme' ORDER BY sequence DESC LIMIT 1)"
                    " WHERE tenant_id = 'acme'")  # fmt: skip

    alone = command("audit", "verify", "--tenant", "acme", DATABASE_URL=seeded, SECRET_KEYS=KEY)
    after = command(*against, DATABASE_URL=seeded, SECRET_KEYS=KEY)

    # Nothing was sealed yet, so the database alone cannot know better: the export does.
    assert (0, 0, 1) == (before.returncode, alone.returncode, after.returncode)
    assert "was exported and is missing" in after.stdout


def test_an_export_is_checked_without_a_database(
    command: Command, seeded: str, tmp_path: Path
) -> None:
    export(seeded, tmp_path)
    for kind in ("csv", "ndjson"):
        file, keys = str(tmp_path / f"acme.{kind}"), str(tmp_path / "keys.json")
        nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
        done = command("audit", "check-export", file, "--keys", keys, **nowhere)
        as_json = command("audit", "check-export", file, "--keys", keys, "--json", **nowhere)
        raw = Path(file).read_bytes()
        Path(file).write_bytes(raw.replace(b"acme.example", b"evil.example", 1))
        forged = command("audit", "check-export", file, "--keys", keys, **nowhere)

        assert (0, "") == (done.returncode, done.stderr)
        assert done.stdout.startswith("genuine: acme, ")
        assert json.loads(as_json.stdout)["complete"]
        assert 1 == forged.returncode
        assert "was changed" in forged.stderr
