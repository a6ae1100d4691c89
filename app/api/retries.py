"""Retrying many deliveries over the API, with one call."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, post
from litestar.di import NamedDependency

from app.api.auth import needs
from app.api.problems import documented
from app.api.schemas import MAX_BODY_BYTES, read_object, takes
from app.deliveries import bulk
from app.deliveries.bulk import Retried
from app.identity.permissions import Permission, Principal
from app.services import Services


class RetryIn(msgspec.Struct, forbid_unknown_fields=True):
    """Which deliveries: a list of ids, or else a filter of at least one field."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=bulk.MAX_IDS)] | None = None
    destination_id: str | None = None
    state: Annotated[str, msgspec.Meta(description="retrying, failed or cancelled")] | None = None
    outcome: str | None = None
    event_type: str | None = None
    before: datetime | None = None
    after: datetime | None = None


class Retries(Controller):
    path = "/integrations/deliveries"
    tags = ("Deliveries",)
    request_max_body_size = MAX_BODY_BYTES

    @post(
        "/retry",
        summary="Retry many deliveries now",
        description="By ids, or whatever a filter finds, oldest first. What cannot be retried is"
        f" counted under `skipped`. One call changes at most {bulk.MAX_FOUND:,}; `more` says"
        " whether to call again.",
        status_code=202,
        opt=needs(Permission.DELIVERY_CHANGE),
        operation_class=takes(RetryIn, {"state": "failed", "after": "2026-01-01T00:00:00Z"}),
        responses=documented(400, 413),
    )
    async def retry(
        self,
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> Retried:
        selection = bulk.check_selection(await read_object(request))
        async with services.change(principal.tenant_id) as session:
            return await bulk.retry_many(
                session, principal.tenant_id, selection, actor=principal.actor
            )
