"""The signed export: whoever has the public keys can tell that it is whole, without a database."""

import asyncio
import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from app.audit import export
from app.audit.export import ExportFault
from app.audit.seals import Notary
from app.audit.upkeep import prune
from app.crypto import Keyring
from app.database import utcnow
from app.destinations import signing_keys
from app.sending.signing import SigningKey
from app.tools import audit as tool
from tests.behaviours import answer
from tests.receiver import Receiver
from tests.world import World

FORMATS = ("csv", "ndjson")
URL = "https://93.184.216.34/hook"
ODD_NAMES = ("=1+1", "'quoted", "'=both", 'comma, and "quotes"', "ü\u2028é", "-")


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def exported(world: World, folder: Path, kind: str, query: str = "") -> tuple[Path, Notary]:
    """Return a file as an auditor saves it, and the keys as anybody reads them."""
    path = f"/audit/export?format={kind}{query}"
    body = (await world.as_("acme_auditor").get(path)).content
    keys = (await world.client.get("/.well-known/webhooks-keys.json")).content
    (folder / f"audit.{kind}").write_bytes(body)
    (folder / "keys.json").write_bytes(keys)
    return folder / f"audit.{kind}", tool.public_keys(str(folder / "keys.json"))


async def grown(world: World) -> None:
    for name in ODD_NAMES:
        await world.make_destination(URL, name=name, headers={"X-Key": "k"})


async def test_a_whole_export_is_genuine_with_nothing_but_the_public_keys(
    world: World, tmp_path: Path, kind: str
) -> None:
    await grown(world)
    file, notary = await exported(world, tmp_path, kind)

    found = export.check(file, notary)

    verdict = (await world.as_("acme_auditor").get("/audit/verify")).json()
    assert (None, "acme", True) == (notary.key_id, found.tenant, found.complete)
    assert (verdict["entries"], verdict["head"]) == (found.entries, found.head)


async def test_a_selection_is_genuine_and_says_that_it_is_one(
    world: World, tmp_path: Path, kind: str
) -> None:
    await grown(world)
    file, notary = await exported(world, tmp_path, kind, "&action=destination.created")

    found = export.check(file, notary)

    assert (len(ODD_NAMES), False) == (found.entries, found.complete)


async def test_an_export_without_an_entry_is_genuine(
    world: World, tmp_path: Path, kind: str
) -> None:
    file, notary = await exported(world, tmp_path, kind, "&actor=nobody")

    assert 0 == export.check(file, notary).entries


async def test_what_retention_left_is_a_whole_export(
    world: World, tmp_path: Path, kind: str
) -> None:
    await grown(world)
    ours = await signing_keys.notary(world.database, world.keyring)
    await prune(world.database, ours, days=0, now=utcnow())
    file, notary = await exported(world, tmp_path, kind)

    assert (1, True) == (export.check(file, notary).entries, export.check(file, notary).complete)


