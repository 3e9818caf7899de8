"""What workers and totals tell Prometheus. Names and meanings are listed in `docs/metrics.md`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from engine.flush import Flushed

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class WorkerMetrics:
    """Counters of one worker, registered on a registry of its process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "tillstream_worker_events_total", "Events flushed, by what became of them.", ["outcome"], registry=registry
        )
        self._flagged = Counter(
            "tillstream_worker_flagged_events_total",
            "Events counted although their parts do not add up to their total.",
            registry=registry,
        )
        self._frames = Counter("tillstream_worker_frames_total", "Ledger entries appended.", registry=registry)
        self._seconds = Histogram(
            "tillstream_worker_flush_seconds", "Time of a successful flush.", buckets=_SECONDS, registry=registry
        )
        self._failures = Counter("tillstream_worker_flush_failures_total", "Flushes that failed.", registry=registry)
        self._put_aside = Counter(
            "tillstream_worker_poison_frames_total",
            "Frames that the store refuses for good, kept in `rejected` as poison.",
            registry=registry,
        )

    def flushed(self, flushed: Flushed, seconds: float) -> None:
        """Count a successful flush."""
        for outcome in ("counted", "duplicates", "conflicts", "unreadable"):
            self._events.labels(outcome).inc(getattr(flushed, outcome))
        self._flagged.inc(flushed.flagged)
        self._frames.inc(flushed.frames)
        self._seconds.observe(seconds)

    def flush_failed(self) -> None:
        """Count a flush that will be tried again."""
        self._failures.inc()

    def put_aside(self) -> None:
        """Count a frame that was kept as poison."""
        self._put_aside.inc()


class TotalsMetrics:
    """Gauges and counters of the totals process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.active = Gauge(
            "tillstream_totals_active", "1 while this process publishes, 0 on standby.", registry=registry
        )
        self.revision = Gauge("tillstream_totals_revision", "Ledger entries merged so far.", registry=registry)
        self.behind = Gauge(
            "tillstream_totals_behind_entries", "Ledger entries announced and not yet merged.", registry=registry
        )
        self.partials = Counter(
            "tillstream_totals_partials_total",
            "Partials received, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self.ledger_entries = Counter(
            "tillstream_totals_ledger_entries_total", "Entries merged from reading the ledger.", registry=registry
        )
        self.checkpoints = Counter(
            "tillstream_totals_checkpoints_total", "Checkpoints, by outcome.", ["outcome"], registry=registry
        )
