"""The load: publishes through the API as a product would, and notes when it called."""

import http.client
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from app.tools.bench.plan import PACE_PER_SECOND, BenchError

EVENT_TYPE: Final = "bench.event"
BATCH: Final = 100
#: Batches are published by so many connections at once.
CONNECTIONS: Final = 4
_TIMEOUT_S: Final = 60.0


class _Accepted(msgspec.Struct):
    id: str


class _AcceptedBatch(msgspec.Struct):
    items: list[_Accepted]


class Publisher:
    """One connection to the API; `sent` holds the moment of the call by event id."""

    def __init__(self, port: int, token: str, payload_bytes: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._event = b'{"type":"%b","data":%b}' % (EVENT_TYPE.encode(), data_of(payload_bytes))
        self.sent: dict[str, float] = {}

    def publish(self) -> None:
        called, answer = self._post("/api/v1/events", self._event)
        self.sent[msgspec.json.decode(answer, type=_Accepted).id] = called

    def publish_batch(self, size: int) -> None:
        body = b'{"events":[%b]}' % b",".join([self._event] * size)
        called, answer = self._post("/api/v1/events/batch", body)
        accepted = msgspec.json.decode(answer, type=_AcceptedBatch).items
        self.sent.update((one.id, called) for one in accepted)

    def close(self) -> None:
        self._connection.close()

    def _post(self, path: str, body: bytes) -> tuple[float, bytes]:
        called = time.perf_counter()
        try:
            self._connection.request("POST", path, body, self._headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as fault:
            raise BenchError(f"the API did not answer: {type(fault).__name__} {fault}") from None
        if response.status != http.client.ACCEPTED:
            raise BenchError(f"the API answered {response.status}: {answer[:300].decode()}")
        return called, answer


def data_of(payload_bytes: int) -> bytes:
    """Return a JSON object of that many bytes; the smallest has ten."""
    return b'{"text":"%b"}' % (b"x" * (payload_bytes - len(b'{"text":""}')))


def publish_batches(
    new_publisher: Callable[[], Publisher], events: int, stopped: threading.Event
) -> tuple[dict[str, float], float]:
    """Publish in batches over a few connections; return the calls, and the seconds it took."""
    sizes = [BATCH] * (events // BATCH) + [events % BATCH] * bool(events % BATCH)
    faults: list[Exception] = []
    publishers = [new_publisher() for _ in range(CONNECTIONS)]

    def work(publisher: Publisher) -> None:
        try:
            while not stopped.is_set() and not faults:
                publisher.publish_batch(sizes.pop())
        except IndexError:
            pass  # another took the last one
        except BenchError as fault:
            faults.append(fault)
        finally:
            publisher.close()

    threads = [threading.Thread(target=work, args=(one,)) for one in publishers]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    if faults:
        raise faults[0]
    return {k: v for publisher in publishers for k, v in publisher.sent.items()}, took


def publish_paced(
    new_publisher: Callable[[], Publisher], events: int, stopped: threading.Event
) -> tuple[dict[str, float], float]:
    """Publish one by one at the pace; return the calls, and the seconds it took."""
    publisher = new_publisher()
    started = time.perf_counter()
    for number in range(events):
        wait_s = started + number / PACE_PER_SECOND - time.perf_counter()
        if stopped.wait(max(0.0, wait_s)):
            break
        publisher.publish()
    publisher.close()
    return publisher.sent, time.perf_counter() - started
