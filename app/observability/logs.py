"""Structured logs: one line per fact, JSON outside local, readable lines inside."""

import logging
import sys

import structlog


def set_up_logs(env: str, level: str = "info") -> None:
    """Send our own and the libraries' logs to standard error."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if env == "local":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(message)s")
    # These log whole URLs or headers at lower levels (tokens in a query), or a line per job.
    for name in ("httpx", "httpcore", "aiohttp", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("saq").setLevel(logging.ERROR)  # it warns of every ordinary stop
    # A line per connection that it cannot make, many a second; our own line says it once a wait.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
