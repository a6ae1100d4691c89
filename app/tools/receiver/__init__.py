"""A request bin for developers: shows each webhook, verifies it, and misbehaves when asked."""

import socket
import time

import click

from app.sending.signing import Secret
from app.tools import ports, server
from app.tools.receiver.inbox import Behaviour, Inbox, Received, visible
from app.tools.receiver.web import Receiver

__all__ = ["Behaviour", "run"]


def run(sock: socket.socket, secrets: list[Secret], behaviour: Behaviour) -> None:
    """Listen on `sock` until a signal; one line on stdout for each request."""
    click.echo(f"listens on {ports.address(sock)}")
    inbox = Inbox(secrets, behaviour)
    server.run(Receiver(inbox, lambda one: click.echo(line(one))), sock, lifespan="off")


def line(one: Received) -> str:
    """`12:00:01 alert.created evt_… attempt 1: verified, answered 200`, safe on a terminal."""
    text = (
        f"{time.strftime('%H:%M:%S', one.received_at.astimezone().timetuple())}"
        f" {one.event or one.path} {one.message_id or 'without an id'}"
        f" attempt {one.attempt or '?'}: {one.verdict}, answered {one.answered}"
    )
    if one.verified is False:
        text += f" ({one.reason})"
    return visible(text)
