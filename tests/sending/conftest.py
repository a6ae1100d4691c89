"""What the tests of the network edge share: a watched socket layer and senders that close."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.transport import Sender
from tests.receiver import Authority, Receiver

Opener = Callable[..., Sender]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(autouse=True)
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that was really dialled; outside loopback the dial itself is refused."""
    seen: list[str] = []
    real = asyncio.selector_events.BaseSelectorEventLoop.sock_connect

    async def watched(loop: Any, sock: Any, address: Any) -> Any:
        if sock.type == socket.SOCK_STREAM:
            seen.append(address[0])
        if not address[0].startswith("127."):
            raise ConnectionRefusedError(111, "no test leaves this machine")
        return await real(loop, sock, address)

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", watched)
    return seen


@pytest.fixture
async def open_sender() -> AsyncIterator[Opener]:
    """`open_sender(receiver, …)`: a Sender whose operator allows exactly these receivers."""
    senders: list[Sender] = []

    def make(*receivers: Receiver, timeout_s: float = 5.0, **options: Any) -> Sender:
        allow = EgressAllow.parse(",".join(one.place for one in receivers))
        policy = EgressPolicy(allow, require_https=False)
        senders.append(Sender(policy, timeout_s=timeout_s, **options))
        return senders[-1]

    yield make
    for sender in senders:
        await sender.aclose()
