"""The ways a caller can be wrong, and the ways we can be unable; faces turn them into answers.

AppError
├── Invalid            400  the request breaks a rule; `errors` names every wrong field
├── Unauthenticated    401  nobody we know is asking
├── Forbidden          403  we know who asks; their role lacks the right
├── NotFound           404  no such object, or another tenant's
├── Conflict           409  the request contradicts what is already stored
├── TooLarge           413  over a stated limit
├── TooManyRequests    429  over a stated rate; `retry_after_s` says when
└── Unavailable        503  we cannot store it now; nothing was kept
SettingsError               a setting stops the start
"""

from collections.abc import Iterable, Sequence

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field and what is allowed in it."""

    field: str
    message: str


def unknown_field(name: str, allowed: Iterable[str], at: str = "") -> FieldError:
    """Say that a field does not exist; a long name is cut, an answer must not echo a whole body."""
    name = name[:100]
    return FieldError(
        at + name, f"{name} is not a field; allowed are: {', '.join(sorted(allowed))}"
    )


class AppError(Exception):
    status = 500
    code = "internal-error"
    title = "Internal error"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.title
        self.errors: Sequence[FieldError] = ()
        super().__init__(self.detail)


class Invalid(AppError):
    status = 400
    code = "invalid-request"
    title = "Invalid request"

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)

    @classmethod
    def fields(cls, errors: Sequence[FieldError]) -> "Invalid":
        """All wrong fields at once; the first one leads, so that it stands in `detail`."""
        return cls(errors[0].message, errors)


class Unauthenticated(AppError):
    status = 401
    code = "unauthenticated"
    title = "Not signed in"


class Forbidden(AppError):
    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFound(AppError):
    status = 404
    code = "not-found"
    title = "Not found"

    def __init__(self) -> None:
        # One text for all: it must not tell a foreign object from one that never existed.
        super().__init__("There is no such object.")


class Conflict(AppError):
    status = 409
    code = "conflict"
    title = "Conflict"


class TooLarge(AppError):
    status = 413
    code = "too-large"
    title = "Too large"


class TooManyRequests(AppError):
    status = 429
    code = "too-many-requests"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(AppError):
    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"


class SettingsError(Exception):
    """A setting that stops the start: one line with the variable, the fault and what is allowed."""
