"""What watching costs: the same measurement bare, with metrics, and with metrics and tracing."""

from collections.abc import Mapping
from typing import Final

import msgspec

from app.tools.bench import measurement
from app.tools.bench.plan import Plan, Progress, Report

#: Each variant is measured so often, in turn, and its best run counts: what disturbs only slows.
ROUNDS: Final = 2
VARIANTS: Final[Mapping[str, tuple[bool, bool]]] = {
    "bare": (False, False),
    "metrics": (True, False),
    "tracing": (True, True),
}


class Overheads(msgspec.Struct, frozen=True, kw_only=True):
    """Figures by variant; the percentages are against the variant before it."""

    engine: str
    events: int
    deliveries: int
    deliveries_per_second: dict[str, float]
    cpu_us_per_delivery: dict[str, float | None]
    throughput_lost_percent: dict[str, float]
    cpu_added_percent: dict[str, float | None]
    lost: int


async def run(plan: Plan, tell: Progress) -> Overheads:
    """Measure every variant, round and round."""
    reports: dict[str, list[Report]] = {name: [] for name in VARIANTS}
    rounds = ROUNDS if plan.complete().events >= measurement.TRIAL_EVENTS else 1
    for number in range(rounds):
        order = list(VARIANTS)
        for name in order if number % 2 == 0 else reversed(order):
            metrics, tracing = VARIANTS[name]
            variant = msgspec.structs.replace(plan, metrics=metrics, tracing=tracing)
            reports[name].append(await measurement.run(variant, tell))
    rates = {name: max(r.deliveries_per_second for r in runs) for name, runs in reports.items()}
    cpu = {
        name: min((r.cpu_us_per_delivery for r in runs if r.cpu_us_per_delivery), default=None)
        for name, runs in reports.items()
    }
    steps = list(zip(VARIANTS, list(VARIANTS)[1:], strict=False))
    one = reports["bare"][0]
    return Overheads(
        engine=one.engine,
        events=one.events,
        deliveries=one.deliveries,
        deliveries_per_second=rates,
        cpu_us_per_delivery=cpu,
        throughput_lost_percent={
            after: round(100 * (1 - rates[after] / rates[before]), 1) for before, after in steps
        },
        cpu_added_percent={after: _added(cpu[before], cpu[after]) for before, after in steps},
        lost=sum(r.lost for runs in reports.values() for r in runs),
    )


def _added(before: float | None, after: float | None) -> float | None:
    return round(100 * (after / before - 1), 1) if before and after else None
