"""Run an ASGI application on a socket until a signal; a stop is never held up by open streams."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import uvicorn

#: Less than the supervisor's patience (honcho kills 5 s after the first process has stopped).
GRACE_S: Final = 3


def run(
    application: Any,
    sock: socket.socket,
    *,
    lifespan: Literal["on", "off"],
    before_stop: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve; return after SIGINT, end the process with code 0 after SIGTERM.

    `before_stop` ends what would never end by itself; other requests get GRACE_S seconds.
    """
    config = uvicorn.Config(
        application,
        lifespan=lifespan,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
    server = Server(config)
    server.before_stop = before_stop
    # uvicorn stops gracefully, then raises the signal again for whoever handled it before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[sock])


class Server(uvicorn.Server):
    """uvicorn waits for open streams before it lets the application close them; we ask first."""

    before_stop: Callable[[], Awaitable[None]] | None = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.before_stop:
            await self.before_stop()
        await super().shutdown(sockets)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Drop the traceback of a request that was cancelled because the grace was over."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
