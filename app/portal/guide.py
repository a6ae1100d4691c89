"""The receiver guide: how to verify what we send, in the languages people write receivers in."""

from typing import Any, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import control
from app.destinations import service
from app.destinations.models import Destination
from app.identity.permissions import Permission, Principal
from app.portal.assets import FRONTEND
from app.portal.cookies import Http
from app.portal.deliveries import CHOICES_MAX
from app.portal.fields import form_of, known_id, query_text
from app.portal.guards import needs
from app.portal.rendering import link, page, redirect
from app.services import Services

LANGUAGES: Final = {
    "python": "Python",
    "node": "Node",
    "go": "Go",
    "ruby": "Ruby",
    "php": "PHP",
    "java": "Java",
    "csharp": "C#",
    "shell": "Shell",
}
SNIPPETS: Final = {
    name: (FRONTEND / "templates" / "guide" / f"{name}.txt").read_text("utf-8")
    for name in LANGUAGES
}


@get("/guide", opt=needs(Permission.SELF_READ))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    wanted = query_text(request, "lang")
    language = wanted if wanted in LANGUAGES else "python"
    places: list[Destination] = []
    if principal.may(Permission.DESTINATION_READ):
        async with services.database.reading(principal.tenant_id) as session:
            places = await _places(session, principal.tenant_id)
    own = {name for place in places for name in service.header_names(place, services.keyring)}
    return page(
        request,
        "guide.html",
        language=language,
        languages=[(n, text, link("/guide", lang=n)) for n, text in LANGUAGES.items()],
        snippet=SNIPPETS[language],
        places=[place for place in places if place.disabled_at is None],
        own_headers=sorted(own),
    )


async def _places(session: AsyncSession, tenant_id: str) -> list[Destination]:
    return [row[0] for row in await service.page(session, tenant_id, limit=CHOICES_MAX)]


@post("/guide/test", opt=needs(Permission.DESTINATION_CHANGE))
async def send_test(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Send a test event to the chosen destination and go on to its story."""
    chosen = known_id((await form_of(request)).get("destination", ""), "dst")
    async with services.change(principal.tenant_id) as session:
        delivery_id = await control.send_test(
            session, services.store, principal.tenant_id, chosen, actor=principal.actor
        )
    path = link(f"/integrations/{chosen}", delivery=delivery_id)
    return redirect(request, path, note="Test event sent.")
