"""Listening on a port, or one line that says why not and what to change."""

import errno
import socket
from typing import Final

BACKLOG: Final = 2048

_FAULTS: Final = {
    errno.EADDRINUSE: "is in use by another program",
    errno.EADDRNOTAVAIL: "cannot be used: the host is no address of this machine",
    errno.EACCES: "may not be used by this user",
}


def listen(host: str, port: int, *, setting: str) -> socket.socket:
    """Return a listening socket; OSError names the port and `setting`, which chooses another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        fault = _FAULTS.get(error.errno or 0, f"cannot be used: {error.strerror or error}")
        # Two arguments would make the text start with the number.
        raise OSError(f"port {port} on {host} {fault}; choose another with {setting}") from None


def require_free(host: str, port: int, *, setting: str) -> None:
    """Raise the OSError of `listen` when the port cannot be had now."""
    listen(host, port, setting=setting).close()


def address(sock: socket.socket) -> str:
    """Return the http address of a listening socket, with the port that it really got."""
    host, port = sock.getsockname()[:2]
    return url(str(host), int(port))


def url(host: str, port: int) -> str:
    """Return how a browser on this machine reaches a server that listens on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}/" if ":" in reachable else f"http://{reachable}:{port}/"
