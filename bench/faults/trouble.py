"""Carrying a fault out, holding it for its time, and healing it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bench.faults.plan import Fault, Kind
from bench.faults.stage import Stage
from bench.faults.traffic import Traffic
from tests.servers.cluster import RabbitCluster
from tests.servers.cut import Mode
from tests.servers.rabbit import PrivateRabbit

_MODES = {Kind.CUT: Mode.CUT, Kind.HOLE: Mode.HOLE, Kind.DEAF: Mode.DEAF, Kind.SLOW: Mode.SLOW}
#: The queue has to be full by then, or is not going to be.
_FULL_SECONDS = 40.0
#: RabbitMQ stops taking messages below 50 MB of free disk; this much less, it has noticed and still lives.
_ALARM_LEFT_BYTES = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A fault that was carried out: when it began and how long it lasted, in seconds; `note` is what it came to."""

    kind: str
    target: str
    at_s: float
    lasted_s: float
    note: str = ""


@dataclass(slots=True)
class Trouble:
    """Carries out faults on a stage.

    Attributes:
        done: what was carried out, in the order of healing.
        skipped: kinds that cannot be had here → why.
        over: set when the campaign's time has come: what lasts is healed at once.
    """

    stage: Stage
    traffic: Traffic
    began: float = field(default_factory=time.monotonic)
    done: list[Done] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def play(self, lane: Iterator[Fault]) -> None:
        """One fault after the other until the campaign is over. Raises what a server raises that does not come back."""
        for fault in lane:
            await self._wait(fault.pause_s)
            if self.over.is_set():
                return
            if (
                fault.kind in {Kind.STORE_DISK, Kind.BROKER_DISK, Kind.BROKER_DISK_END}
                and self.stage.store_disk is None
            ):
                self.skipped[fault.kind.value] = self.stage.no_disk
                continue
            await self.suffer(fault)

    async def suffer(self, fault: Fault) -> None:
        """Carry out one fault and heal it."""
        async with AsyncExitStack() as stack:
            for name in sorted(self._touched(fault)):
                await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
            began = time.monotonic()
            async with self._carried_out(fault) as note:
                await self._wait(fault.lasts_s)
            self.done.append(
                Done(
                    kind=fault.kind.value,
                    target=fault.target,
                    at_s=round(began - self.began, 1),
                    lasted_s=round(time.monotonic() - began, 1),
                    note=note,
                )
            )

    def _touched(self, fault: Fault) -> set[str]:
        """What no other fault may hit meanwhile."""
        if fault.kind is Kind.FULL_QUEUE:
            return {"broker", *(part.name for part in self.stage.workers)}
        if fault.target:
            return {fault.target}
        return {"store" if fault.kind in {Kind.STORE_KILL, Kind.STORE_FREEZE, Kind.STORE_DISK} else "broker"}

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            pass

    @asynccontextmanager
    async def _carried_out(self, fault: Fault) -> AsyncIterator[str]:
        """Do it, give a note about it, and undo it."""
        ferret = self.stage.ferret
        match fault.kind:
            case Kind.KILL | Kind.RESTART | Kind.FREEZE:
                async with self._process(fault):
                    yield ""
            case Kind.CUT | Kind.HOLE | Kind.DEAF | Kind.SLOW:
                for link in self.stage.links[fault.target]:
                    link.set(_MODES[fault.kind], delay_s=fault.delay_s)
                yield f"{fault.delay_s * 1000:.0f} ms" if fault.kind is Kind.SLOW else ""
                for link in self.stage.links[fault.target]:
                    link.heal()
            case Kind.NODE_RESTART | Kind.NODE_KILL | Kind.NODE_FREEZE | Kind.NODE_PART:
                cluster, node = self._cluster(), self.stage.nodes[fault.target]
                if fault.kind is Kind.NODE_PART:
                    await asyncio.to_thread(cluster.cut_off, node)
                else:
                    doing = {Kind.NODE_RESTART: node.stop, Kind.NODE_KILL: node.kill, Kind.NODE_FREEZE: node.pause}
                    await asyncio.to_thread(doing[fault.kind])
                yield ""
                await asyncio.to_thread(cluster.heal)
            case Kind.BROKER_RESTART | Kind.BROKER_KILL:
                rabbit = self._own_rabbit()
                await asyncio.to_thread(rabbit.stop if fault.kind is Kind.BROKER_RESTART else rabbit.kill)
                yield ""
                await asyncio.to_thread(rabbit.start)
            case Kind.STORE_KILL:
                await asyncio.to_thread(ferret.kill)
                yield ""
                await asyncio.to_thread(ferret.start)
            case Kind.BROKER_FREEZE | Kind.STORE_FREEZE:
                server = self._own_rabbit() if fault.kind is Kind.BROKER_FREEZE else ferret
                server.pause()
                yield ""
                server.resume()
            case Kind.FULL_QUEUE:
                yield await self._fill_queue()
                await self._empty_queue()
            case Kind.STORE_DISK:
                assert self.stage.store_disk is not None
                self.stage.store_disk.fill()
                yield ""
                self.stage.store_disk.free()
            case Kind.BROKER_DISK | Kind.BROKER_DISK_END:
                disk = self.stage.broker_disk
                assert disk is not None
                alarm = fault.kind is Kind.BROKER_DISK
                disk.fill(_ALARM_LEFT_BYTES if alarm else 0)
                yield ""
                disk.free()
                if not alarm:
                    rabbit = self._own_rabbit()
                    await asyncio.to_thread(rabbit.kill)  # what is left of it; its operator would do so, too
                    await asyncio.to_thread(rabbit.start)

    @asynccontextmanager
    async def _process(self, fault: Fault) -> AsyncIterator[None]:
        part = self.stage.parts[fault.target]
        if fault.kind is Kind.FREEZE:
            part.freeze()
            yield
            part.thaw()
            return
        await (part.kill() if fault.kind is Kind.KILL else part.stop())
        yield
        part.start()

    async def _fill_queue(self) -> str:
        """Stop the workers and hurry the clients until the entrypoints say that the queue is full."""
        before = self.traffic.full
        await asyncio.gather(*(worker.stop() for worker in self.stage.workers))
        self.traffic.hurried = True
        deadline = time.monotonic() + _FULL_SECONDS
        while self.traffic.full == before and time.monotonic() < deadline and not self.over.is_set():
            await asyncio.sleep(0.1)
        return "reached" if self.traffic.full > before else "not reached"

    async def _empty_queue(self) -> None:
        self.traffic.hurried = False
        for worker in self.stage.workers:
            worker.start()

    def _cluster(self) -> RabbitCluster:
        """The broker's cluster, if it is one."""
        if not isinstance(self.stage.rabbit, RabbitCluster):
            raise TypeError("this RabbitMQ is no cluster of ours")
        return self.stage.rabbit

    def _own_rabbit(self) -> PrivateRabbit:
        """The broker's server, if it is the stage's own."""
        if not isinstance(self.stage.rabbit, PrivateRabbit):
            raise TypeError("this RabbitMQ is not ours to stop")
        return self.stage.rabbit
