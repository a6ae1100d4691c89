"""Schemathesis over the whole document, as every role: nothing breaks, everything is documented."""

from typing import Any

import hypothesis
import httpx
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks

from app.asgi import create_app
from tests.api.server import served
from tests.world import TOKENS, settings_for

EXAMPLES = 12
load_all_checks()


@pytest.mark.parametrize("who", ["acme_admin", "acme_operator", "acme_auditor", "platform"])
def test_whatever_is_sent_the_answer_is_documented(database_url: str, who: str) -> None:
    headers = {"Authorization": f"Bearer {TOKENS[who]}"}
    failures = {}
    with served(create_app(settings_for(database_url))) as url:
        schema = schemathesis.openapi.from_url(f"{url}/api/docs/openapi.json")
        for found in schema.get_all_operations():
            operation = found.ok()
            try:
                _explore(operation, headers)
            except BaseException as fault:
                failures[operation.label] = fault
    for label, fault in failures.items():
        print("=====", label)
        print(str(fault)[:1500])
        for e in getattr(fault, "exceptions", []): print(str(e)[:1500])
    assert not failures


def _explore(operation: Any, headers: dict[str, str]) -> None:
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def explore(case: Any) -> None:
        case.call_and_validate(headers=headers)

    explore()
