"""Replays over the API: start one, watch it, pause, resume and cancel it."""

from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.auth import needs
from app.api.paging import DEFAULT_LIMIT, Limit, Page, below_id, choice, page_of, words
from app.api.problems import documented
from app.api.schemas import MAX_BODY_BYTES, read_object, takes
from app.audit.models import Actor
from app.database import utcnow
from app.deliveries import replay
from app.deliveries.models import JobState, ReplayJob
from app.destinations import service as destinations
from app.identity.permissions import Permission, Principal
from app.services import Services
from app.wakeup import REPLAY_JOB

CHANGE = needs(Permission.DELIVERY_CHANGE)


class ReplayIn(msgspec.Struct, forbid_unknown_fields=True):
    """Which events to send again. Without `states`: whatever this destination missed."""

    since: Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339 with its offset")]
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    states: Annotated[
        list[str],
        msgspec.Meta(description="of the latest delivery: delivered, failed or cancelled"),
    ] = []
    event_types: Annotated[
        list[str], msgspec.Meta(description="alert.created, alert.* or *; empty: all it wants")
    ] = []
    rate_per_second: Annotated[int, msgspec.Meta(ge=1, le=replay.MAX_RATE)] = replay.DEFAULT_RATE


class ReplayOut(msgspec.Struct, frozen=True, kw_only=True):
    """A replay, with `progress` from 0 to 1.

    Of `total` events in the range `scanned` were looked at; `matched` of them are wanted by the
    destination, and for `created` a delivery was made.
    """

    id: str
    destination_id: str
    state: JobState
    progress: float
    total: int | None
    scanned: int
    matched: int
    created: int
    since: datetime
    until: datetime
    states: list[str]
    event_types: list[str]
    rate_per_second: int
    reason: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class Change(Protocol):
    """One of the changes in deliveries.replay."""

    async def __call__(
        self, session: AsyncSession, tenant_id: str, job_id: str, *, actor: Actor
    ) -> ReplayJob: ...


def _out(job: ReplayJob) -> ReplayOut:
    own = {name: getattr(job, name) for name in ReplayOut.__struct_fields__ if name != "progress"}
    own["state"] = JobState(job.state)
    return ReplayOut(**own, progress=replay.progress(job))


class Jobs(Controller):
    path = "/integrations"
    tags = ("Replays",)
    request_max_body_size = MAX_BODY_BYTES

    @post(
        "/destinations/{destination_id:str}/replay",
        summary="Replay what a destination missed",
        description="Makes new deliveries, with the same event ids, for the events of the range"
        " that the destination wants. It runs in the background: read the job for its progress.",
        status_code=202,
        opt=CHANGE,
        operation_class=takes(
            ReplayIn, {"since": "2026-01-01T00:00:00Z", "states": ["failed", "cancelled"]}
        ),
        responses=documented(400, 404, 409, 413),
    )
    async def start(
        self,
        destination_id: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> ReplayOut:
        fields = await read_object(request)
        async with services.database.reading(principal.tenant_id) as session:
            await destinations.get(session, principal.tenant_id, destination_id)  # 404 goes first
        wish = replay.check_wish(fields, utcnow())
        async with services.change(principal.tenant_id) as session:
            job = await replay.start(
                session, principal.tenant_id, destination_id, wish, actor=principal.actor
            )
        await services.bell.begin(REPLAY_JOB, tenant_id=principal.tenant_id, job_id=job.id)
        return _out(job)

    @get(
        "/jobs",
        summary="List replays",
        opt=needs(Permission.DELIVERY_READ),
        responses=documented(400),
    )
    async def list(
        self,
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
        destination_id: Annotated[str | None, words(64)] = None,
        job_state: Annotated[JobState | None, choice(JobState, name="state")] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Annotated[str | None, below_id("job")] = None,
    ) -> Page[ReplayOut]:
        async with services.database.reading(principal.tenant_id) as session:
            jobs = await replay.list_jobs(
                session, principal.tenant_id, limit=limit + 1, below=cursor,
                destination_id=destination_id, state=job_state,
            )  # fmt: skip
        return page_of([_out(job) for job in jobs], limit, lambda job: job.id)

    @get(
        "/jobs/{job_id:str}",
        summary="Read the progress of a replay",
        opt=needs(Permission.DELIVERY_READ),
        responses=documented(404),
    )
    async def read(
        self,
        job_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> ReplayOut:
        async with services.database.reading(principal.tenant_id) as session:
            return _out(await replay.get_job(session, principal.tenant_id, job_id))

    @post(
        "/jobs/{job_id:str}/pause",
        summary="Pause a replay",
        description="It makes no more deliveries; what it made already is sent.",
        status_code=200,
        opt=CHANGE,
        responses=documented(404, 409),
    )
    async def pause(
        self,
        job_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> ReplayOut:
        return await _change(services, principal, job_id, replay.pause)

    @post(
        "/jobs/{job_id:str}/resume",
        summary="Resume a paused replay",
        status_code=200,
        opt=CHANGE,
        responses=documented(404, 409),
    )
    async def resume(
        self,
        job_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> ReplayOut:
        job = await _change(services, principal, job_id, replay.resume)
        await services.bell.begin(REPLAY_JOB, tenant_id=principal.tenant_id, job_id=job_id)
        return job

    @post(
        "/jobs/{job_id:str}/cancel",
        summary="Cancel a replay",
        description="For good; the deliveries that it made already stay.",
        status_code=200,
        opt=CHANGE,
        responses=documented(404, 409),
    )
    async def cancel(
        self,
        job_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> ReplayOut:
        return await _change(services, principal, job_id, replay.cancel)


async def _change(
    services: Services, principal: Principal, job_id: str, change: Change
) -> ReplayOut:
    async with services.change(principal.tenant_id) as session:
        return _out(await change(session, principal.tenant_id, job_id, actor=principal.actor))
