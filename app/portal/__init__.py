"""The portal: HTML for people, signed in by a cookie; every page also works without JavaScript."""

from litestar import Router
from litestar.config.csrf import CSRFConfig
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template import TemplateConfig

from app.settings import Settings


def portal_router() -> Router:
    return Router(path="/", route_handlers=[], include_in_schema=False)


def template_config() -> TemplateConfig[JinjaTemplateEngine]:
    return TemplateConfig(directory="frontend/templates", engine=JinjaTemplateEngine)


def csrf_config(settings: Settings) -> CSRFConfig | None:
    return None
