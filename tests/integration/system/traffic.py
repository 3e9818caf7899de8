"""Receipts that keep coming for as long as a test needs them, whatever the speed of the machine.

A test that posts a fixed number of receipts has to hope that its kills come before the last of them. Here the last
receipt is sent after the last kill.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from feeds import Copies, Generator, GeneratorOptions, Sender, SenderOptions, send_requests
from tests.support import eventually
from tests.support_expected import Expected

#: A process that was killed has to start, and its peers have to take over, on a busy machine.
_PATIENCE_S = 90.0


@dataclass
class Traffic:
    """Receipts on their way to one or several entrypoints.

    Attributes:
        expected: what all receipts that were sent so far add up to.
        sent: how many were sent, copies included.
        senders: one for each entrypoint.
        over: whether no more are sent.
    """

    expected: Expected = field(default_factory=Expected)
    sent: int = 0
    senders: list[Sender] = field(default_factory=list)
    over: bool = False

    @property
    def accepted(self) -> int:
        """How many were answered with 202 so far."""
        return sum(sender.counts.accepted for sender in self.senders)

    async def more(self, receipts: int = 100) -> None:
        """Wait until so many more were accepted."""
        enough = self.accepted + receipts
        await eventually(lambda: self.accepted >= enough, timeout=_PATIENCE_S)

    async def stuck(self) -> None:
        """Wait until each sender has as many requests under way as it may: none of them is answered any more."""
        await eventually(
            lambda: all(sender.outstanding >= sender.options.concurrency for sender in self.senders),
            timeout=_PATIENCE_S,
        )

    def until_over(self, requests: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
        """Requests from a source that several senders share, noted as sent, until it is over."""
        for request in requests:
            if self.over:
                return
            self.sent += len(request)
            self.expected.add_all(request)
            yield request


@asynccontextmanager
async def flowing(*urls: str, seed: int, rate: float, size: int = 10, conflicts: float = 0.0) -> AsyncIterator[Traffic]:
    """Post receipts, 5 % of them twice, while the block lasts; then wait until each was answered with 202.

    Arguments:
        urls: entrypoints, which get about as many each.
        rate: receipts a second, all entrypoints together.
        size: receipts in a request.
        conflicts: share of receipts that another one contradicts.
    """
    copies = Copies(duplicates=0.05, conflicts=conflicts)
    requests = Generator(GeneratorOptions(seed=seed, copies=copies)).requests(size=size)
    traffic = Traffic()
    async with AsyncExitStack() as stack:
        for url in urls:
            options = SenderOptions(url=url, concurrency=4, first_patience_s=_PATIENCE_S)
            traffic.senders.append(await stack.enter_async_context(Sender(options)))
        async with asyncio.TaskGroup() as posting:
            for sender in traffic.senders:
                posting.create_task(send_requests(sender, traffic.until_over(requests), rate=rate / len(urls)))
            yield traffic
            traffic.over = True
        async with asyncio.timeout(_PATIENCE_S + 30):
            await asyncio.gather(*(sender.drain() for sender in traffic.senders))
    for sender in traffic.senders:
        assert sender.counts.complete, sender.counts.summary()
    assert traffic.accepted == traffic.sent
