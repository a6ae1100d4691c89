"""Commands that look: the doctor, the settings, the OpenAPI document."""

import asyncio
import os
from typing import TYPE_CHECKING

import click

from app.cli.listing import as_json, show
from app.cli.patience import patience

if TYPE_CHECKING:
    from app.tools.doctor import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@as_json
def doctor(as_json: bool) -> int:
    """Check that the installation works.

    Looks at settings, database, schema, clock, worker, keys, tenancy, queue and egress.
    """
    from app.tools.doctor import State, examine

    with patience("Examining"):
        checks = asyncio.run(examine(os.environ))
    failed = [check.name for check in checks if check.state is State.FAIL]
    _print_json(checks) if as_json else _print_table(checks)
    if failed:
        raise click.ClickException(f"something is wrong with: {', '.join(failed)}")
    return 0


@click.command()
@click.option("--markdown", is_flag=True, help="The reference for a document, without values.")
@as_json
def settings(markdown: bool, as_json: bool) -> None:
    """Show every setting, its default, and what holds here.

    Secrets and passwords are not shown.
    """
    from app.tools import reference

    if markdown and as_json:
        raise click.UsageError("--markdown and --json exclude each other")
    if markdown:
        click.echo(reference.markdown())
        return
    rows = reference.lines(os.environ)
    show(rows, reference.Line, as_json=as_json, columns=("name", "value", "default", "given"))


@click.command()
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    import msgspec

    from app.asgi import create_app
    from app.settings import Settings

    schema = create_app(Settings.from_env(os.environ)).openapi_schema.to_schema()
    click.echo(msgspec.json.format(msgspec.json.encode(schema)))


def _print_json(checks: "list[Check]") -> None:
    import msgspec

    ok = all(check.state != "fail" for check in checks)
    click.echo(msgspec.json.encode({"ok": ok, "checks": checks}))


def _print_table(checks: "list[Check]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("check", "state", "detail"):
        table.add_column(title, overflow="fold")
    for check in checks:
        table.add_row(check.name, Text(check.state, COLOURS[check.state]), Text(check.detail))
    Console().print(table)


COMMANDS: tuple[click.Command, ...] = (doctor, settings, openapi)
