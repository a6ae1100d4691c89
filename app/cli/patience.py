"""A progress bar for what takes longer than two seconds, on a terminal only."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

PATIENCE_S = 2.0


@contextlib.contextmanager
def patience(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr that `what` still goes on, once it has taken two seconds.

    Yields what may be told how much is done, of how much.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)
    timer = threading.Timer(PATIENCE_S, bar.start)
    timer.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
