"""One measurement from its first process to its report."""

from typing import Final

from app.tools.bench import procfs
from app.tools.bench.ceiling import Ceiling
from app.tools.bench.claims import claim_ms
from app.tools.bench.plan import Latency, Plan, Profile, Progress, Report
from app.tools.bench.profiles import PROFILES, Figures
from app.tools.bench.stage import Stage, open_stage

#: One slice of the ceiling is measured before the profile, one after it.
SLICE_S: Final = 2.0
#: A run of fewer events is a trial: short slices do.
TRIAL_EVENTS: Final = 1_000
TRIAL_SLICE_S: Final = 0.2


async def run(plan: Plan, tell: Progress) -> Report:
    """Measure one profile; BenchError or SettingsError when it cannot be done."""
    plan = plan.complete()
    slice_s = SLICE_S if plan.events >= TRIAL_EVENTS else TRIAL_SLICE_S
    async with open_stage(plan, tell) as (stage, ceiling):
        await _measure(stage, ceiling, slice_s)
        figures = await PROFILES[plan.profile](stage)
        peak_rss_mb = procfs.peak_rss_mb(stage.fleet.pids)
        stage.fleet.stop()
        await _measure(stage, ceiling, slice_s)
        report = _report(stage, figures, ceiling.per_second, peak_rss_mb)
        if plan.profile is Profile.BACKLOG:
            report.claim_ms = await claim_ms(stage)
        return report


async def _measure(stage: Stage, ceiling: Ceiling, slice_s: float) -> None:
    stage.tell("Measuring the ceiling", 0, 0)
    await ceiling.measure(slice_s)
    stage.sink.take()  # what it posted is of no interest


def _report(
    stage: Stage, figures: Figures, ceiling_per_second: float, peak_rss_mb: float | None
) -> Report:
    rate = figures.deliveries / figures.seconds
    lost, duplicates = figures.faults()
    cpu_s = figures.cpu_s
    return Report(
        profile=stage.plan.profile,
        engine=stage.database.dialect,
        events=len(figures.expected),
        deliveries=figures.deliveries,
        seconds=round(figures.seconds, 3),
        deliveries_per_second=round(rate, 1),
        intake_per_second=figures.intake_per_second,
        latency_ms=Latency.of(figures.latencies),
        cpu_us_per_delivery=None if cpu_s is None else round(cpu_s * 1e6 / figures.deliveries, 1),
        ceiling_per_second=round(ceiling_per_second, 1),
        ceiling_ratio=round(rate / ceiling_per_second, 3),
        peak_rss_mb=peak_rss_mb,
        lost=lost,
        duplicates=duplicates,
        neighbour=figures.neighbour,
    )
