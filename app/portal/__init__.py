"""The portal: HTML for people, signed in by a cookie; every page also works without JavaScript."""

from typing import Final

from litestar import Router
from litestar.di import Provide

from app.portal import (
    assets,
    audit,
    bulk,
    deliveries,
    destination_changes,
    destinations,
    error_pages,
    event_types,
    events,
    guide,
    integrations,
    invites,
    live,
    members,
    palette,
    replays,
    secrets,
    session,
    sessions,
    settings,
    sign_on,
    trials,
    url_check,
)
from app.portal.error_pages import PAGE_HANDLERS
from app.portal.guards import guard, provide_principal
from app.portal.headers import SecurityHeaders
from app.portal.refresh import SharedRefresh
from app.portal.rendering import template_config

__all__ = ["PAGE_HANDLERS", "portal_router", "template_config"]

MAX_FORM_BYTES: Final = 64 * 1024


def portal_router() -> Router:
    return Router(
        "/",
        route_handlers=[
            assets.static_file,
            audit.export,
            audit.show,
            bulk.change,
            deliveries.cancel,
            deliveries.export,
            deliveries.retry,
            deliveries.show,
            destination_changes.delete,
            destination_changes.disable,
            destination_changes.edit,
            destination_changes.edit_form,
            destination_changes.enable,
            destination_changes.rotate,
            destination_changes.send_test,
            destinations.show,
            event_types.remove,
            event_types.save,
            event_types.show,
            events.export,
            events.show,
            error_pages.lost,
            events.show_one,
            guide.send_test,
            guide.show,
            integrations.create,
            integrations.show,
            invites.accept,
            invites.show,
            live.ticks,
            palette.show,
            members.change_role,
            members.invite,
            members.invite_again,
            members.remove,
            members.sign_out,
            replays.change,
            replays.start,
            secrets.revoke,
            session.home,
            session.sign_in,
            session.sign_in_form,
            session.sign_out,
            sessions.end,
            sessions.end_all,
            settings.appearance,
            settings.create_token,
            settings.revoke_token,
            settings.show,
            trials.show,
            url_check.check_url,
            sign_on.begin,
            sign_on.finish,
        ],
        guards=[guard],
        middleware=[SecurityHeaders(), SharedRefresh()],
        exception_handlers=PAGE_HANDLERS,
        dependencies={"principal": Provide(provide_principal, sync_to_thread=False)},
        request_max_body_size=MAX_FORM_BYTES,
        include_in_schema=False,
    )
