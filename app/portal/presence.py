"""Who looks at a live page: checked by one query for all of them, not by one for each.

A page that refreshes itself asks again and again with a session that was found good a moment ago.
Such a request is believed for CHECKED_S; then all sessions that refresh here are looked up
together. Whatever a person asks for by hand is looked up by itself, every time.
"""

import asyncio
from typing import Final

from app.crypto import token_hash
from app.database import Database
from app.identity import service
from app.identity.permissions import Principal

#: So long after a sign-out elsewhere a page may still refresh itself.
CHECKED_S: Final = 2.0
#: A session whose page has not asked for so long is forgotten here.
FORGOTTEN_S: Final = 60.0


class Presence:
    """One per web process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, Principal] = {}
        self._asked: dict[bytes, float] = {}
        self._checked_at = 0.0
        self._check: asyncio.Task[None] | None = None

    def remember(self, text: str, principal: Principal) -> None:
        """Keep who was found just now; the next common look-up takes it in."""
        key = token_hash(text)
        self._known[key], self._asked[key] = principal, _now()

    def forget(self, text: str) -> None:
        """Believe this session no more: it has ended here."""
        self._drop(token_hash(text))

    def _drop(self, key: bytes) -> None:
        self._known.pop(key, None)
        self._asked.pop(key, None)

    async def find(self, text: str) -> Principal | None:
        """Return who is signed in; None: not known here, look it up."""
        key = token_hash(text)
        if key not in self._known:
            return None
        self._asked[key] = _now()
        if _now() - self._checked_at > CHECKED_S:
            if self._check is None or self._check.done():
                self._check = asyncio.create_task(self._look_all_up())
            await asyncio.shield(self._check)
        return self._known.get(key)

    async def _look_all_up(self) -> None:
        now = _now()
        asked = {key for key, at in self._asked.items() if now - at < FORGOTTEN_S}
        async with self._database.reading() as session:
            found = await service.find_sessions(session, asked)
        for key in list(self._known):
            if key in found:
                self._known[key] = found[key][0]
            elif self._asked[key] <= now or key in asked:
                self._drop(key)  # but not one that came meanwhile: it was looked up by itself
        self._checked_at = now


def _now() -> float:
    return asyncio.get_running_loop().time()
