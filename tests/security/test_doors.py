"""There is one door to the network, and it speaks one protocol."""

import ast
from pathlib import Path

from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.exchange import client_tls
from app.sending.transport import Sender
from tests.behaviours import Conversation
from tests.receiver import Authority, Receiver
from tests.sending.resolvers import Answers

APP = Path(__file__).resolve().parents[2] / "app"

#: What opens connections. The tools talk to our own API and receiver, by a person's command.
DOORS = {"httpx", "aiohttp", "requests", "urllib3", "http.client", "urllib.request"}
ALLOWED = ("sending/", "tools/")


def test_no_other_door_to_the_network_exists() -> None:
    found = [
        f"{file.relative_to(APP)} imports {name}"
        for file in sorted(APP.rglob("*.py"))
        if not str(file.relative_to(APP)).startswith(ALLOWED)
        for name in _imports(ast.parse(file.read_text("utf-8")))
        if name in DOORS or name.partition(".")[0] in DOORS
    ]

    assert [] == found


def _imports(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


async def test_no_connection_ever_offers_http_2(authority: Authority) -> None:
    """Seen from the other side: a server that would take h2 is offered nothing but HTTP/1.1."""
    name, chosen = "hooks.public.example", []
    server = authority.server(name)
    server.set_alpn_protocols(["h2", "http/1.1"])

    async def note(talk: Conversation) -> None:
        chosen.append(talk.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await talk.answer()

    async with Receiver(note, tls=server, name=name) as receiver:
        sender = Sender(
            EgressPolicy(EgressAllow.parse(receiver.place)),
            resolver=Answers({name: ["127.0.0.1"]}),
            ssl_context=authority.trust(client_tls()),
        )
        outcome = await sender.send(receiver.url, [], b"{}")
        await sender.aclose()

    assert 200 == outcome.response_status
    assert chosen in ([None], ["http/1.1"])
