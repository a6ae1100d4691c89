"""The simulation of tenants' skew: the same every time, and it shows what placement can do."""

import json

import pytest

from app.tools.shards import simulate
from tests.cli.conftest import command

__all__ = ["command"]


def test_the_same_seed_gives_the_same_loads_and_another_one_others() -> None:
    first, again, other = (simulate(2_000, 8, 1.0, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first.hashed.loads != other.hashed.loads


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("skew", [0.0, 0.8, 1.0, 1.2])
def test_nothing_is_lost_and_no_placement_beats_the_largest_tenant(skew: float, seed: int) -> None:
    found = simulate(5_000, 8, skew, seed=seed)

    for balance in (found.hashed, found.isolated):
        assert 8 == len(balance.loads)
        assert sum(balance.loads) == pytest.approx(8, abs=0.01)
        assert balance.max_over_mean >= max(1.0, found.largest_over_mean) - 0.001
    assert found.isolated.max_over_mean <= found.hashed.max_over_mean + 0.001


def test_isolating_large_tenants_makes_nearly_even_what_the_hash_leaves_uneven() -> None:
    found = simulate(10_000, 8, 1.0)

    assert found.hashed.max_over_mean > 1.2
    assert found.isolated.max_over_mean < 1.02
    assert 1 <= found.isolated.isolated <= 8 * 20


def test_tenants_of_one_size_are_even_by_hash_alone() -> None:
    found = simulate(20_000, 4, 0.0)

    assert found.hashed.max_over_mean < 1.05
    assert 0 == found.isolated.isolated


def test_one_server_has_it_all() -> None:
    found = simulate(10, 1, 1.0)

    assert (1.0, 1.0) == (found.hashed.max_over_mean, found.isolated.max_over_mean)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []

    simulate(100_000, 2, 1.0, tell=lambda done, total: told.append((done, total)))

    assert [(50_000, 100_000), (100_000, 100_000)] == told


def test_the_command_prints_both_placements_and_speaks_json(command) -> None:
    shown = command("simulate-shards", "--tenants", "1000", "--shards", "4")
    said = json.loads(command("simulate-shards", "--tenants", "1000", "--json").stdout)

    assert "large ones isolated" in shown.stdout
    assert "max over mean" in shown.stdout
    assert {"hashed", "isolated", "largest_over_mean"} <= set(said)
    assert 2 == command("simulate-shards", "--skew", "9").returncode
