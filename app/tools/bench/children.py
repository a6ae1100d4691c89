"""Helpers in processes of their own, so that their work is not counted as ours."""

import asyncio
import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Coroutine, Iterator
from multiprocessing.connection import Connection
from typing import Any, Final

from app.tools.bench.plan import BenchError

END_S: Final = 5.0

Work = Callable[[Connection, Any], Coroutine[Any, Any, None]]


@contextlib.contextmanager
def child(work: Work, argument: Any) -> Iterator[Connection]:
    """Run a coroutine in a process of its own; yield our end of its pipe.

    It ends when its end of the pipe does, also when we are killed.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_main, args=(work, theirs, argument), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(END_S)
        if process.is_alive():
            process.kill()
            process.join()


def answer(pipe: Connection) -> Any:
    """Return what the child sends next."""
    try:
        return pipe.recv()
    except EOFError:
        raise BenchError("a helper process ended too early") from None


def _main(work: Work, pipe: Connection, argument: Any) -> None:
    # Ctrl-C reaches the whole group; the parent decides when a helper ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=_loop()) as runner, contextlib.suppress(EOFError, OSError):
        runner.run(work(pipe, argument))


def _loop() -> Any:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop
