"""The static files: ours and htmx from its installed package, kept in memory, named by content."""

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from app.errors import NotFound
from app.portal.cookies import Http
from app.portal.guards import PUBLIC

FRONTEND: Final = Path(__file__).resolve().parents[2] / "frontend"
_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_A_YEAR: Final = "public, max-age=31536000, immutable"


class Asset(msgspec.Struct, frozen=True):
    """A file as it is served; `version` changes with its content."""

    body: bytes
    kind: str
    version: str


def _load() -> dict[str, Asset]:
    bodies = {
        path.name: path.read_bytes()
        for path in sorted((FRONTEND / "static").iterdir())
        if path.suffix in _KINDS
    }
    bodies["htmx.min.js"] = (files("js_lib_htmx") / "static/htmx/htmx.min.js").read_bytes()
    return {
        name: Asset(body, _KINDS[Path(name).suffix], hashlib.sha256(body).hexdigest()[:12])
        for name, body in bodies.items()
    }


ASSETS: Final = _load()


def url(name: str) -> str:
    """Return the address of a file; it changes when the file does, so browsers may keep it."""
    return f"/static/{name}?v={ASSETS[name].version}"


@get("/static/{name:str}", opt=PUBLIC)
async def static_file(request: Http, name: FromPath[str]) -> Response[bytes]:
    asset = ASSETS.get(name)
    if asset is None:
        raise NotFound
    is_pinned = request.query_params.get("v") == asset.version
    headers = {"Cache-Control": _A_YEAR if is_pinned else "no-cache"}
    return Response(asset.body, media_type=asset.kind, headers=headers)
