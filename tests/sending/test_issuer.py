"""The way to the sign-on provider: bounded in time and size, and straight."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme

from app.sending.issuer import (
    MAX_ANSWER_BYTES,
    IssuerClient,
    IssuerRefused,
    IssuerUnreachable,
    authorization_url,
)

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def provider(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve one raw answer per request on loopback."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                 if line.startswith(b"content-length:")), 0,
            )  # fmt: skip
            await answer(head + await reader.readexactly(length), writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def raw(body: bytes, *, status: str = "200 OK", headers: str = "") -> Answer:
    async def answer(_request: bytes, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)

    return answer


CLIENT = IssuerClient(require_https=False, deadline_s=5)


async def test_a_document_of_the_operators_own_provider_is_fetched_though_private() -> None:
    async with provider(raw(b'{"issuer": "x"}')) as url:
        assert {"issuer": "x"} == await CLIENT.document(url)


@pytest.mark.parametrize(
    ("body", "status", "headers", "said"),
    [
        (b"[]", "200 OK", "", "no JSON object"),
        (b"<html>", "200 OK", "", "not JSON"),
        (b"\xff{}", "200 OK", "", "not JSON"),
        (b"[" * 100_000, "200 OK", "", "not JSON"),
        (b"{}", "500 Oh", "", "answered 500"),
        (b"{}", "302 Found", "Location: http://127.0.0.1:9/\r\n", "answered 302"),
        (b"\x1f\x8b", "200 OK", "Content-Encoding: gzip\r\n", "compresses"),
        (b"x" * (MAX_ANSWER_BYTES + 1), "200 OK", "", "too large"),
        (b"", "nonsense", "", "does not answer"),
    ],
)
async def test_whatever_it_answers_is_one_plain_fault(
    body: bytes, status: str, headers: str, said: str
) -> None:
    async with provider(raw(body, status=status, headers=headers)) as url:
        with pytest.raises(IssuerUnreachable, match=said):
            await CLIENT.document(url)


async def test_a_provider_that_hangs_is_left_in_time() -> None:
    async def hang(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await asyncio.sleep(1)

    async with provider(hang) as url:
        with pytest.raises(IssuerUnreachable, match="TimeoutError"):
            await IssuerClient(require_https=False, deadline_s=0.1).document(url)


async def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with provider(raw(b"{}")) as url:
        assert {} == await CLIENT.document(url)


async def test_where_https_is_required_nothing_else_is_dialled() -> None:
    strict = IssuerClient(require_https=True, deadline_s=5)
    for url in ("http://127.0.0.1:9/", "file:///etc/passwd", "https://", "gopher://x/"):
        with pytest.raises(IssuerUnreachable, match="not https"):
            await strict.document(url)
    with pytest.raises(IssuerUnreachable):
        await CLIENT.document("ftp://127.0.0.1/")


async def test_its_certificate_is_checked_and_an_own_authority_may_be_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    async with provider(raw(b"{}"), server) as url:
        with pytest.raises(IssuerUnreachable, match="ConnectError"):
            await IssuerClient(require_https=True).document(url)

        with authority.cert_pem.tempfile() as path:
            monkeypatch.setenv("SSL_CERT_FILE", path)
            assert {} == await IssuerClient(require_https=True).document(url)


async def test_a_code_is_exchanged_with_its_verifier_under_the_clients_name() -> None:
    seen: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        await raw(b'{"id_token": "t"}')(request, writer)

    async with provider(answer) as url:
        for method in ("client_secret_basic", "client_secret_post", "none"):
            said = await CLIENT.exchange(
                url, code="c", verifier="v" * 43, redirect_uri="http://us/back",
                client=("id", "hush"), method=method,
            )  # fmt: skip
            assert {"id_token": "t"} == said

    basic, post, public = seen
    for request in seen:
        assert b"grant_type=authorization_code" in request
        assert b"code_verifier=" + b"v" * 43 in request
    assert b"authorization: basic awq6ahvzaa==" in basic.lower()
    assert b"hush" not in basic
    assert b"client_secret=hush" in post
    assert b"hush" not in public
    assert b"client_id=id" in public


async def test_a_refused_code_tells_the_code_of_the_error_and_nothing_more() -> None:
    body = b'{"error": "invalid_grant", "error_description": "hush"}'
    async with provider(raw(body, status="400 Bad Request")) as url:
        with pytest.raises(IssuerRefused, match=r"^invalid_grant$"):
            await CLIENT.exchange(
                url, code="c", verifier="v", redirect_uri="x", client=("id", "s"), method="none"
            )


def test_the_way_to_the_provider_keeps_the_query_it_has() -> None:
    url = authorization_url(
        "https://idp.example/auth?realm=x", client_id="id", redirect_uri="https://us/back",
        state="s", nonce="n", verifier="v" * 43,
    )  # fmt: skip

    assert url.startswith("https://idp.example/auth?realm=x&response_type=code&client_id=id")
    assert "code_challenge_method=S256" in url
    assert "v" * 43 not in url
