"""The receiver's few routes, as a bare ASGI application: any other POST is a webhook."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import jinja2
import msgspec

from app.sending.signing import Secret
from app.tools.receiver.inbox import MAX_BODY_BYTES, Inbox, Received, visible

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HERE: Final = Path(__file__).parent
SECURITY: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: visible(value) if type(value) is str else value,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    location: str = ""


class Hangup(Exception):
    """The client went away before its request was complete."""


class Request(msgspec.Struct, frozen=True):
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    complete: bool

    @property
    def is_foreign(self) -> bool:
        """Whether another site's page made the browser send this."""
        return self.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}


class Receiver:
    """`arrived` is told of each webhook, before it is answered."""

    def __init__(self, inbox: Inbox, arrived: Callable[[Received], None]) -> None:
        self._inbox = inbox
        self._arrived = arrived
        self._routes: dict[tuple[str, str], Callable[[Request], Reply]] = {
            ("GET", "/"): lambda _: self._page(),
            ("GET", "/rows"): self._rows,
            ("GET", "/app.css"): lambda _: _file("app.css", "text/css; charset=utf-8"),
            ("GET", "/app.js"): lambda _: _file("app.js", "text/javascript; charset=utf-8"),
            ("GET", "/api/requests"): lambda _: self._list(),
            ("DELETE", "/api/requests"): lambda _: self._clear(),
            ("GET", "/health/live"): lambda _: Reply(200, b"ok"),
            ("POST", "/secrets"): self._add_secret,
            ("POST", "/clear"): self._clear_form,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = await _read(scope, receive)
        except Hangup:
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = self._routes.get((method, request.path))
        if route:
            reply = route(request)
        elif scope["method"] == "POST":
            reply = await self._webhook(request)
        else:
            reply = Reply(404, b"nothing here; the list is at /")
        await _write(send, reply)

    async def _webhook(self, request: Request) -> Reply:
        path = f"{request.path}?{request.query}" if request.query else request.path
        one = self._inbox.take(path, request.headers, request.body, complete=request.complete)
        self._arrived(one)
        await asyncio.sleep(self._inbox.behaviour.delay_s)
        return Reply(one.answered, one.verdict.encode())

    def _page(self, fault: str = "") -> Reply:
        rows = list(self._inbox.newest_first())
        page = TEMPLATES.get_template("page.html").render(
            rows=rows,
            fault=fault,
            secrets=[secret.fingerprint for secret in self._inbox.secrets],
            behaviour=self._inbox.behaviour,
        )
        return _html(page, 400 if fault else 200)

    def _rows(self, request: Request) -> Reply:
        after = parse_qs(request.query).get("after", ["0"])[0]
        if not (after.isascii() and after.isdecimal() and len(after) <= 20):  # noqa: PLR2004
            return Reply(400, b"after must be the id of a request")
        rows = list(self._inbox.newest_first(after=int(after)))
        return _html(TEMPLATES.get_template("rows.html").render(rows=rows))

    def _list(self) -> Reply:
        items = [one.public() for one in self._inbox.newest_first()]
        return Reply(200, msgspec.json.encode({"items": items}), "application/json")

    def _clear(self) -> Reply:
        self._inbox.clear()
        return Reply(204)

    def _clear_form(self, request: Request) -> Reply:
        if request.is_foreign:
            return Reply(403, b"this form belongs to the receiver's own page")
        self._inbox.clear()
        return Reply(303, location="/")

    def _add_secret(self, request: Request) -> Reply:
        if request.is_foreign:
            return Reply(403, b"this form belongs to the receiver's own page")
        try:
            form = parse_qs(request.body.decode(), max_num_fields=8)
            self._inbox.add_secret(Secret.parse(form.get("secret", [""])[0].strip()))
        except ValueError as error:
            return self._page(fault=str(error))
        return Reply(303, location="/")


async def _read(scope: Scope, receive: Receive) -> Request:
    body, complete, more = bytearray(), True, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Hangup
        complete = complete and len(body) + len(message.get("body", b"")) <= MAX_BODY_BYTES
        if complete:
            body += message.get("body", b"")
        more = message.get("more_body", False)
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query = scope["query_string"].decode("latin-1")
    return Request(scope["path"], query, headers, bytes(body), complete)


async def _write(send: Send, reply: Reply) -> None:
    headers = SECURITY | {"content-type": reply.kind}
    if reply.location:
        headers["location"] = reply.location
    body = b"" if reply.status in {204, 304} else reply.body
    if reply.status != 204:  # noqa: PLR2004  # RFC 9110, 8.6: no length on a 204
        headers["content-length"] = str(len(body))
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _html(text: str, status: int = 200) -> Reply:
    return Reply(status, text.encode("utf-8", "replace"), "text/html; charset=utf-8")


def _file(name: str, kind: str) -> Reply:
    return Reply(200, (HERE / name).read_bytes(), kind)
