"""Publishing from the shell: what goes over the wire, and how refusals are told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.tools.programs import call, free_port

DATA = '{"big": 12345678901234567890123, "ratio": 1.0, "text": "é"}'


class Api(ThreadingHTTPServer):
    """Answers as it is told and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.answer = 202, b'{"id":"evt_1","deliveries":1}'
        self.asked: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


EVENT = ("publish", "--tenant", "acme", "--type", "alert.created")


def test_an_event_goes_out_byte_for_byte_and_the_answer_is_printed(
    api: Api, tmp_path: Path
) -> None:
    done = call(tmp_path, *EVENT, "--data", DATA, "--id", "k1", "--url", api.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"id": "evt_1", "deliveries": 1}
    ((path, authorization, body),) = api.asked
    assert (path, authorization) == ("/api/v1/events", "Bearer op_local_platform")
    assert DATA.encode() in body
    assert json.loads(body) == {
        "tenant": "acme",
        "type": "alert.created",
        "id": "k1",
        "data": json.loads(DATA),
    }


def test_data_comes_from_a_file_or_from_stdin(api: Api, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"from": "file"}')
    call(tmp_path, *EVENT, "--data", "@event.json", "--url", api.url)
    call(tmp_path, *EVENT, "--data", "-", "--url", api.url, stdin='{"from": "stdin"}')
    assert [json.loads(body)["data"]["from"] for _, _, body in api.asked] == ["file", "stdin"]


def test_the_token_comes_from_the_option_or_from_the_environment(api: Api, tmp_path: Path) -> None:
    both = {"extra": {"OP_TOKEN": "op_env"}, "ENV": "dev"}
    call(tmp_path, *EVENT, "--data", "{}", "--url", api.url, **both)
    call(tmp_path, *EVENT, "--data", "{}", "--url", api.url, "--token", "op_own", **both)
    assert [one[1] for one in api.asked] == ["Bearer op_env", "Bearer op_own"]


def test_outside_local_a_token_must_be_given(tmp_path: Path) -> None:
    done = call(tmp_path, *EVENT, "--data", "{}", ENV="dev")
    assert done.returncode == 2
    assert done.stderr == (
        "oneprotect: a token is needed: --token, or OP_TOKEN in the environment\n"
    )


def test_bad_json_is_named_and_nothing_is_sent(api: Api, tmp_path: Path) -> None:
    done = call(tmp_path, *EVENT, "--data", "{severity: high}", "--url", api.url)
    assert done.returncode == 1
    assert done.stderr.startswith("oneprotect: --data is not JSON: ")
    assert done.stderr.count("\n") == 1
    assert api.asked == []


def test_a_refusal_is_one_line_with_every_wrong_field(api: Api, tmp_path: Path) -> None:
    api.status = 400
    api.answer = json.dumps(
        {
            "title": "Invalid request",
            "detail": "type must be dotted",
            "errors": [
                {"field": "type", "message": "type must be dotted"},
                {"field": "data", "message": "must be an object"},
            ],
        }
    ).encode()
    done = call(tmp_path, *EVENT, "--data", "[]", "--url", api.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "oneprotect: the API answered 400: type must be dotted; data: must be an object\n"
    )


def test_an_answer_that_is_no_api_is_told_so(api: Api, tmp_path: Path) -> None:
    api.status, api.answer = 502, b"<html>Bad gateway</html>"
    done = call(tmp_path, *EVENT, "--data", "{}", "--url", api.url)
    assert done.stderr == ("oneprotect: the API answered 502: the answer is not one of this API\n")


def test_an_api_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = call(tmp_path, *EVENT, "--data", "{}", "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"oneprotect: cannot reach {url}: ")
    assert done.stderr.count("\n") == 1


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    done = call(tmp_path, *EVENT, "--data", "@nowhere.json")
    assert (done.returncode, done.stderr) == (
        1,
        "oneprotect: nowhere.json: No such file or directory\n",
    )
