"""The guard is cheap enough to stand at every door; margins are wide, machines are shared."""

from app.tools.bench.guard import measure
from tests import summary


def test_a_check_costs_microseconds() -> None:
    cost = measure()
    summary.tell("figures", f"guard: {cost}")

    assert cost["creation_check_us"] <= 200
    assert cost["connect_check_us"] <= 200
    assert cost["pooled_check_us"] <= 20
