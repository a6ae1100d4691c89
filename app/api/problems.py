"""Every error of the API as application/problem+json (RFC 9457), with all wrong fields at once."""

from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import AppError, FieldError, Invalid, TooManyRequests, Unavailable

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


def on_validation(
    _request: Request[Any, Any, Any], fault: ValidationException
) -> Response[Problem]:
    """Answer a wrong query, path or header parameter."""
    extra = fault.extra if isinstance(fault.extra, list) else []
    errors = [
        FieldError(str(item.get("key", "")), f"{item.get('key', '')}: {item.get('message', '')}")
        for item in extra
        if isinstance(item, dict)
    ]
    return answer(Invalid.fields(errors) if errors else Invalid(str(fault.detail)))


def on_http_error(_request: Request[Any, Any, Any], fault: HTTPException) -> Response[Problem]:
    """Answer what the framework refuses: no such route, wrong method, too large a body."""
    known = AppError(str(fault.detail))
    known.status, known.title = fault.status_code, _title(fault)
    known.code = known.title.lower().replace(" ", "-")
    response = answer(known)
    for name, value in (fault.headers or {}).items():
        response.set_header(name, value)
    return response


def _title(fault: HTTPException) -> str:
    from http import HTTPStatus

    return HTTPStatus(fault.status_code).phrase


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
        for status in sorted({*statuses, 401, 403})
    }
