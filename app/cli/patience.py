"""A progress bar for what takes longer than two seconds, on a terminal only."""

import contextlib
import sys
import threading
from collections.abc import Iterator

PATIENCE_S = 2.0


@contextlib.contextmanager
def patience(what: str) -> Iterator[None]:
    """Show on stderr that `what` still goes on, once it has taken two seconds."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task(what, total=None)
    timer = threading.Timer(PATIENCE_S, bar.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
