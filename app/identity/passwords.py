"""Password hashing with argon2id (RFC 9106), and equal effort for accounts that do not exist."""

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import FieldError, Invalid

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 200

# RFC 9106, section 4, second recommendation: 64 MiB, 3 passes.
_hasher = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4)
#: Made by the same hasher once: anew, it would cost each process a tenth of a second of its start.
DECOY: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$yzi/dE33987Gi4k1JQ5vUQ"
    "$ULt/DwgHr3WGHPLeeyBkyze+dEp2v2r/mpN1uGMgKVU"
)


def hash_password(password: str) -> str:
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        rule = f"password must have {MIN_LENGTH} to {MAX_LENGTH} characters"
        raise Invalid.fields([FieldError("password", rule)])
    return _hasher.hash(password)


def password_matches(stored: str | None, password: str) -> bool:
    """Compare; an account that is unknown or has no password takes as long, and never matches."""
    try:
        _hasher.verify(stored or DECOY, password[:MAX_LENGTH])
    except (VerificationError, InvalidHashError):
        return False
    return bool(stored)
