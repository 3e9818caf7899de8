"""What an entrypoint can be told. Where it comes from (environment, flags) is the command line's business."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrypointConfig:
    """Settings of one entrypoint; picklable, so that child processes can be given it.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        processes: how many processes share the port; only `supervise` looks at it.
        tokens_file: tokens that clients have to send (`entrypoint.tokens`), None for none.
        host_names: names by which clients may ask where no tokens are needed, beside addresses and `localhost`.
        cors_origins: origins whose pages may send and read, such as `https://till.example`.
        open: listen beyond loopback without tokens, on purpose.
        body_max_bytes: of one request, after decompression.
        events_max: of one request.
        body_timeout_seconds: from the end of a request's headers to the end of its body.
        idle_timeout_seconds: a connection on which no request's headers are complete for so long is closed.
        head_timeout_seconds: from the first byte of a request to the end of its headers; where it stands behind another
            request that is still being answered, the idle time-out bounds it.
        unread_timeout_seconds: a client that reads nothing of a large answer for so long is given up.
        connections_max: open connections beyond which further ones are refused.
        receiving_max_bytes: of all bodies that are not complete yet, or being taken apart.
        frames_in_flight, frame_max_bytes, pending_max_events, pending_max_bytes: see
            `broker.group_commit.GroupCommitLimits`.
        stop_timeout_seconds: how long a stop waits for requests, and then again for publishes.
        supervised: this is a child of `supervise`: it shares its port, and stops when its parent is gone.
        metrics_folder: where the processes of one entrypoint keep their figures together; set by `supervise`.
    """

    host: str = "127.0.0.1"
    port: int = 3000
    processes: int = 1
    tokens_file: Path | None = None
    host_names: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    open: bool = False
    body_max_bytes: int = 10 * 1024 * 1024
    events_max: int = 10_000
    body_timeout_seconds: float = 30.0
    idle_timeout_seconds: float = 75.0
    head_timeout_seconds: float = 20.0
    unread_timeout_seconds: float = 30.0
    connections_max: int = 10_000
    receiving_max_bytes: int = 64 * 1024 * 1024
    frames_in_flight: int = 1
    frame_max_bytes: int = 1024 * 1024
    pending_max_events: int = 200_000
    pending_max_bytes: int = 64 * 1024 * 1024
    stop_timeout_seconds: float = 15.0
    supervised: bool = False
    metrics_folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """Where an entrypoint really listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address to open or to post to."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - read, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
