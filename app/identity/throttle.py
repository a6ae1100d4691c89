"""A brake on guessing passwords that every web process shares, and that locks no victim out.

A try counts against its address, and against the account as seen from that address and from
everywhere. A device that signed in to the account before has a count of its own instead: however
hard others guess, it still gets in (OWASP calls its proof a device cookie).
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Instant, utcnow
from app.errors import TooManyRequests
from app.identity.models import SignInWindow

WITHIN: Final = timedelta(minutes=5)
#: Tries of one device, or of one address at one account.
TRIES: Final = 10
#: Tries of all unknown devices at one account.
TRIES_PER_ACCOUNT: Final = 50
#: Tries of one address at all accounts: a whole office may stand behind it.
TRIES_PER_ADDRESS: Final = 200


class Window(msgspec.Struct, frozen=True):
    """What a try counts against, and how many are allowed there."""

    key: bytes
    allowed: int
    #: Only the one who tries writes here, so a success clears it; others' tries stay counted.
    is_own: bool


def windows_of(email: str, address: str, device: str | None) -> list[Window]:
    """Return what a try at an account counts against; `device` is None for an unknown one."""
    account = email.strip().lower()
    if device is not None:
        return [_window(TRIES, "device", account, device, is_own=True)]
    return [
        _window(TRIES_PER_ADDRESS, "address", address),
        _window(TRIES, "account at address", account, address, is_own=True),
        _window(TRIES_PER_ACCOUNT, "account", account),
    ]


def _window(allowed: int, *parts: str, is_own: bool = False) -> Window:
    # Hashed: what people type into a sign-in form is sometimes a password.
    text_ = "\0".join(parts).encode("utf-8", "surrogatepass")
    return Window(hashlib.sha256(text_).digest(), allowed, is_own)


# One statement counts, whoever else counts at the same moment.
_COUNT: Final = text(
    "INSERT INTO sign_in_window (key, tries, until) VALUES (:key, 1, :until)"
    " ON CONFLICT (key) DO UPDATE SET"
    " tries = CASE WHEN sign_in_window.until > :now THEN sign_in_window.tries + 1 ELSE 1 END,"
    " until = CASE WHEN sign_in_window.until > :now THEN sign_in_window.until ELSE :until END"
    " RETURNING tries, until"
).bindparams(bindparam("until", type_=Instant), bindparam("now", type_=Instant))
_COUNTED: Final = _COUNT.columns(SignInWindow.tries, SignInWindow.until)


async def take(session: AsyncSession, windows: Sequence[Window]) -> TooManyRequests | None:
    """Count a try before it is made; return the refusal, which says when the next one may be.

    Returned, not raised: the count must be committed all the same. The first window that is full
    ends it, so that a flood from one address leaves few rows.
    """
    now = utcnow()
    for window in windows:
        values = {"key": window.key, "now": now, "until": now + WITHIN}
        tries, until = (await session.execute(_COUNTED, values)).one()
        if tries > window.allowed:
            wait_s = int((until - now).total_seconds()) + 1
            minutes = wait_s // 60 + 1
            return TooManyRequests(
                f"Too many tries to sign in. Try again in {minutes} min.", wait_s
            )
    return None


async def forgive(session: AsyncSession, windows: Sequence[Window]) -> None:
    """Take back a try that succeeded: it was no guess. In the order of `take`: no deadlock."""
    for window in windows:
        ours = SignInWindow.key == window.key
        if window.is_own:
            await session.execute(delete(SignInWindow).where(ours))
        else:
            fewer = update(SignInWindow).where(ours, SignInWindow.tries > 0)
            await session.execute(fewer.values(tries=SignInWindow.tries - 1))
