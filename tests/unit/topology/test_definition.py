import inspect
import json
from typing import Any

import cli.storm
from cli.settings import read_settings
from cli.storm import topology_config
from topology import TopologyConfig, storm_topology
from topology.component import MESSAGE_TIMEOUT_S, PENDING, StormConf


def test_the_settings_shape_the_topology() -> None:
    """How many of each, how much in flight, and for how long."""
    environ = {
        "TILLSTREAM_STORM_SPOUTS": "2",
        "TILLSTREAM_STORM_BOLTS": "5",
        "TILLSTREAM_STORM_WORKERS": "3",
        "TILLSTREAM_STORM_PENDING": "100",
        "TILLSTREAM_STORM_MESSAGE_TIMEOUT_S": "90",
    }
    topology, conf = storm_topology(topology_config(read_settings(environ).settings))
    hints = {name: each.common.parallelism_hint for name, each in (topology.spouts | topology.bolts).items()}
    assert hints == {"receipts": 2, "ledger": 5, "totals": 1}
    assert conf["topology.workers"] == 3
    assert conf["topology.shellbolt.max.pending"] == 200
    assert conf["topology.bolt.wait.progressive.level2.count"] == 10
    assert StormConf.of(conf) == StormConf(pending=100, message_timeout_s=90)


def test_defaults_are_the_same_everywhere() -> None:
    """Settings, definition and components agree on what nobody set."""
    config = topology_config(read_settings({}).settings)
    assert config == TopologyConfig()
    assert (config.pending, config.message_timeout_s) == (PENDING, MESSAGE_TIMEOUT_S)
    assert StormConf.of({}) == StormConf.of(storm_topology(config)[1])


def test_partials_go_to_the_one_totals_bolt_and_frames_to_any_ledger_bolt() -> None:
    """Shuffle, then global; the totals get a tick each second."""
    topology, _ = storm_topology(TopologyConfig())
    ((source, grouping),) = topology.bolts["ledger"].common.inputs.items()
    assert (source.componentId, grouping.shuffle is not None) == ("receipts", True)
    ((source, grouping),) = topology.bolts["totals"].common.inputs.items()
    assert (source.componentId, grouping.fields) == ("ledger", [])
    assert json.loads(topology.bolts["totals"].common.json_conf) == {"topology.tick.tuple.freq.secs": 1}


def test_what_a_supervisor_is_told_to_run_exists() -> None:
    """Each component's script names a class of `cli.storm`."""
    topology, _ = storm_topology(TopologyConfig())
    commands: list[Any] = [each.spout_object.shell for each in topology.spouts.values()]
    commands += [each.bolt_object.shell for each in topology.bolts.values()]
    assert {each.execution_command for each in commands} == {"streamparse_run"}
    for each in commands:
        module, _, name = each.script.rpartition(".")
        assert module == "cli.storm"
        assert inspect.isclass(getattr(cli.storm, name))


def test_nothing_secret_is_in_the_topology() -> None:
    """Nimbus shows a topology to whoever asks."""
    environ = {"TILLSTREAM_BROKER": "amqp://user:hush@broker/", "TILLSTREAM_STORE": "mongodb://user:hush@store/db"}
    assert "hush" not in repr(storm_topology(topology_config(read_settings(environ).settings)))
