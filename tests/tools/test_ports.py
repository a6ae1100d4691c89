"""Ports that cannot be had are explained in one line."""

import socket

import pytest

from app.tools import ports


def test_a_port_in_use_is_named_with_the_setting_that_chooses_another() -> None:
    with ports.listen("127.0.0.1", 0, setting="--port") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            ports.listen("127.0.0.1", port, setting="ONEPROTECT_PORT")
    assert str(caught.value) == (
        f"port {port} on 127.0.0.1 is in use by another program; choose another with"
        " ONEPROTECT_PORT"
    )


def test_an_address_of_another_machine_is_explained() -> None:
    with pytest.raises(OSError, match="the host is no address of this machine"):
        ports.listen("192.0.2.1", 0, setting="ONEPROTECT_PORT")


def test_a_host_that_does_not_resolve_is_explained() -> None:
    with pytest.raises(OSError, match=r"^port 80 on nowhere\.invalid cannot be used: "):
        ports.listen("nowhere.invalid", 80, setting="ONEPROTECT_PORT")


def test_checking_leaves_the_port_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    ports.require_free("127.0.0.1", port, setting="--port")
    ports.listen("127.0.0.1", port, setting="--port").close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::", "http://[::1]:8000/"),
        ("hooks.internal", "http://hooks.internal:8000/"),
    ],
)
def test_a_url_is_one_that_a_browser_here_can_open(host: str, expected: str) -> None:
    assert ports.url(host, 8000) == expected
