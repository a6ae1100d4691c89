"""Schemathesis over the whole document, as every role, through a real server: nothing breaks.

Whatever is sent, the answer is one that the document names, in its type and its shape. For half of
the requests the ids in the path are real ones, so that more than 404 is explored.
"""

from typing import Any

import httpx
import hypothesis
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.api import Limits
from app.api.limits import Rate
from app.asgi import create_app
from tests.api.server import served
from tests.world import TOKENS, settings_for

#: Examples per route: many for who may do everything, few for whom most is closed.
EXAMPLES = {"acme_admin": 6, "acme_operator": 2, "acme_auditor": 2, "platform": 2}
ENDLESS = Rate(burst=10**9, per_s=10**9)
URL = "https://93.184.216.34/hook"
load_all_checks()


def test_whatever_is_sent_the_answer_is_documented(database_url: str) -> None:
    app = create_app(settings_for(database_url))
    app.state.limits = Limits(ENDLESS, ENDLESS, ENDLESS)
    with served(app) as url:
        ids = real_ids(f"{url}/api/v1")
        schema = schemathesis.openapi.from_url(f"{url}/api/docs/openapi.json")
        operations = [found.ok() for found in schema.get_all_operations()]
        for who in EXAMPLES:
            for operation in operations:
                explore(operation, who, ids)

    assert len(operations) >= 28


def real_ids(url: str) -> dict[str, str]:
    """Make one of everything that has an id."""
    with httpx.Client(headers={"Authorization": f"Bearer {TOKENS['acme_admin']}"}) as admin:

        def post(path: str, body: dict[str, Any]) -> str:
            return str(admin.post(f"{url}{path}", json=body).raise_for_status().json()["id"])

        destination = post("/integrations/destinations", {"name": "d", "endpoint_url": URL})
        event = post("/events", {"type": "alert.created", "data": {"a": 1}})
        token = post("/tokens", {"name": "t", "role": "auditor"})
        deliveries = admin.get(f"{url}/integrations/deliveries").json()["items"]
    return {
        "destination_id": destination,
        "event_id": event,
        "token_id": token,
        "event_type": "alert.created",
        "delivery_id": deliveries[0]["id"],
    }


def explore(operation: Any, who: str, ids: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {TOKENS[who]}"}
    # Whether a body is taken also depends on names that resolve and on whose token it is.
    excluded = [positive_data_acceptance] if operation.body else []

    @hypothesis.settings(
        max_examples=EXAMPLES[who],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(), real=st.booleans())
    def ask(case: Any, real: bool) -> None:
        if real:
            case.path_parameters = {
                name: ids.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    ask()
