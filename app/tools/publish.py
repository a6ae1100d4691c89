"""Publish one event through the API, as a product of the platform would."""

from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx
import msgspec

TIMEOUT_S: Final = 30.0


class PublishError(Exception):
    """The event was not accepted; the text is one line that says why."""


class _Event(msgspec.Struct, omit_defaults=True):
    type: str
    data: msgspec.Raw
    tenant: str | None = None
    id: str | None = None


class _Fault(msgspec.Struct):
    """RFC 9457, as far as it is shown."""

    title: str = ""
    detail: str = ""
    errors: list[dict[str, Any]] = []


def read_data(given: str, stdin: BinaryIO) -> bytes:
    """Return the JSON of `--data`: the text itself, `@file`, or `-` for stdin."""
    if given == "-":
        raw = stdin.read()
    elif given.startswith("@"):
        raw = Path(given[1:]).read_bytes()
    else:
        raw = given.encode("utf-8", "surrogateescape")
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise PublishError(f"--data is not JSON: {fault}") from None
    return raw


def publish(
    url: str, token: str, *, tenant: str | None, event_type: str, data: bytes, key: str | None
) -> str:
    """POST the event and return the API's answer; `data` goes out byte for byte."""
    event = _Event(type=event_type, data=msgspec.Raw(data), tenant=tenant, id=key)
    try:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
            answer = client.post(
                f"{url.rstrip('/')}/api/v1/events",
                content=msgspec.json.encode(event),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise PublishError(f"cannot reach {url}: {error}; does the API run there?") from None
    if not answer.is_success:
        raise PublishError(_fault_line(answer))
    return answer.text


def _fault_line(answer: httpx.Response) -> str:
    try:
        fault = msgspec.json.decode(answer.content, type=_Fault)
    except (msgspec.DecodeError, UnicodeDecodeError):
        fault = _Fault(detail="the answer is not one of this API")
    said = fault.detail or fault.title
    more = [f"{one.get('field')}: {one.get('message')}" for one in fault.errors]
    text = "; ".join(dict.fromkeys([said, *(part for part in more if said not in part)]))
    return f"the API answered {answer.status_code}: {text}"
