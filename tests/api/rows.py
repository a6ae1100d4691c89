"""What the tables hold: counted, and searched for what must not be there."""

from typing import Any

from sqlalchemy import func, select, text

from app.database import Base, Database


async def count(database: Database, table: type[Base], **where: Any) -> int:
    """Count the rows of a table that have these values."""
    query = select(func.count()).select_from(table).filter_by(**where)
    async with database.reading() as session:
        return int((await session.execute(query)).scalar_one())


async def tables_that_hold(database: Database, needle: str) -> set[str]:
    """Name every table with this text anywhere, in a column of text or of bytes."""
    found = set()
    async with database.reading() as session:
        for table in Base.metadata.sorted_tables:
            rows = (await session.execute(text(f"SELECT * FROM {table.name}"))).all()
            if any(_holds(value, needle) for row in rows for value in row):
                found.add(table.name)
    return found


def _holds(value: Any, needle: str) -> bool:
    return needle.encode() in value if isinstance(value, bytes) else needle in str(value)
