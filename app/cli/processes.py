"""Commands that run: everything at once, or one process of it."""

import asyncio
import json
import os

import click

from app.cli.listing import as_json, show
from app.cli.patience import patience

PORT = click.IntRange(0, 65_535)


@click.command()
@click.option("--receiver-port", type=click.IntRange(1, 65_535), default=9100, show_default=True)
def up(receiver_port: int) -> None:
    """Run everything here, with one command.

    Migrates the database, seeds demo data when it is empty and ONEPROTECT_ENV is local, and
    runs web, worker and, in local, the receiver.
    """
    from app.settings import Settings
    from app.tools import up

    settings = Settings.from_env(os.environ)
    up.check(settings, receiver_port)
    with patience("Preparing the database"):
        demo = asyncio.run(up.prepare(settings))
    if fault := up.run(settings, receiver_port, demo=demo):
        raise click.ClickException(fault)
    click.echo("Stopped.")


@click.command()
def serve() -> None:
    """Run the web process: API and portal."""
    from app.settings import Settings
    from app.tools import ports, preflight, server

    settings = Settings.from_env(os.environ)
    sock = ports.listen(settings.host, settings.port, setting="ONEPROTECT_PORT")
    asyncio.run(preflight.require_ready(settings))
    from app.asgi import create_app
    from app.collector import calm_collector

    click.echo(f"listens on {ports.address(sock)}")
    application = create_app(settings)
    calm_collector()

    async def end_streams() -> None:
        await application.state.services.hub.close()

    server.run(application, sock, lifespan="on", before_stop=end_streams)


@click.command()
def worker() -> None:
    """Run a worker process: delivers, retries, cleans up."""
    from app.settings import Settings
    from app.tools import preflight

    settings = Settings.from_env(os.environ)
    asyncio.run(preflight.require_ready(settings))
    from app.worker import main

    main(settings)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=PORT, default=9100, show_default=True, help="0: any free port.")
@click.option("--secret", "secrets", multiple=True, metavar="whsec_…", help="Verify with it.")
@click.option("--fail-first", type=click.IntRange(0), default=0, metavar="N")
@click.option("--status", type=click.IntRange(200, 599), default=None, metavar="CODE")
@click.option("--delay", type=click.FloatRange(0, 3600), default=0.0, metavar="S")
def receiver(
    host: str,
    port: int,
    secrets: tuple[str, ...],
    fail_first: int,
    status: int | None,
    delay: float,
) -> None:
    """Receive, show and verify webhooks.

    --fail-first answers the first N attempts of each webhook with 503 (or --status), then 200;
    --status alone answers always so; --delay waits S seconds before each answer.
    """
    from app.sending.signing import Secret
    from app.tools import ports, receiver

    try:
        parsed = [Secret.parse(text) for text in secrets]
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--secret") from None
    behaviour = receiver.Behaviour(fail_first=fail_first, status=status, delay_s=delay)
    receiver.run(ports.listen(host, port, setting="--port"), parsed, behaviour)


@click.command()
@click.option("--status", is_flag=True, help="Change nothing; exit 1 when it is not the newest.")
@as_json
def migrate(status: bool, as_json: bool) -> None:
    """Bring the database to the newest schema."""
    from app.database.migrate import migrate
    from app.settings import Settings
    from app.tools import preflight, schema

    settings = Settings.from_env(os.environ)
    if status:
        found = asyncio.run(schema.standing(settings))
        show([found], schema.Standing, as_json=as_json)
        if found.pending:
            raise click.ClickException("the schema is not the newest; run: oneprotect migrate")
        return

    async def work() -> tuple[str | None, str]:
        database = preflight.open_database(settings)
        try:
            return await migrate(database)
        finally:
            await database.close()

    with patience("Migrating"):
        before, after = asyncio.run(work())
    if as_json:
        click.echo(json.dumps({"before": before, "after": after}))
        return
    click.echo(f"{after} already" if before == after else f"{before or 'empty'} → {after}")


COMMANDS: tuple[click.Command, ...] = (up, serve, worker, receiver, migrate)
