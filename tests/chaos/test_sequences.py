"""Any sequence of what people and workers do leaves the deliveries as the rules say."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chaos import pace
from tests.chaos.model import Model
from tests.world import World

#: Named twice: what makes the rest interesting.
STEPS = (
    "publish", "publish", "claim", "claim", "crash", "succeed", "fail", "give_up", "give_back",
    "sweep", "retry", "cancel", "disable", "enable",
)  # fmt: skip
Steps = list[tuple[str, int]]


@settings(
    max_examples=pace.rounds(short=12, per_minute=30),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 50)), max_size=25))
async def test_any_sequence_keeps_every_delivery_and_every_rule(world: World, steps: Steps) -> None:
    model = Model(world)
    await model.open()
    for name, pick in steps:
        await getattr(model, name)(pick)
        await model.check()
    await model.finish()
