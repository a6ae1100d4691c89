"""Look-ups are bounded, shared, and a slow name holds up only its like."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from app.sending.resolver import QUICK_THREADS, LookupFailed, SystemResolver


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Stand in for the C library: `slow*` hangs until the test ends, `none*` has no answer."""
    names: list[str] = []
    over = threading.Event()

    def look_up(name: str, *_: Any) -> list[Any]:
        names.append(name)
        if name.startswith("slow"):
            over.wait(10)
        if name.startswith("none"):
            raise socket.gaierror(socket.EAI_NONAME, f"secret detail about {name}")
        v6 = (10, 1, 6, "", ("2606:4700::1", 443, 0, 0))
        v4 = (2, 1, 6, "", ("93.184.215.14", 443))
        return [v6, v4, v4]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield names
    over.set()


@pytest.fixture
def resolver() -> Iterator[SystemResolver]:
    resolver = SystemResolver(deadline_s=0.2)
    yield resolver
    resolver.close()


async def test_every_address_comes_once_and_in_order(
    asked: list[str], resolver: SystemResolver
) -> None:
    answer = await resolver.resolve("example.com", 443)

    assert answer == [ip_address("2606:4700::1"), ip_address("93.184.215.14")]


async def test_a_dotted_name_is_closed_so_that_no_search_list_answers(
    asked: list[str], resolver: SystemResolver
) -> None:
    await resolver.resolve("example.com", 443)
    await resolver.resolve("sink", 443)

    assert asked == ["example.com.", "sink"]


async def test_a_failure_tells_nothing(asked: list[str], resolver: SystemResolver) -> None:
    with pytest.raises(LookupFailed) as caught:
        await resolver.resolve("none.example", 443)

    assert "secret" not in str(caught.value)
    assert "none.example" not in str(caught.value)


async def test_a_slow_name_fails_in_time(asked: list[str], resolver: SystemResolver) -> None:
    started = time.monotonic()
    with pytest.raises(LookupFailed):
        await resolver.resolve("slow.example", 443)

    assert time.monotonic() - started < 2


async def test_many_askers_share_one_look_up(asked: list[str], resolver: SystemResolver) -> None:
    answers = await asyncio.gather(*(resolver.resolve("example.com", 443) for _ in range(50)))

    assert len(asked) < 5
    assert all(answer == answers[0] for answer in answers)


async def test_a_slow_name_holds_one_thread_however_often_it_is_asked(
    asked: list[str], resolver: SystemResolver
) -> None:
    waiting = [resolver.resolve("slow.example", 443) for _ in range(40)]
    failed = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(one, LookupFailed) for one in failed)
    assert asked == ["slow.example."]
    assert len(await resolver.resolve("example.com", 443)) == 2


async def test_known_slow_names_leave_the_quick_lane_free(
    asked: list[str], resolver: SystemResolver
) -> None:
    names = [f"slow{n}.example" for n in range(QUICK_THREADS - 1)]
    for port in (443, 8443):
        waiting = [resolver.resolve(name, port) for name in names]
        await asyncio.gather(*waiting, return_exceptions=True)

    assert len(await resolver.resolve("example.com", 443)) == 2


async def test_the_real_library_answers_for_a_literal_name() -> None:
    resolver = SystemResolver()

    assert await resolver.resolve("localhost", 80)
    resolver.close()
