"""What the entrypoint counts, and /metrics.

Counting on the way of a request is adding to a plain integer; these are carried over to prometheus_client when its
figures are read, and every second where several processes show theirs together (through the files of its multiprocess
mode, which outlive a process: a sum of counters never goes back when a child is restarted).
"""

from collections import defaultdict
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from broker.group_commit import GroupCommit

#: From well below an embedded broker's confirm to beyond any publish time-out.
_PUBLISH_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class EntrypointMetrics:
    """The entrypoint's metrics, on a registry.

    Arguments:
        registry: where they are registered; all that is on it is shown.
        stream: label of all figures about events.
        folder: where the processes of one entrypoint keep their figures together, None for a single process.

    Attributes:
        requests: (route, status) → answered requests, to be added to by whoever answers.
        invalid_events: events that were refused.
    """

    def __init__(self, registry: CollectorRegistry, stream: str, folder: Path | None = None) -> None:
        self._registry = registry
        self._folder = folder
        self.requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.invalid_events = 0
        self._carried: dict[object, int] = {}
        self._requests = Counter(
            "tillstream_http_requests_total", "Requests answered.", ("route", "status"), registry=registry
        )

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, ("stream",), registry=registry).labels(stream)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ("stream",), registry=registry, multiprocess_mode="livesum").labels(stream)

        self._accepted = counter("tillstream_events_accepted_total", "Events confirmed by the broker.")
        self._invalid = counter("tillstream_events_invalid_total", "Events refused as invalid.")
        self._frames = counter("tillstream_frames_published_total", "Frames confirmed by the broker.")
        self._bytes = counter("tillstream_frames_published_bytes_total", "Bytes of confirmed frames.")
        self._failures = Counter(
            "tillstream_frames_failed_total", "Frames not confirmed.", ("stream", "error"), registry=registry
        )
        self._stream = stream
        self._pending_events = gauge("tillstream_pending_events", "Events waiting for a confirm.")
        self._pending_bytes = gauge("tillstream_pending_bytes", "Bytes waiting for a confirm.")
        self._in_flight = gauge("tillstream_frames_in_flight", "Frames published and not confirmed yet.")
        self._connections = Gauge(
            "tillstream_http_connections", "Open connections.", registry=registry, multiprocess_mode="livesum"
        )
        publish_seconds = Histogram(
            "tillstream_publish_seconds",
            "From publishing a frame to its confirm.",
            ("stream",),
            registry=registry,
            buckets=_PUBLISH_BUCKETS,
        )
        self.observe_publish = publish_seconds.labels(stream).observe

    def refuse_connection(self) -> None:
        """Count a connection that was one too many: there is no request yet that would have a route."""
        self.requests["connection", 503] += 1

    def carry(self, commit: GroupCommit, connections: int) -> None:
        """Carry what was counted in plain integers over to the metrics."""
        for key, count in self.requests.items():
            self._add(self._requests.labels(key[0], str(key[1])), key, count)
        self._add(self._accepted, "accepted", commit.events)
        self._add(self._invalid, "invalid", self.invalid_events)
        self._add(self._frames, "frames", commit.frames)
        self._add(self._bytes, "bytes", commit.bytes)
        for error, count in commit.failures.items():
            self._add(self._failures.labels(self._stream, error), error, count)
        self._pending_events.set(commit.pending_events)
        self._pending_bytes.set(commit.pending_bytes)
        self._in_flight.set(commit.in_flight)
        self._connections.set(connections)

    def exposition(self) -> bytes:
        """Everything in the text format of Prometheus; with a folder, of all processes together."""
        if self._folder is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _add(self, counter: Counter, key: object, count: int) -> None:
        new = count - self._carried.get(key, 0)
        if new:
            counter.inc(new)
            self._carried[key] = count
