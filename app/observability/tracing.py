"""OpenTelemetry traces from publish to receipt; the SDK is only imported when tracing is on."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from app import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

#: How long a stop waits for the collector to take what is left.
FLUSH_S: Final = 2.0
#: `traceparent` of version 00: version, trace id, parent id, flags.
_PARTS: Final = 4
_SAMPLED: Final = 0x01


class Parent(NamedTuple):
    """A W3C trace context, as it stands in a `traceparent` header."""

    trace_id: int
    span_id: int
    flags: int

    @classmethod
    def parse(cls, text: str) -> "Parent | None":
        parts = text.split("-")
        if len(parts) != _PARTS or [len(part) for part in parts] != [2, 32, 16, 2]:
            return None
        try:
            _, trace_id, span_id, flags = (int(part, 16) for part in parts)
        except ValueError:
            return None
        return cls(trace_id, span_id, flags) if trace_id and span_id else None

    @property
    def sampled(self) -> bool:
        return bool(self.flags & _SAMPLED)

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags:02x}"


def child_of(parent: Parent, name: str) -> Parent:
    """Return the context of the span of that name below `parent`.

    Its id follows from the name: the receiver is told it before the span is made, and nothing has
    to be kept between the two.
    """
    digest = hashlib.blake2b(f"{parent.trace_id:x}:{name}".encode(), digest_size=8).digest()
    return parent._replace(span_id=int.from_bytes(digest, "big") or 1)


class Tracing:
    """Makes the spans of one process and sends them to the collector in the background."""

    def __init__(
        self, role: str, *, ratio: float, processor: "SpanProcessor | None" = None
    ) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        about = {"service.version": __version__, "oneprotect.process": role}
        if not os.environ.get("OTEL_SERVICE_NAME"):
            about[SERVICE_NAME] = "oneprotect-webhooks"
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create(about),
            shutdown_on_exit=False,
        )
        self._processor = processor or _to_collector()
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("oneprotect", __version__)
        self._scope: Any = getattr(self._tracer, "_instrumentation_scope", None)

    @contextlib.contextmanager
    def publishing(self, caller: str | None, events: int) -> Iterator[str | None]:
        """Span a publish; yield the context to store with its events, None to store nothing.

        A caller's own trace goes on, and its decision to sample holds for us.
        """
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        given = Parent.parse(caller) if caller else None
        around = TraceContextTextMapPropagator().extract(
            {"traceparent": str(given)} if given else {}
        )
        with self._tracer.start_as_current_span(
            "publish",
            context=around,
            kind=trace.SpanKind.PRODUCER,
            attributes={"oneprotect.events": events},
            # An exception's text may repeat what was published: its type is enough.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            context = span.get_span_context()
            own = Parent(context.trace_id, context.span_id, int(context.trace_flags))
            try:
                yield str(own) if own.sampled or given else None
            except Exception as fault:
                span.set_status(trace.Status(trace.StatusCode.ERROR, type(fault).__name__))
                raise

    def attempt(
        self,
        parent: Parent,
        own: Parent,
        *,
        started_s: float,
        duration_ms: int,
        fault: str | None,
        attributes: Mapping[str, Any],
    ) -> None:
        """Make the span of an attempt that has ended, whole, below its publish."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        started_ns = int(started_s * 1e9)
        flags = TraceFlags(parent.flags)
        self._processor.on_end(
            ReadableSpan(
                name="deliver",
                context=SpanContext(own.trace_id, own.span_id, is_remote=False, trace_flags=flags),
                parent=SpanContext(
                    parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags
                ),
                resource=self._provider.resource,
                attributes=attributes,
                kind=SpanKind.CLIENT,
                status=Status(StatusCode.ERROR, fault) if fault else Status(StatusCode.OK),
                start_time=started_ns,
                end_time=started_ns + duration_ms * 1_000_000,
                instrumentation_scope=self._scope,
            )
        )

    def close(self) -> None:
        """Send what is left; a collector that is away does not hold up the stop."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(FLUSH_S)


def _to_collector() -> "SpanProcessor":
    """Return what sends in batches, as OpenTelemetry's own variables say (OTEL_EXPORTER_OTLP_…)."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter())
