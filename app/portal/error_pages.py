"""Every error as a page for people; for htmx as a short message over the page they are on."""

import json
from http import HTTPStatus
from typing import Any, Final

import structlog
from litestar import Response, get
from litestar.exceptions import HTTPException
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import AppError, NotFound, TooManyRequests, Unauthenticated, Unavailable
from app.portal.cookies import Http
from app.portal.guards import BACKGROUND, PUBLIC
from app.portal.rendering import is_htmx, link, page, redirect

log = structlog.get_logger(__name__)

_TITLES: Final = {
    403: "You may not do this",
    404: "There is nothing here",
    409: "That is not possible now",
    429: "Too many attempts",
    503: "Temporarily unavailable",
}


@get("/{path:path}", opt=PUBLIC)
async def lost() -> None:
    """Answer what no route knows; the other faces' folders keep their own answers."""
    raise NotFound


def on_app_error(request: Http, fault: AppError) -> Response[Any]:
    if isinstance(fault, Unauthenticated):
        return _to_sign_in(request)
    response = _answer(request, fault)
    if isinstance(fault, TooManyRequests):
        response.set_header("Retry-After", str(fault.retry_after_s))
    return response


def on_http_error(request: Http, fault: HTTPException) -> Response[Any]:
    """Answer what the framework refuses: no such route, wrong method, too large a form."""
    if fault.status_code == HTTPStatus.NOT_FOUND:
        return _answer(request, NotFound())
    known = AppError(HTTPStatus(fault.status_code).phrase + ".")
    known.status = fault.status_code
    return _answer(request, known)


def on_database_away(request: Http, fault: Exception) -> Response[Any]:
    log.error("database.away", fault=type(fault).__name__)
    return _answer(
        request, Unavailable("The database cannot answer now. Nothing was changed; try again.")
    )


def on_bug(request: Http, fault: Exception) -> Response[Any]:
    log.error("page.failed", path=request.url.path, exc_info=fault)
    return _answer(request, AppError("Something went wrong on our side. It has been logged."))


PAGE_HANDLERS: Final[dict[int | type[Exception], Any]] = {
    AppError: on_app_error,
    HTTPException: on_http_error,
    OperationalError: on_database_away,
    PoolTimeout: on_database_away,
    OSError: on_database_away,
    Exception: on_bug,
}


def _to_sign_in(request: Http) -> Response[Any]:
    is_page = request.method == "GET"
    if is_htmx(request):
        here = request.headers.get("hx-current-url", "")
        path = "/" + here.partition("//")[2].partition("/")[2]
        return _empty(401, {"HX-Redirect": link("/login", next=path)})
    if request.headers.get("accept", "").startswith("text/event-stream"):
        return _empty(401, {})
    query = request.url.query
    path = f"{request.url.path}?{query}" if query else request.url.path
    return redirect(request, link("/login", next=path if is_page and path != "/" else None))


def _answer(request: Http, fault: AppError) -> Response[Any]:
    if not is_htmx(request):
        title = _TITLES.get(fault.status, "Something went wrong")
        return page(request, "error.html", status=fault.status, title=title, fault=fault)
    if BACKGROUND in request.headers and isinstance(fault, NotFound):
        return _empty(404, {"HX-Refresh": "true"})  # what was looked at is gone
    trigger = json.dumps({"toast": {"text": fault.detail, "bad": True}})
    return _empty(fault.status, {"HX-Reswap": "none", "HX-Trigger": trigger})


def _empty(status: int, headers: dict[str, str]) -> Response[Any]:
    return Response("", status_code=status, media_type="text/plain", headers=headers)
