"""Run an ASGI application on a socket until a signal; a stop is never held up by open streams."""

import contextlib
import signal
import socket
import sys
from typing import Any, Final, Literal

import uvicorn

#: Less than the supervisor's patience (honcho kills 5 s after the first process has stopped).
GRACE_S: Final = 3


def run(application: Any, sock: socket.socket, *, lifespan: Literal["on", "off"]) -> None:
    """Serve; return after SIGINT, end the process with code 0 after SIGTERM."""
    config = uvicorn.Config(
        application,
        lifespan=lifespan,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    # uvicorn stops gracefully, then raises the signal again for whoever handled it before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[sock])
