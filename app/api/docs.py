"""The documentation at /api/docs: Swagger UI from local files, over our own document."""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from litestar import Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.static_files import create_static_files_router

from app import __version__

PATH: Final = "/api/docs"
PAGE: Final = Path(__file__).resolve().parents[2] / "frontend" / "docs.html"
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
ABOUT: Final = """\
Publish platform events and manage the destinations they are delivered to.

**Authorize** takes a bearer token: one of ours, or, where single sign-on is set up, an access token
of its provider. Lists come a page at a time: `?limit=` and `?cursor=`. Errors
are `application/problem+json` (RFC 9457) and name every wrong field at once.

Deliveries are signed as [Standard Webhooks](https://www.standardwebhooks.com) describe.
"""
TAGS: Final = (
    Tag("Destinations", description="Where events are sent."),
    Tag("Deliveries", description="What is owed, attempted and done; health."),
    Tag("Replays", description="Sending again what was missed, in the background."),
    Tag("Events", description="What the platform tells."),
    Tag("Event types", description="What events look like, and what they are held against."),
    Tag("Audit", description="Who changed what, when, from where."),
    Tag("Identity", description="Members, their sessions, tokens, and who you are."),
    Tag("System", description="For load balancers and monitoring."),
)


class DocsPage(OpenAPIRenderPlugin):
    """Our own page around Swagger UI: no inline script, nothing from another host."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, _request: Request[Any, Any, Any], _schema: dict[str, Any]) -> bytes:
        return PAGE.read_bytes()


def openapi_config() -> OpenAPIConfig:
    swagger = Path(str(files("swagger_ui"))) / "static"
    static = create_static_files_router(
        path="/swagger", directories=[swagger], include_in_schema=False
    )
    return OpenAPIConfig(
        title="OneProtect Webhooks",
        version=__version__,
        description=ABOUT,
        components=Components(
            security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}
        ),
        tags=list(TAGS),
        render_plugins=[DocsPage(), JsonRenderPlugin()],
        openapi_router=Router(
            PATH,
            route_handlers=[static],
            response_headers={"Content-Security-Policy": CSP},
            include_in_schema=False,
            opt={"exclude_from_csrf": True},
        ),
    )
