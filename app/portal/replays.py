"""Replays on the page of a destination: start one, and pause, resume or cancel it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.database import utcnow
from app.deliveries import replay
from app.deliveries.models import State
from app.errors import Invalid, NotFound
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.fields import form_of, known_id, words_of
from app.portal.guards import needs
from app.portal.rendering import redirect
from app.services import Services
from app.wakeup import REPLAY_JOB

CHANGE: Final = needs(Permission.DELIVERY_CHANGE)
#: How many of a destination's replays its page shows.
SHOWN: Final = 3
#: How far back, in seconds; what stands in `from` goes before it.
SPANS: Final = {
    "3600": "the last hour",
    "86400": "the last 24 hours",
    "604800": "the last 7 days",
    "2592000": "the last 30 days",
}
#: Which events, as people choose them, and as the job is asked.
CHOICES: Final[Mapping[str, tuple[str, list[State]]]] = {
    "missed": ("everything missed", []),
    "failed": ("what failed", [State.FAILED]),
    "cancelled": ("what was cancelled", [State.CANCELLED]),
    "delivered": ("what was delivered, once more", [State.DELIVERED]),
}
VERBS: Final = {
    "pause": (replay.pause, "Replay paused."),
    "resume": (replay.resume, "Replay resumed."),
    "cancel": (replay.cancel, "Replay cancelled."),
}


@post("/integrations/{destination_id:str}/replay", opt=CHANGE)
async def start(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(destination_id, "dst")
    now = utcnow()
    wish = replay.check_wish(_fields(await form_of(request), now), now)
    async with services.change(principal.tenant_id) as session:
        job = await replay.start(
            session, principal.tenant_id, destination_id, wish, actor=principal.actor
        )
    await services.bell.begin(REPLAY_JOB, tenant_id=principal.tenant_id, job_id=job.id)
    return redirect(request, f"/integrations/{destination_id}", note="Replay started.")


def _fields(form: dict[str, str], now: datetime) -> dict[str, Any]:
    span, choice = form.get("span", "86400"), form.get("what", "missed")
    if span not in SPANS or choice not in CHOICES:
        raise Invalid("Choose one of the offered ranges and kinds of events.")
    rate = form.get("rate", "").strip()
    wish: dict[str, Any] = (
        {"rate_per_second": int(rate) if rate.isascii() and rate.isdecimal() else rate}
        if rate
        else {}
    )
    return wish | {
        "since": _moment(form.get("from", "")) or now - timedelta(seconds=int(span)),
        "until": _moment(form.get("until", "")),
        "states": CHOICES[choice][1],
        "event_types": words_of(form.get("event_types", "")),
    }


def _moment(text: str) -> datetime | str | None:
    """Read a browser's local time as UTC, which the form asks for; a wrong one stays text."""
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC) if text.strip() else None
    except ValueError:
        return text


@post("/integrations/{destination_id:str}/replays/{job_id:str}/{verb:str}", opt=CHANGE)
async def change(
    request: Http,
    destination_id: FromPath[str],
    job_id: FromPath[str],
    verb: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    path = f"/integrations/{known_id(destination_id, 'dst')}"
    if verb not in VERBS:
        raise NotFound
    act, note = VERBS[verb]
    async with services.change(principal.tenant_id) as session:
        await act(session, principal.tenant_id, known_id(job_id, "job"), actor=principal.actor)
    if verb == "resume":
        await services.bell.begin(REPLAY_JOB, tenant_id=principal.tenant_id, job_id=job_id)
    return redirect(request, path, note=note)
