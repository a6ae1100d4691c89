"""Every error of the API as application/problem+json (RFC 9457), with all wrong fields at once."""

from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.openapi.datastructures import ResponseSpec
from litestar.typing import FieldDefinition
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.api.paging import MOMENT_EXAMPLE, NO_NUL, MomentIn
from app.errors import AppError, FieldError, Invalid, TooLarge, TooManyRequests, Unavailable

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong; `errors` names every wrong field and what is allowed in it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


def answer(fault: AppError) -> Response[Problem]:
    problem = Problem(
        type=f"urn:oneprotect:problem:{fault.code}",
        title=fault.title,
        status=fault.status,
        detail=fault.detail,
        errors=list(fault.errors),
    )
    return Response(
        problem, status_code=fault.status, media_type=MEDIA_TYPE, headers=_headers(fault)
    )


def _headers(fault: AppError) -> dict[str, str]:
    if isinstance(fault, TooManyRequests):
        return {"Retry-After": str(fault.retry_after_s)}
    if isinstance(fault, Unavailable):
        return {"Retry-After": str(RETRY_AFTER_S)}
    if fault.status == 401:  # noqa: PLR2004
        return {"WWW-Authenticate": "Bearer"}
    return {}


def on_app_error(_request: Request[Any, Any, Any], fault: AppError) -> Response[Problem]:
    return answer(fault)


def on_validation(request: Request[Any, Any, Any], fault: ValidationException) -> Response[Problem]:
    """Answer wrong query parameters, each under its public name with what is allowed."""
    extra = fault.extra if isinstance(fault.extra, list) else []
    known = request.route_handler.parsed_fn_signature.parameters
    errors = [_wrong(known[item["key"]]) for item in extra if item.get("key") in known]
    return answer(Invalid.fields(errors) if errors else Invalid(str(fault.detail)))


def _wrong(parameter: FieldDefinition) -> FieldError:
    given = parameter.kwarg_definition
    name = getattr(given, "name", None) or parameter.name
    kinds = [kind for kind in (parameter.annotation, *parameter.args) if isinstance(kind, type)]
    return FieldError(name, f"{name} must be {_allowed(kinds[0], given)}")


def _allowed(kind: type, given: Any) -> str:
    if issubclass(kind, StrEnum):
        return f"one of: {', '.join(kind)}"
    if issubclass(kind, MomentIn):
        return f"an RFC 3339 time with its offset, such as {MOMENT_EXAMPLE}"
    if issubclass(kind, int):
        return f"a whole number from {given.ge} to {given.le}"
    if given.pattern != NO_NUL:
        return "a next_cursor of this list"
    return f"text of at most {given.max_length} characters"


def on_http_error(request: Request[Any, Any, Any], fault: HTTPException) -> Response[Problem]:
    """Answer what the framework refuses: no such route, wrong method, too large a body."""
    response = answer(_translated(request, fault))
    for name, value in (fault.headers or {}).items():
        response.set_header(name, value)
    return response


def _translated(request: Request[Any, Any, Any], fault: HTTPException) -> AppError:
    if isinstance(fault, RequestEntityTooLarge):
        limit = request.route_handler.resolve_request_max_body_size()
        return TooLarge(f"The body is over the limit of {limit} bytes.")
    known = AppError(_detail(request, fault))
    known.status = fault.status_code
    known.title = HTTPStatus(fault.status_code).phrase.capitalize()
    known.code = known.title.lower().replace(" ", "-")
    return known


def _detail(request: Request[Any, Any, Any], fault: HTTPException) -> str:
    if isinstance(fault, NotFoundException):
        return "There is no such route."
    if isinstance(fault, MethodNotAllowedException):
        return f"The route has no {request.method}; the header Allow names what it has."
    return str(fault.detail)


def on_database_away(
    _request: Request[Any, Any, Any], fault: OperationalError | PoolTimeout | OSError
) -> Response[Problem]:
    """Answer 503: nothing was kept, the caller may try again."""
    log.error("database.away", fault=type(fault).__name__)
    return answer(Unavailable("The database cannot take this now. Nothing was kept; try again."))


def on_bug(request: Request[Any, Any, Any], fault: Exception) -> Response[Problem]:
    log.error("request.failed", path=request.url.path, exc_info=fault)
    return answer(AppError("Something went wrong on our side. It has been logged."))


HANDLERS: Final[dict[int | type[Exception], Any]] = {
    AppError: on_app_error,
    ValidationException: on_validation,
    HTTPException: on_http_error,
    OperationalError: on_database_away,
    PoolTimeout: on_database_away,
    OSError: on_database_away,
    Exception: on_bug,
}

_MEANINGS: Final = {
    400: "A field is wrong; `errors` names each and what is allowed.",
    401: "No valid token was given.",
    403: "The token's role lacks the right.",
    404: "There is no such object in the token's tenant.",
    405: "The route does not know this method.",
    409: "It contradicts what is already stored.",
    413: "Over the stated limit.",
    429: "Too many requests; `Retry-After` says when the next one may come.",
    503: "It cannot be stored now; nothing was kept.",
}


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the error answers of a route for its documentation."""
    return {
        status: ResponseSpec(
            Problem,
            description=_MEANINGS[status],
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
        for status in sorted({*statuses, 400, 401, 403, 429, 503})
    }
