"""What is logged: the ids that lead from line to line, and nothing that nobody must see."""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from app import services
from app.deliveries import telemetry
from app.deliveries.store import Settled
from app.deliveries.telemetry import Telemetry
from tests.behaviours import fail_first
from tests.receiver import Receiver
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
Lines = list[dict[str, Any]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Return what publishing and delivering log, at the lowest level, as it is rendered."""
    capture = LogCapture()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[structlog.contextvars.merge_contextvars, capture],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    )
    for module in (telemetry, services):
        monkeypatch.setattr(module, "log", logger)
    return capture.entries


async def test_a_callers_request_id_comes_back_and_a_missing_one_is_made(world: World) -> None:
    asks = world.client.get
    given = await asks("/health/live", headers={"X-Request-Id": "req-42:a/b"})
    made = [(await asks("/health/live")).headers["x-request-id"] for _ in range(2)]

    assert "req-42:a/b" == given.headers["x-request-id"]
    assert 2 == len(set(made))
    assert all(len(one) == 32 for one in made)


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 129, 'a"b', "a\tb", "<script>"])
async def test_an_id_that_could_mar_a_log_is_replaced(world: World, wrong: str) -> None:
    answer = await world.client.get("/health/live", headers={"X-Request-Id": wrong})

    assert wrong != answer.headers["x-request-id"]


async def test_every_answer_has_one_pages_and_errors_too(world: World) -> None:
    for path in ("/login", "/api/v1/me", "/api/v1/nowhere", "/nowhere", "/metrics"):
        assert (await world.client.get(path)).headers.get_list("x-request-id"), path


async def test_many_attempts_are_one_line(world: World, lines: Lines) -> None:
    told = Telemetry(counts=False, traces=None, wide=False)
    async with Receiver(fail_first(1)) as receiver, world.worker() as engine:
        engine._on_settled = _telling(told)
        await world.make_destination(receiver.url)
        await world.publish()
        await world.until(lambda: _attempted(told, 2))
        told.summarise()
        told.summarise()

    (line,) = [line for line in lines if line["event"].startswith("attempt")]
    assert ("attempts.recorded", "info", 2, {"http_error": 1, "delivered": 1}) == (
        line["event"], line["log_level"], line["attempts"], line["outcomes"],
    )  # fmt: skip


async def _attempted(told: Telemetry, count: int) -> bool:
    return told._since.total() == count


def _telling(told: Telemetry) -> Callable[[Sequence[Settled]], Awaitable[None]]:
    async def settled(batch: Sequence[Settled]) -> None:
        told.recorded(batch)

    return settled


async def test_at_debug_each_attempt_is_a_wide_line_without_secret_or_payload(
    world: World, lines: Lines
) -> None:
    told = Telemetry(counts=False, traces=None, wide=True)
    async with Receiver(fail_first(1)) as receiver, world.worker() as engine:
        engine._on_settled = _telling(told)
        made = await world.make_destination(
            f"{receiver.url}/t0ken-in-path", headers={"X-Key": "k-5f1e77"}
        )
        await world.publish(data={"card": "4111-secret"})
        await world.until(lambda: _attempted(told, 2))
        (delivery,) = await world.deliveries()

    first, second = (line for line in lines if line["event"] == "attempt.recorded")
    ids = {"delivery_id": delivery["id"], "event_id": delivery["event_id"], "tenant_id": "acme",
           "destination_id": made["id"], "event_type": "alert.created"}  # fmt: skip
    assert ids.items() <= first.items()
    assert ids.items() <= second.items()
    assert ("http_error", 500, 1, "retrying") == (
        first["outcome"], first["status"], first["attempt"], first["state"],
    )  # fmt: skip
    assert ("delivered", 200, 2, "delivered") == (
        second["outcome"], second["status"], second["attempt"], second["state"],
    )  # fmt: skip
    for hidden in ("4111-secret", "k-5f1e77", "t0ken-in-path", made["signing_secret"]):
        assert hidden not in json.dumps(lines, default=str)


async def test_what_a_request_logs_carries_its_id_and_the_events(
    world: World, lines: Lines
) -> None:
    headers = {"X-Request-Id": "req-7"}
    body = {"type": "a.b", "data": {"card": "4111-secret"}}

    made = await world.as_("acme_admin").post("/events", json=body, headers=headers)

    (line,) = [line for line in lines if line["event"] == "events.accepted"]
    assert ("req-7", [made.json()["id"]]) == (line["request_id"], line["events"])
    assert "4111-secret" not in json.dumps(lines, default=str)


LOGS = """
import structlog
from app.observability.logs import set_up_logs
set_up_logs({env!r}, {level!r})
log = structlog.get_logger()
structlog.contextvars.bind_contextvars(request_id="req-1")
log.debug("fine"); log.info("plain", delivery_id="dlv_1"); log.warning("odd")
"""


@pytest.mark.parametrize(
    ("level", "events"),
    [("debug", ["fine", "plain", "odd"]), ("info", ["plain", "odd"]), ("warning", ["odd"])],
)
def test_outside_local_a_line_is_json_of_the_level_that_was_asked_for(
    level: str, events: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGS.format(env="production", level=level)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ),
    )  # fmt: skip

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert events == [line["event"] for line in lines]
    assert {"req-1"} == {line["request_id"] for line in lines}


def test_nothing_is_said_when_nothing_was_attempted(lines: Lines) -> None:
    Telemetry(counts=True, traces=None, wide=True).summarise()

    assert [] == lines
