"""Name services for tests: from a table, in a fixed order, or over a real UDP socket."""

import asyncio
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self

Address = IPv4Address | IPv6Address


class Answers:
    """The same answer for a name each time; a name that is missing has none."""

    def __init__(self, table: dict[str, list[str]]) -> None:
        self._table = table
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[Address]:  # noqa: ARG002
        self.asked.append(host)
        return [ip_address(text) for text in self._table.get(host, [])]


class InTurn:
    """One answer after the other, whatever the name; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[Address]:  # noqa: ARG002
        self.asked.append(host)
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        return [ip_address(text) for text in answer]


class NameServer(asyncio.DatagramProtocol):
    """A real DNS server over UDP that answers each question with the next address, TTL 0."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self.questions = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        address = self._addresses[min(self.questions, len(self._addresses) - 1)]
        self.questions += 1
        header = data[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0)
        record = struct.pack("!HHHIH", 0xC00C, 1, 1, 0, 4) + IPv4Address(address).packed
        self._transport.sendto(header + data[12:] + record, addr)


class UdpResolver:
    """Asks a NameServer for the A record of a name, over the wire."""

    def __init__(self, server: NameServer) -> None:
        self._server = server

    async def resolve(self, host: str, port: int) -> list[Address]:  # noqa: ARG002
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Question(answer), remote_addr=("127.0.0.1", self._server.port)
        )
        labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
        transport.sendto(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1")
        try:
            return [IPv4Address((await answer)[-4:])]
        finally:
            transport.close()


class _Question(asyncio.DatagramProtocol):
    def __init__(self, answer: asyncio.Future[bytes]) -> None:
        self._answer = answer

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
        self._answer.set_result(data)
