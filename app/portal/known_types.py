"""What a destination's filter may name: a choice for forms."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.events import catalogue


async def choices(session: AsyncSession, tenant_id: str, seen: list[str]) -> list[tuple[str, str]]:
    """Return what a filter may name, with a word about it: each type, and each family of types."""
    known = await catalogue.known_types(session, tenant_id, seen)
    families = {
        one.type[: at + 1] + "*" for one in known for at, c in enumerate(one.type) if c == "."
    }
    named = [(family, "all of these") for family in families]
    return sorted(named + [(one.type, one.description[:80]) for one in known])
