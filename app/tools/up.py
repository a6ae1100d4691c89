"""The one command: check, migrate, seed, run everything, and say where to look."""

import os
from collections.abc import Mapping

from sqlalchemy import select

from app.crypto import token_hash
from app.database import Database
from app.database.migrate import migrate
from app.identity.demo import DEMO_TOKENS, refuse_outside_local, seed
from app.identity.models import ApiToken
from app.settings import Env, Settings
from app.tools import ports, preflight, supervisor
from app.tools.banner import banner

RECEIVER_HOST = "127.0.0.1"


def check(settings: Settings, receiver_port: int) -> None:
    """Raise the one line that says what stands in the way; nothing has been made so far."""
    ports.require_free(settings.host, settings.port, setting="ONEPROTECT_PORT")
    if settings.env is Env.LOCAL:
        if receiver_port == settings.port:
            raise OSError(f"port {receiver_port} is wanted twice; choose another --receiver-port")
        ports.require_free(RECEIVER_HOST, receiver_port, setting="--receiver-port")
    if settings.sqlite_path or not settings.secret_keys:
        preflight.require_writable(settings.data_dir)


async def prepare(settings: Settings) -> bool:
    """Migrate, seed an empty local database; return whether the demo sign-ins exist."""
    database = preflight.open_database(settings)
    try:
        await migrate(database)
        await refuse_outside_local(settings, database)
        if settings.env is not Env.LOCAL:
            return False
        await seed(database)
        return await _has_demo(database)
    finally:
        await database.close()


def run(settings: Settings, receiver_port: int, *, demo: bool) -> str | None:
    """Run web, worker and (in `local`) the receiver; return the line about a failure, if any."""
    processes = supervisor.commands()
    env = dict(os.environ)
    local = settings.env is Env.LOCAL
    if local:
        receiver = f"oneprotect receiver --host {RECEIVER_HOST} --port {receiver_port}"
        processes["receiver"] = supervisor.own_command(receiver)
        env |= receiver_allowed(settings, receiver_port)
    text = banner(settings, receiver_port=receiver_port if local else None, demo=demo)
    return supervisor.run(processes, env, settings, text)


def receiver_allowed(settings: Settings, port: int) -> Mapping[str, str]:
    """Name the one private place that a local installation may send to: the receiver, exactly."""
    places = [settings.egress_allow, f"{RECEIVER_HOST}:{port}", f"localhost:{port}"]
    return {"ONEPROTECT_EGRESS_ALLOW": ",".join(filter(None, places))}


async def _has_demo(database: Database) -> bool:
    hashes = [token_hash(text) for _, text, _ in DEMO_TOKENS]
    async with database.reading() as session:
        found = await session.execute(select(ApiToken.id).where(ApiToken.token_hash.in_(hashes)))
        return len(found.all()) == len(hashes)
