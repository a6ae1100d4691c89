"""One tenant's chain, and an intruder who writes past the application and its triggers."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import Executable

from app.audit import Action, Actor, Target, proof, record, seals
from app.audit.models import AuditEntry, AuditSeal
from app.audit.proof import Verdict
from app.audit.seals import Notary
from app.database import Database
from app.destinations import signing_keys
from tests.world import World

ANN = Actor(kind="member", id="usr_1", label="ann@acme.example", address="192.0.2.7")
COLUMNS = tuple(column.name for column in AuditEntry.__table__.columns)


class Chain:
    """The trail of one tenant of its own, and someone who can write past the application."""

    def __init__(self, database: Database, notary: Notary) -> None:
        self.database = database
        self.notary = notary
        self.tenant = f"t-{uuid4().hex}"

    async def write(self, number: int) -> None:
        async with self.database.transaction() as session:
            for n in range(number):
                target = Target("destination", f"dst_{n}", f"Destination {n}")
                changes = {"n": n, "ü": [None, True, {"b": 1, "a": "\u2028"}], "f": 0.5}
                await record(session, self.tenant, ANN, Action.DESTINATION_UPDATED, target, changes)

    async def verify(self) -> Verdict:
        async with self.database.reading() as session:
            return await proof.verify(session, self.tenant, self.notary)

    async def rows(self) -> list[dict[str, Any]]:
        query = select(AuditEntry).where(AuditEntry.tenant_id == self.tenant)
        async with self.database.reading() as session:
            entries = (await session.execute(query.order_by(AuditEntry.sequence))).scalars()
            return [{name: getattr(entry, name) for name in COLUMNS} for entry in entries]

    async def seals(self) -> dict[str, AuditSeal]:
        async with self.database.reading() as session:
            return await seals.read(session, self.tenant)

    async def tamper(self, *statements: Executable) -> None:
        async with self.intrusion() as session:
            for statement in statements:
                await session.execute(statement)

    @contextlib.asynccontextmanager
    async def intrusion(self) -> AsyncIterator[AsyncSession]:
        """Yield a transaction of someone who owns the database: no trigger stops them."""
        async with self.database.transaction() as session:
            if self.database.dialect == "postgresql":
                await session.execute(text("SET LOCAL session_replication_role = replica"))
                yield session
                return
            found = await session.execute(
                text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            )
            triggers = list(found.all())
            for name, _ in triggers:
                await session.execute(text(f"DROP TRIGGER {name}"))
            yield session
            c = await session.connection()
            for _, sql in triggers:
                await c.exec_driver_sql(sql)

    def entry(self, sequence: int, tenant: str | None = None) -> tuple[Any, Any]:
        """Return what finds one row."""
        return (
            AuditEntry.tenant_id == (self.tenant if tenant is None else tenant),
            AuditEntry.sequence == sequence,
        )


async def chain_in(world: World, entries: int = 5) -> Chain:
    notary = await signing_keys.notary(world.database, world.keyring)
    made = Chain(world.database, notary)
    await made.write(entries)
    return made
