"""Rows for people as a table, for programs as JSON: the same columns in both."""

import sys
from collections.abc import Sequence
from datetime import datetime

import click
import msgspec

#: What every command that lists or reports accepts.
as_json = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object instead of a table."
)


def show(
    rows: Sequence[msgspec.Struct],
    kind: type[msgspec.Struct],
    *,
    as_json: bool,
    columns: Sequence[str] = (),
) -> None:
    """Print all rows: `{"items": [...]}`, or a table of these columns (all fields of `kind`)."""
    if as_json:
        click.echo(msgspec.json.encode({"items": rows}))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = columns or kind.__struct_fields__
    table = Table(box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(getattr(row, name))) for name in columns))
    # A pipe has no width: one row stays one line there.
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in {None, ""} else str(value)
