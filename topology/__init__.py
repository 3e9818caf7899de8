"""The Storm engine: the workers' flush and the totals as components of an Apache Storm topology (extra `storm`).

What it counts, and how, is in `engine`; here is how that runs in Storm.

- `topology.receipt_spout`, `topology.ledger_bolt`, `topology.totals_bolt`: the components, as Storm drives them
- `topology.component`: what they share; `topology.hosting`: their event loop beside Storm's protocol
- `topology.intake`: the spout's half that faces the broker; `topology.tuple_source`: tuples as a worker's deliveries
- `topology.wire`: frames as tuples; `topology.storm_log`: log lines
- `topology.definition`: components, groupings, times, for Nimbus

Around them, imported by name where they are needed:

- `topology.jar`: the jar; `topology.nimbus`, `topology.status`: talking to a Nimbus
- `topology.cluster` and what begins with it: a cluster on this machine
- `topology.errors`: what can go wrong between us and Storm

The names here are imported when they are asked for: the jar is made, and Nimbus's errors are told, without streamparse.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topology.component import StormConf
    from topology.definition import TopologyConfig, storm_topology
    from topology.ledger_bolt import LedgerBolt, LedgerParts
    from topology.receipt_spout import ReceiptSpout, SpoutParts
    from topology.totals_bolt import TotalsBolt

__all__ = [
    "LedgerBolt",
    "LedgerParts",
    "ReceiptSpout",
    "SpoutParts",
    "StormConf",
    "TopologyConfig",
    "TotalsBolt",
    "storm_topology",
]

_HOMES = {
    "LedgerBolt": "ledger_bolt",
    "LedgerParts": "ledger_bolt",
    "ReceiptSpout": "receipt_spout",
    "SpoutParts": "receipt_spout",
    "StormConf": "component",
    "TopologyConfig": "definition",
    "TotalsBolt": "totals_bolt",
    "storm_topology": "definition",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # only where streamparse is wanted

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
