"""Slots: never more in flight than allowed, overall and per destination; none left idle."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.slots import Slots


@dataclass(frozen=True)
class One:
    destination_id: str
    number: int = 0
    size: int = 0


def test_a_batch_starts_up_to_each_destinations_share() -> None:
    slots: Slots[One] = Slots(overall=10, each=3)
    slots.add([One("a", n) for n in range(5)] + [One("b")])

    assert Counter(a=3, b=1) == Counter(item.destination_id for item in slots.start())
    assert {"a": 5, "b": 1} == dict(slots.busy())


def test_a_freed_slot_goes_to_the_same_destination_first() -> None:
    slots: Slots[One] = Slots(overall=2, each=1)
    slots.add([One("a", 1), One("a", 2), One("b", 3), One("c", 4)])
    assert [1, 3] == [item.number for item in slots.start()]

    assert One("a", 2) == slots.finish(One("a"))
    assert One("c", 4) == slots.finish(One("b"))
    assert slots.finish(One("a")) is None


def test_what_waits_can_be_taken_back() -> None:
    slots: Slots[One] = Slots(overall=1, each=1)
    slots.add([One("a", 1), One("a", 2), One("b", 3)])
    list(slots.start())

    assert {2, 3} == {item.number for item in slots.drain()}
    assert (1, 1) == (slots.held, slots.in_flight)


def test_what_waits_for_one_destination_can_be_taken_back_alone() -> None:
    slots: Slots[One] = Slots(overall=1, each=1)
    slots.add([One("a", 1), One("a", 2), One("a", 3), One("b", 4)])
    (first,) = slots.start()

    assert [2, 3] == [item.number for item in slots.withdraw("a")]
    assert slots.withdraw("a") == []
    assert slots.held == 2
    assert slots.finish(first) == One("b", 4)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=200),
    st.integers(1, 6),
    st.integers(1, 3),
)
def test_limits_hold_and_no_slot_idles_while_something_may_start(
    steps: list[tuple[str, bool]], overall: int, each: int
) -> None:
    slots: Slots[One] = Slots(overall=overall, each=each)
    flying: Counter[str] = Counter()
    for destination, arrives in steps:
        if arrives:
            slots.add([One(destination)])
            flying.update(item.destination_id for item in slots.start())
        elif flying[destination]:
            flying[destination] -= 1
            if item := slots.finish(One(destination)):
                flying[item.destination_id] += 1
        assert flying.total() == slots.in_flight <= overall
        assert max(flying.values(), default=0) <= each
        waiting = Counter(slots.busy()) - flying
        if slots.in_flight < overall:
            assert all(flying[one] == each for one in waiting)


def test_it_knows_how_much_memory_is_held() -> None:
    slots: Slots[One] = Slots(overall=1, each=1)
    slots.add([One("a", 1, size=10), One("a", 2, size=20), One("b", 3, size=40)])
    (first,) = slots.start()
    assert slots.held_bytes == 70

    second = slots.finish(first)
    assert (second, slots.held_bytes) == (One("a", 2, size=20), 60)
    slots.drain()
    assert slots.held_bytes == 20