def forgeries(raw: bytes) -> Iterator[tuple[str, bytes]]:
    lines = raw.splitlines(keepends=True)
    for number, line in enumerate(lines):
        flipped = bytearray(line)
        flipped[len(line) // 2] ^= 1
        yield f"a bit of line {number}", b"".join([*lines[:number], flipped, *lines[number + 1 :]])
        yield f"without line {number}", b"".join([*lines[:number], *lines[number + 1 :]])
        yield f"line {number} twice", b"".join([*lines[:number], line, *lines[number:]])
    yield "two lines swapped", b"".join([lines[0], lines[2], lines[1], *lines[3:]])
    yield "cut short", raw[: len(raw) - 40]
    yield "empty", b""
    yield "more behind the end", raw + lines[1]


async def test_no_line_can_be_changed_removed_put_in_or_moved(
    world: World, tmp_path: Path, kind: str
) -> None:
    await grown(world)
    file, notary = await exported(world, tmp_path, kind)
    believed, tried = [], 0
    for name, forged in forgeries(file.read_bytes()):
        (tmp_path / "forged").write_bytes(forged)
        tried += 1
        try:
            export.check(tmp_path / "forged", notary)
            believed.append(name)
        except ExportFault:
            pass

    assert [] == believed
    assert tried > 3 * len(ODD_NAMES)


async def test_no_field_of_the_last_line_can_be_changed(world: World, tmp_path: Path) -> None:
    file, notary = await exported(world, tmp_path, "ndjson")
    *entries, last = file.read_bytes().splitlines(keepends=True)
    closing = json.loads(last)["signed_head"]
    others = {"filters": {"actor": "x"}, "entries": 1, "head_sequence": 1, "oneprotect_audit": 2,
              "exported_at": "2020-01-01T00:00:00Z"}  # fmt: skip
    for name, value in closing.items():
        forged = {"signed_head": closing | {name: others.get(name, f"{value}0")}}
        (tmp_path / "forged").write_bytes(b"".join([*entries, json.dumps(forged).encode()]))

        with pytest.raises(ExportFault):
            export.check(tmp_path / "forged", notary)


async def test_who_signs_with_another_key_is_not_believed(world: World, tmp_path: Path) -> None:
    file, notary = await exported(world, tmp_path, "ndjson")
    other = SigningKey.generate()
    wrong = Notary({key: signing_keys.public_bytes(other.public) for key in notary.public})

    with pytest.raises(ExportFault, match="signature"):
        export.check(file, wrong)
    with pytest.raises(ExportFault, match="not among the keys"):
        export.check(file, Notary({}))


async def test_entries_that_do_not_chain_are_found_even_when_our_key_signed_them(
    world: World, tmp_path: Path
) -> None:
    """Whoever holds the key cannot sign a history that contradicts itself."""
    ours = await signing_keys.notary(world.database, world.keyring)
    file, _ = await exported(world, tmp_path, "ndjson")
    *lines, last = file.read_bytes().splitlines(keepends=True)
    body = lines[0].replace(b'"actor":"', b'"actor":"x') + b"".join(lines[1:])
    closing = export.NdjsonClosing(
        export._signed(  # as a forger with the key would
            export.Closing(**json.loads(last)["signed_head"] | {
                "sha256": hashlib.sha256(body).hexdigest(),
                "exported_at": utcnow(),
            }), ours)
    )  # fmt: skip
    file.write_bytes(body + msgspec.json.encode(closing) + b"\n")

    with pytest.raises(ExportFault, match="hash"):
        export.check(file, ours)


async def test_the_keys_are_read_from_a_url_too(world: World) -> None:
    keys = (await world.client.get("/.well-known/webhooks-keys.json")).content
    async with Receiver(answer(200, keys)) as receiver, Receiver(answer(500)) as broken:
        notary = await asyncio.to_thread(tool.public_keys, receiver.url)
        for wrong in (broken.url, "http://127.0.0.1:1/keys"):
            with pytest.raises(tool.KeysError, match="127"):
                await asyncio.to_thread(tool.public_keys, wrong)

    assert {key["id"] for key in json.loads(keys)["keys"]} == set(notary.public)


def test_what_is_no_list_of_keys_is_one_line(tmp_path: Path) -> None:
    for wrong in (b"", b"[]", b'{"keys":[{"id":"x","public_key":"whpk_AAAA"}]}', b"\xff"):
        (tmp_path / "keys.json").write_bytes(wrong)

        with pytest.raises(tool.KeysError, match="holds no public keys"):
            tool.public_keys(str(tmp_path / "keys.json"))


async def test_without_a_key_that_opens_nothing_is_exported_unsigned(world: World) -> None:
    await world.make_destination(URL, asymmetric_signature=True)
    world.services.keyring = Keyring([b"0" * 32])

    answered = await world.as_("acme_auditor").get("/audit/export")

    assert 503 == answered.status_code
    assert "ONEPROTECT_SECRET_KEYS" in answered.json()["detail"]


async def test_a_spreadsheet_reads_the_rows_and_one_comment(world: World) -> None:
    await grown(world)

    text = (await world.as_("acme_auditor").get("/audit/export")).text

    *rows, closing = list(csv.reader(io.StringIO(text)))
    assert {len(export.EntryOut.__struct_fields__)} == {len(row) for row in rows}
    assert "#oneprotect-audit" == closing[0]
