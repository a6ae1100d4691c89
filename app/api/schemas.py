"""Request bodies: read as JSON objects so that rules name every fault, documented by Structs."""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
)

from app.errors import Invalid

MAX_BODY_BYTES = 256 * 1024


async def read_object(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return the request's JSON object; an absent body counts as an empty one."""
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid("The body is not valid JSON in UTF-8, or is nested too deeply.") from None
    if not isinstance(value, dict):
        raise Invalid("The body must be a JSON object.")
    return value


def takes(
    body: type[msgspec.Struct], example: dict[str, Any], *, required: bool = True
) -> type[Operation]:
    """Return an operation class that documents a JSON body which the handler reads itself."""
    content = {
        "application/json": OpenAPIMediaType(
            schema=_inlined(body),
            examples={"example": Example(value=example)},
        )
    }

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(content=content, required=required)

    return WithBody


def gives(*media_types: str) -> type[Operation]:
    """Return an operation class that documents a file in whichever of these types is asked for."""
    content = {
        kind: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING)) for kind in media_types
    }

    @dataclass
    class WithFile(Operation):
        def __post_init__(self) -> None:
            answer = OpenAPIResponse(description="The file, streamed.", content=content)
            self.responses = {**(self.responses or {}), "200": answer}

    return WithFile


def _inlined(body: type[msgspec.Struct]) -> Any:
    """Return the JSON schema of a Struct without references."""
    (root,), parts = msgspec.json.schema_components([body], ref_template="{name}")

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(parts[node["$ref"]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    return resolve(root)
