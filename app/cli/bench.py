"""Measure this installation's figures."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from app.tools.bench.overheads import Overheads
    from app.tools.bench.plan import Plan, Progress, Report

T = TypeVar("T")

PROFILES = ("throughput", "latency", "backlog", "neighbour")
#: The fewest bytes that a JSON object with a text in it can have.
MIN_PAYLOAD = 16


@click.command()
@click.option("--profile", type=click.Choice(PROFILES), default="throughput", show_default=True)
@click.option("--database-url", default="", help="A server, or a folder's file; never touched.")
@click.option("--events", type=click.IntRange(1), help="Published, or due.  [default: 20000, 1000]")
@click.option("--destinations", type=click.IntRange(1, 1_000), help="[default: 10, 1]")
@click.option(
    "--payload-bytes", type=click.IntRange(MIN_PAYLOAD, 1_048_576), default=1024, show_default=True
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--claim-rows",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="backlog: due rows that one claim is timed with.",
)
@click.option("--metrics/--no-metrics", default=True, help="Count for Prometheus.  [default: on]")
@click.option("--tracing", is_flag=True, help="Trace, with a collector on loopback.")
@click.option("--overheads", is_flag=True, help="Bare, with metrics, with tracing too: in one run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def bench(
    profile: str,
    database_url: str,
    events: int | None,
    destinations: int | None,
    payload_bytes: int,
    workers: int,
    claim_rows: int,
    metrics: bool,
    tracing: bool,
    overheads: bool,
    as_json: bool,
) -> None:
    """Measure throughput, latency, backlog or neighbour.

    Starts web, workers and a receiver of its own on loopback, over a scratch database (SQLite in
    a temporary folder, or one made beside --database-url), and ends by itself. Each event goes to
    every destination; in backlog every due row is an event of its own. latency and neighbour
    publish 50 events a second to one destination.
    """
    import msgspec

    from app.tools.bench.plan import Plan, Profile

    plan = Plan(
        profile=Profile(profile),
        database_url=database_url,
        events=events or 0,
        destinations=destinations or 0,
        payload_bytes=payload_bytes,
        workers=workers,
        claim_rows=claim_rows,
        metrics=metrics,
        tracing=tracing,
    )
    report = _run(plan, overheads=overheads)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _print_table(report)


def _run(plan: "Plan", *, overheads: bool) -> "Report | Overheads":
    from app.tools.bench import measurement
    from app.tools.bench import overheads as watching

    if overheads:
        return measured(lambda tell: watching.run(plan, tell))
    return measured(lambda tell: measurement.run(plan, tell))


def measured(run: "Callable[[Progress], Coroutine[Any, Any, T]]") -> "T":
    """Return what a measurement gives; show how far it is; end it cleanly when one is told to."""
    from app.tools.bench.plan import BenchError

    async def work() -> "T":
        task = asyncio.ensure_future(run(tell))
        # A closed terminal or a plain kill must not leave processes and databases behind.
        for each in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(each, task.cancel)
        return await task

    try:
        with _progress() as tell:
            return asyncio.run(work())
    except BenchError as fault:
        raise click.ClickException(str(fault)) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise click.Abort from None


@contextlib.contextmanager
def _progress() -> "Iterator[Progress]":
    """Yield what tells a person at a terminal how far it is; elsewhere it says nothing."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn

    bar = Progress(
        *Progress.get_default_columns(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    shown = bar.add_task("Preparing", total=None)
    with bar:
        yield lambda what, done, total: bar.update(
            shown, description=what, completed=done, total=total or None
        )


def _print_table(report: "Report | Overheads") -> None:
    import msgspec
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value", box=box.SIMPLE_HEAD)
    for name, value in msgspec.to_builtins(report).items():
        for key, inner in _flat(name, value):
            table.add_row(key, "-" if inner is None else f"{inner}")
    Console().print(table)


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(f"{name} {key}", inner)


COMMANDS: tuple[click.Command, ...] = (bench,)
