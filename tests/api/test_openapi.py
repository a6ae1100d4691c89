"""The document: every route explained, every answer named, every example good."""

import json
from typing import Any

import pytest

from app.asgi import create_app
from tests.world import World, settings_for


@pytest.fixture
def world(shared: World) -> World:
    return shared


COMMON = {"400", "401", "403", "429", "503"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    app = create_app(settings_for("sqlite:////nowhere/oneprotect.db"))
    return dict(app.openapi_schema.to_schema())


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def ours(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(m, p, o) for m, p, o in operations(document) if p.startswith("/api/v1/")]


def test_every_route_has_a_summary_a_tag_and_an_id_of_its_own(document: dict[str, Any]) -> None:
    found = operations(document)
    ids = [operation["operationId"] for *_, operation in found]

    assert len(found) >= 28
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in found:
        assert operation["summary"], (method, path)
        assert len(operation["tags"]) == 1, (method, path)
        assert set(operation["tags"]) <= tags, (method, path)


def test_every_route_of_the_api_asks_for_a_bearer_token(document: dict[str, Any]) -> None:
    assert {"type": "http", "scheme": "bearer"} == {
        key: document["components"]["securitySchemes"]["bearer"][key] for key in ("type", "scheme")
    }
    for method, path, operation in operations(document):
        wanted = [{"bearer": []}] if path.startswith("/api/v1/") else None
        assert operation.get("security") == wanted, (method, path)


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for method, path, operation in ours(document):
        answers = operation["responses"]
        assert set(answers) >= COMMON, (method, path)
        assert ("{" in path) <= ("404" in answers), (method, path)
        assert ("requestBody" in operation) <= ("413" in answers), (method, path)
        for status, answer in answers.items():
            if status >= "400":
                schema = answer["content"]["application/problem+json"]["schema"]
                assert {"$ref": "#/components/schemas/Problem"} == schema, (method, path, status)
                assert {"application/problem+json"} == set(answer["content"])


def test_every_route_that_reads_a_body_shows_an_example(document: dict[str, Any]) -> None:
    with_body = [path for _, path, operation in ours(document) if "requestBody" in operation]

    assert len(with_body) >= 6
    for _, path, operation in ours(document):
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            assert content["examples"]["example"]["value"], path
            assert "object" == content["schema"]["type"], path


def test_no_parameter_that_may_be_left_out_is_said_to_be_null(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert "null" not in json.dumps(parameter["schema"]), (method, path, parameter["name"])


def test_no_schema_of_an_answer_but_the_first_has_a_secret(document: dict[str, Any]) -> None:
    showing = {
        name
        for name, schema in document["components"]["schemas"].items()
        if {"signing_secret", "token"} & set(schema.get("properties", {}))
    }

    assert showing == {"DestinationWithSecret", "TokenWithText"}


def example(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    body = document["paths"][f"/api/v1{path}"][method]["requestBody"]
    return dict(body["content"]["application/json"]["examples"]["example"]["value"])


async def test_every_example_works_as_it_stands(world: World, document: dict[str, Any]) -> None:
    # Names of example.com do not resolve everywhere: the same example at an address.
    admin = world.as_("acme_admin")
    create = example(document, "post", "/integrations/destinations")
    assert create["endpoint_url"].startswith("https://hooks.example.com/")
    create["endpoint_url"] = "https://93.184.216.34/oneprotect"

    made = await admin.post("/integrations/destinations", json=create)
    base = f"/integrations/destinations/{made.json()['id']}"
    one = "/integrations/destinations/{destination_id}"
    answers = [
        (201, made),
        (200, await admin.patch(base, json=example(document, "patch", one))),
        (200, await admin.post(
            f"{base}/rotate-secret", json=example(document, "post", f"{one}/rotate-secret"))),
        (202, await admin.post("/events", json=example(document, "post", "/events"))),
        (202, await admin.post("/events/batch", json=example(document, "post", "/events/batch"))),
        (201, await admin.post("/tokens", json=example(document, "post", "/tokens"))),
    ]  # fmt: skip

    for status, answer in answers:
        assert status == answer.status_code, answer.text


async def test_the_document_is_served_as_the_command_prints_it(
    world: World, document: dict[str, Any]
) -> None:
    answer = await world.client.get("/api/docs/openapi.json")

    assert 200 == answer.status_code
    assert json.loads(json.dumps(document)) == answer.json()


async def test_the_page_loads_nothing_from_elsewhere(world: World) -> None:
    page = await world.client.get("/api/docs")

    assert "text/html; charset=utf-8" == page.headers["content-type"]
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "://" not in page.text
    for name in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert name in page.text
        asset = await world.client.get(f"/api/docs/swagger/{name}")
        assert (200, True) == (asset.status_code, len(asset.content) > 100_000)
