"""HEALTHCHECK of the image `app`: does what runs in this container say that it is ready?

It asks the first of our ports that is open, so it need not be told which process it watches. Nothing but sockets is
imported: with all that `tillstream` imports, a check would cost half a second of a core every few seconds.
"""

import socket
import sys

#: entrypoint, worker, totals, dashboard: a container runs one of them.
PORTS = (3000, 3001, 3002, 3003)


def ask(port: int) -> str:
    """The answer to GET /readyz: its whole text."""
    with socket.create_connection(("127.0.0.1", port), timeout=4) as connection:
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


def main() -> str | None:
    """None if ready, else what to say about it; `docker inspect` shows that."""
    for port in PORTS:
        try:
            head, _, body = ask(port).partition("\r\n\r\n")
        except ConnectionRefusedError:
            continue
        except OSError as exc:
            return f"port {port}: {exc}"
        return None if head.split(" ", 2)[1:2] == ["200"] else body or head or f"port {port}: no answer"
    return f"nothing listens on any of the ports {', '.join(map(str, PORTS))}"


if __name__ == "__main__":
    sys.exit(main())
