"""Measure what the portal costs with very many deliveries and viewers."""

from typing import TYPE_CHECKING

import click

from app.cli.bench import measured

if TYPE_CHECKING:
    from app.tools.measure.plan import Report


@click.command("measure-portal")
@click.option("--database-url", default="", help="A server, or a folder's file; never touched.")
@click.option("--deliveries", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--viewers", type=click.IntRange(0, 5_000), default=500, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=40, show_default=True,
              help="How often each page is asked for.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(1.0), default=15.0, show_default=True,
              help="How long the viewers watch.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def measure_portal(
    database_url: str, deliveries: int, viewers: int, rounds: int, seconds: float, as_json: bool
) -> None:
    """Measure the portal's pages and its live streams.

    Fills a scratch database (SQLite in a temporary folder, or one made beside --database-url) with
    a week of deliveries, starts a web process, asks for every page, then lets many viewers watch a
    tenant that changes five times a second. Ends by itself.
    """
    import msgspec

    from app.tools.measure.measurement import run
    from app.tools.measure.plan import Plan

    plan = Plan(
        database_url=database_url, deliveries=deliveries, viewers=viewers, rounds=rounds,
        seconds=seconds,
    )  # fmt: skip
    report = measured(lambda tell: run(plan, tell))
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _print(report)


def _print(report: "Report") -> None:
    import msgspec
    from msgspec import UNSET
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{report.deliveries:,} deliveries on {report.engine},"
        f" written in {report.fill_seconds:.0f} s"
    )
    pages = Table("page", "p50 ms", "p95 ms", "KB", box=box.SIMPLE_HEAD)
    for name, page in report.pages.items():
        pages.add_row(name, f"{page.p50_ms}", f"{page.p95_ms}", f"{page.kb}")
    console.print(pages)
    if report.live is not UNSET:
        live = Table("live", "value", box=box.SIMPLE_HEAD)
        for name, value in msgspec.structs.asdict(report.live).items():
            live.add_row(name.replace("_", " "), "-" if value is None else f"{value}")
        console.print(live)


COMMANDS: tuple[click.Command, ...] = (measure_portal,)
