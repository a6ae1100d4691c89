"""Commands that prove the audit trail: in the database, and in an export anywhere."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.patience import patience

if TYPE_CHECKING:
    from app.audit.proof import Verdict

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """Prove the audit trail."""


@audit.command()
@click.option("--tenant", help="This tenant alone.  [default: every chain]")
@click.option("--against", type=FILE, help="A signed export: the chain must still hold its head.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def verify(tenant: str | None, against: Path | None, as_json: bool) -> None:
    """Find an entry that was altered, removed, put in or moved.

    Walks each tenant's chain of hashes and compares its ends with what this installation's key
    has sealed, and with an export if one is given. Fails when anything does not fit.
    """
    import msgspec

    from app.audit.export import ExportFault
    from app.settings import Settings
    from app.tools import audit as tool

    settings = Settings.from_env(os.environ)
    try:
        with patience("Verifying"):
            verdicts = asyncio.run(tool.verify(settings, tenant, against))
    except ExportFault as fault:
        raise click.ClickException(f"{against}: {fault}") from None
    broken = [name for name, verdict in verdicts.items() if not verdict.intact]
    if as_json:
        click.echo(msgspec.json.encode({"intact": not broken, "tenants": verdicts}))
    else:
        for name, verdict in verdicts.items():
            click.echo(f"{name}: {_sentence(verdict)}")
    if broken:
        raise click.ClickException(f"the audit trail is broken for: {', '.join(broken)}")


def _sentence(verdict: "Verdict") -> str:
    if not verdict.intact:
        return f"broken at entry {verdict.broken_at}: {verdict.fault}"
    sealed = f"sealed up to entry {verdict.sealed}" if verdict.sealed else "not sealed yet"
    pruned = f", from entry {verdict.first} on" if verdict.first > 1 else ""
    return f"whole, {verdict.entries} entries{pruned}, {sealed}, head {verdict.head}"


@audit.command("check-export")
@click.argument("file", type=FILE)
@click.option(
    "--keys", required=True, metavar="FILE|URL",
    help="The public keys: https://HOST/.well-known/webhooks-keys.json, or a copy of it.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a line.")
def check_export(file: Path, keys: str, as_json: bool) -> None:
    """Verify an exported audit trail, without a database."""
    import msgspec

    from app.audit import export
    from app.tools import audit as tool

    try:
        notary = tool.public_keys(keys)
        with patience("Checking"):
            found = export.check(file, notary)
    except (tool.KeysError, export.ExportFault) as fault:
        raise click.ClickException(str(fault)) from None
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    what = "the whole chain" if found.complete else "a selection"
    click.echo(
        f"genuine: {found.tenant}, {found.entries} entries, {what} up to entry"
        f" {found.head_sequence}, head {found.head}, signed by {found.key_id} on"
        f" {found.exported_at:%Y-%m-%d %H:%M:%S} UTC"
    )


COMMANDS: tuple[click.Command, ...] = (audit,)
