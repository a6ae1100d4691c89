"""Pages from templates: whole for a browser, one block for htmx, from the same handler."""

import functools
import json
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from litestar import MediaType, Response
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect
from litestar.template import TemplateConfig
from markupsafe import Markup

from app.database import utcnow
from app.identity.permissions import Permission, Principal
from app.portal import assets, charts, cookies, formats
from app.portal.cookies import Http
from app.portal.guards import BACKGROUND, CSRF_FIELD, csrf_token

NOTE_S: Final = 20
THEMES: Final = ("system", "light", "dark")


def template_config() -> TemplateConfig[JinjaTemplateEngine]:
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment()))


@functools.cache
def environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(assets.FRONTEND / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= formats.FILTERS
    env.globals |= {
        "asset": assets.url,
        "link": link,
        "Permission": Permission,
        "spark": charts.spark,
        "bars_of": charts.bars_of,
        "time_tag": formats.time_tag,
    }
    # Blocks are rendered on their own: what they use must be global, not imported by the page.
    env.globals["ui"] = env.get_template("macros.html").module
    return env


def link(path: str, **query: object) -> str:
    """Return a local address with the parameters that have a value."""
    given = {name: str(value) for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def page(request: Http, template: str, *, status: int = 200, **context: Any) -> Response[Any]:
    """Render a page, or the one block that htmx names as its target.

    A template that begins with `_` is a part of a page, which has no place for the note.
    """
    found = environment().get_template(template)
    is_part = template.startswith("_")
    note = "" if is_part or _is_background(request) else _note_of(request)
    values = _surroundings(request) | {"note": note} | context
    block = _wanted_block(request, found)
    html = _block(found, block, values) if block else found.render(values)
    headers = {"Vary": "HX-Request, HX-Target"}
    if block and note:
        headers["HX-Trigger"] = json.dumps({"toast": note})
    response = Response(html, media_type=MediaType.HTML, status_code=status, headers=headers)
    if note:
        response.set_cookie(cookies.gone(request, cookies.NOTE))
    return response


def redirect(request: Http, path: str, *, note: str = "") -> Response[Any]:
    """Go on to a page of ours after a change; the note is shown there, once."""
    response: Response[Any] = Redirect(path, status_code=303)
    if note:
        response.set_cookie(cookies.make(request, cookies.NOTE, _encoded(note), max_age_s=NOTE_S))
    return response


def _encoded(note: str) -> str:
    return note.encode().hex()


def _note_of(request: Http) -> str:
    try:
        return bytes.fromhex(cookies.read(request, cookies.NOTE)).decode()[:200]
    except ValueError:
        return ""


def is_htmx(request: Http) -> bool:
    return request.headers.get("hx-request") == "true"


def is_target(request: Http, name: str) -> bool:
    """Whether htmx asks for this one element."""
    return is_htmx(request) and request.headers.get("hx-target") == name


def _is_background(request: Http) -> bool:
    return BACKGROUND in request.headers


def _wanted_block(request: Http, template: Template) -> str | None:
    target = request.headers.get("hx-target", "")
    return target if is_htmx(request) and target in template.blocks else None


def _block(template: Template, name: str, values: dict[str, Any]) -> str:
    return "".join(template.blocks[name](template.new_context(values)))


def _surroundings(request: Http) -> dict[str, Any]:
    """Return what every page knows: who looks at it, where it is, how its forms are proven."""
    principal: Principal | None = request.scope.get("user")
    theme = cookies.read(request, cookies.THEME)
    return {
        "principal": principal,
        "may": principal.may if principal else lambda _permission: False,
        "path": request.url.path,
        "now": utcnow(),
        "theme": theme if theme in THEMES else "system",
        "csrf": Markup('<input type="hidden" name="{}" value="{}">').format(
            CSRF_FIELD, csrf_token(request)
        ),
    }
