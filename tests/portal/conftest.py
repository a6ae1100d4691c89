"""Browsers over the world's application, one signed in for each role."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.portal.visitor import Visitor
from tests.world import World

SignedIn = Callable[[str], AbstractAsyncContextManager[Visitor]]


@pytest.fixture
def engine_name() -> str:
    """One engine: pages hold no SQL of their own, and what they call is tested on both."""
    return "sqlite"


@pytest.fixture
async def visitor(world: World) -> AsyncIterator[Visitor]:
    """Yield a browser that nobody has signed in with."""
    async with Visitor(world.app) as visitor:
        yield visitor


@pytest.fixture
def signed_in(world: World) -> SignedIn:
    @contextlib.asynccontextmanager
    async def open_as(who: str) -> AsyncIterator[Visitor]:
        async with Visitor(world.app) as visitor:
            assert (await visitor.sign_in(who)).status_code == 303
            yield visitor

    return open_as


@pytest.fixture
async def admin(signed_in: SignedIn) -> AsyncIterator[Visitor]:
    async with signed_in("admin") as visitor:
        yield visitor
