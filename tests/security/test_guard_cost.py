"""The guard is cheap enough to stand at every door: the figures that the bench prints."""

from app.tools.bench.guard import measure
from tests import summary
from tests.chaos.pace import crowding


def test_a_check_costs_microseconds() -> None:
    cost = measure()
    summary.tell("figures", f"guard: { {name: round(one, 1) for name, one in cost.items()} }")
    slack = 2 * crowding()  # other programs share the core; the bench is where it is alone

    assert cost["creation_check_us"] <= 200 * slack
    assert cost["connect_check_us"] <= 20 * slack
    assert cost["pooled_check_us"] <= 2 * slack
