"""The page people open first: is it well, where does it go, and (for admins) one more place."""

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency

from app.deliveries import trend
from app.deliveries.health import DestinationHealth, Window
from app.deliveries.watch import troubles
from app.destinations import rules, service
from app.errors import Invalid
from app.identity.permissions import Permission, Principal
from app.portal import charts, known_types
from app.portal.cookies import Http
from app.portal.fields import form_of, query_choice, query_text, words_of
from app.portal.guards import is_shared, needs
from app.portal.live import look
from app.portal.rendering import link, page
from app.services import Services

OPTIONAL: Final = ("event_types", "signing_secret")


class DestinationForm(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed and what is wrong with it, field by field."""

    values: dict[str, str] = {}
    errors: dict[str, str] = {}

    @classmethod
    def refused(cls, values: dict[str, str], fault: Invalid) -> "DestinationForm":
        errors: dict[str, str] = {}
        for error in fault.errors:
            errors.setdefault(error.field, error.message)
        # A secret is shown by the one answer that makes it, so never put back into a form.
        values = {name: value for name, value in values.items() if name != "signing_secret"}
        return cls(values=values, errors=errors)


class Created(msgspec.Struct, frozen=True):
    """A new destination with its secret, for the one answer that shows it."""

    id: str
    name: str
    secret: str


@get("/integrations", opt=needs(Permission.DESTINATION_READ, live=True))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    return await _page(request, services, principal, DestinationForm())


@post("/integrations", opt=needs(Permission.DESTINATION_CHANGE))
async def create(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    typed = await form_of(request)
    try:
        draft = await rules.check_new(given_fields(typed, OPTIONAL), services.egress)
    except Invalid as fault:
        form = DestinationForm.refused(typed, fault)
        return await _page(request, services, principal, form, status=fault.status)
    async with services.change(principal.tenant_id) as session:
        destination, secret = await service.register(
            session, principal.tenant_id, draft, keyring=services.keyring, actor=principal.actor
        )
    created = Created(destination.id, destination.name, secret.reveal())
    answer = await _page(
        request, services, principal, DestinationForm(), created=created, status=201
    )
    answer.set_header("HX-Trigger", "live")  # the list beside the card reads itself anew
    return answer


def given_fields(typed: dict[str, str], optional: tuple[str, ...]) -> dict[str, Any]:
    """Return a form as the rules expect fields; an optional one left empty is not given."""
    fields: dict[str, Any] = {
        name: typed.get(name, "").strip() for name in ("name", "endpoint_url")
    }
    fields |= {name: typed[name].strip() for name in optional if typed.get(name, "").strip()}
    if "event_types" in fields:
        fields["event_types"] = words_of(fields["event_types"])
    return fields


async def _page(
    request: Http,
    services: Services,
    principal: Principal,
    form: DestinationForm,
    *,
    created: Created | None = None,
    status: int = 200,
) -> Response[Any]:
    window = query_choice(request, "window", Window) or Window.DAY
    sought = query_text(request, "q")
    seen = await look(request, services, principal, window)
    total, rows = seen.health.total, seen.health.rows
    known: list[tuple[str, str]] = []
    # A refresh leaves the card as it is: a person may be typing there.
    if principal.may(Permission.DESTINATION_CHANGE) and not is_shared(request):
        async with services.database.reading(principal.tenant_id) as session:
            known = await known_types.choices(session, principal.tenant_id, seen.types)
    return page(
        request,
        "integrations.html",
        status=status,
        here=link("/integrations", window=_unless_day(window), q=sought),
        window=window,
        windows=[(w, link("/integrations", window=_unless_day(w), q=sought)) for w in Window],
        total=total,
        delivered_before=seen.delivered_before.total(),
        clears_in_s=trend.clears_in_s(
            total.states["pending"] + total.states["delivering"], total.bars, window.bar_s
        ),
        trouble=troubles(seen.health.lanes),
        known_types=known,
        chart=charts.outcome_chart(total.bars),
        rows=[row for row in rows if _matches(row, sought)],
        count=len(rows),
        sought=sought or "",
        form=form,
        created=created,
    )


def _unless_day(window: Window) -> Window | None:
    return None if window is Window.DAY else window


def _matches(row: DestinationHealth, sought: str | None) -> bool:
    return not sought or sought.lower() in f"{row.name}\n{row.endpoint_url}".lower()
