"""Judge the corpus and the blocked networks; prints JSON. Arguments: what goes on the path."""

import asyncio
import json
import platform
import sys
from ipaddress import IPv4Network, IPv6Address, ip_address
from pathlib import Path
from typing import Any

sys.path[:0] = sys.argv[1:]

from app.sending.egress import EgressPolicy  # noqa: E402
from app.sending.networks import DENIED_V4, DENIED_V6, METADATA, is_public  # noqa: E402
from app.sending.url_safety import PRIVATE_MESSAGE, UnsafeUrl, vet_url  # noqa: E402

CORPUS = Path(__file__).parents[1] / "sending" / "ssrf_corpus.json"


class Answers:
    def __init__(self, table: dict[str, list[str]]) -> None:
        self._table = table

    async def resolve(self, host: str, _port: int) -> list[Any]:
        return [ip_address(text) for text in self._table.get(host, [])]


async def verdict(entry: dict[str, Any]) -> str:
    try:
        await vet_url(entry["url"], EgressPolicy(), Answers(entry.get("dns", {})))
    except UnsafeUrl as refusal:
        return "private" if refusal.message == PRIVATE_MESSAGE else "reject"
    return "accept"


async def judge(entry: dict[str, Any]) -> bool:
    wanted = entry["recommended"] if entry["expect"] == "policy" else entry["expect"]
    told = await verdict(entry)
    if wanted == "accept":
        return told == "accept"
    return told == "private" if entry.get("message") == "private" else told != "accept"


def blocks() -> list[Any]:
    """Both ends of every blocked network, the IPv4 ones in every IPv6 dress too."""
    ends = [ip for net in (*DENIED_V4, *DENIED_V6, *METADATA) for ip in (net[0], net[-1])]
    dressed = [
        IPv6Address(int(IPv6Address(dress)) + int(ip))
        for net in DENIED_V4
        if isinstance(net, IPv4Network)
        for ip in (net[0], net[-1])
        for dress in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "2606:4700::5efe:0:0")
    ]
    return ends + dressed


async def main() -> None:
    entries = json.loads(CORPUS.read_text("utf-8"))
    created = [entry for entry in entries if entry.get("stage", "create") == "create"]
    wrong = [entry["id"] for entry in created if not await judge(entry)]
    wrong += [str(ip) for ip in blocks() if is_public(ip)]
    told = {"version": platform.python_version(), "judged": len(created), "blocks": len(blocks())}
    print(json.dumps(told | {"wrong": wrong}))


asyncio.run(main())
