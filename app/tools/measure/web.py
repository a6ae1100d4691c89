"""The web process that is measured: the product's application, with its statements counted."""

import asyncio
import os
import socket
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import uvicorn
from sqlalchemy import Engine, event

from app.asgi import create_app
from app.settings import Settings
from app.tools.server import Server


class Web(msgspec.Struct, frozen=True):
    """Where to listen, and with which settings."""

    port: int
    environment: dict[str, str]


async def serve(pipe: Connection, web: Web) -> None:
    """Serve until the pipe ends; answer each wish with the process id and the counts so far.

    Requests that come before the application has started wait in the socket's queue.
    """
    counts: Counter[str] = Counter()

    def count(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        counts["pulse" if "FROM pulse" in statement else "all"] += statement != "BEGIN"

    event.listen(Engine, "before_cursor_execute", count)
    app = create_app(Settings.from_env(web.environment))
    config = uvicorn.Config(
        app,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=1,
    )

    async def end_streams() -> None:
        await app.state.services.hub.close()

    server = Server(config)
    server.before_stop = end_streams
    with socket.create_server(("127.0.0.1", web.port), backlog=2_048) as sock:
        running = asyncio.ensure_future(server.serve(sockets=[sock]))
        try:
            while await asyncio.to_thread(pipe.recv):
                pipe.send((os.getpid(), counts["all"], counts["pulse"]))
        finally:
            server.should_exit = True
            await running
