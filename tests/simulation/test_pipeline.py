import contextlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.simulation.__main__ import main
from tests.simulation.plan import KINDS, Plan
from tests.simulation.story import play
from tests.simulation.variants import VARIANTS

pytestmark = pytest.mark.simulation

#: About 40 s on one core; most wrong variants are caught within a hundred.
RUNS = 2000

#: Enough for all flushes, and for several checkpoints.
MOST_STEPS = 250
#: Seeds that catch the variants that others take hundreds of runs to catch; tried first, to save time.
TELLING = (26, 90, 100, 172, 248, 265, 591, 660, 2039, 418)

#: Any run. Shrinking leaves the kinds of faults, the requests and the processes that a failure needs.
PLANS = st.builds(
    Plan,
    seed=st.integers(0, 2**32),
    requests=st.integers(1, 12),
    identities=st.sampled_from((3, 8, 30)),
    entrypoints=st.integers(1, 2),
    workers=st.integers(1, 3),
    totals=st.integers(1, 2),
    trouble=st.sampled_from((2, 5, 10, 20)),
    events=st.integers(0, 6),
    kinds=st.one_of(st.just(frozenset(KINDS)), st.frozensets(st.sampled_from(KINDS), max_size=6)),
)


@pytest.mark.timeout(900)
@settings(
    max_examples=RUNS,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    print_blob=False,
)
@given(plan=PLANS)
def test_nothing_is_lost_or_counted_twice(plan: Plan) -> None:
    """Whatever fails in between, after healing every invariant holds (see `tests.simulation.model`)."""
    play(plan)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["crash", "freeze"])
@pytest.mark.parametrize("name", ["entrypoint", "worker", "totals"])
def test_a_process_may_fail_at_every_step(kind: str, name: str) -> None:
    """Killed, or stopped for too long, at any await of its publishes, flushes and checkpoints."""
    plan = Plan(
        seed=5, requests=6, identities=8, entrypoints=1, workers=2, totals=2, trouble=0, events=0, kinds=frozenset()
    )
    story = play(plan)
    candidates = [process for process in story.world.processes if process.name.startswith(name)]
    busiest = max(candidates, key=lambda process: process.steps)
    assert busiest.steps > 50
    for step in range(1, min(busiest.steps, MOST_STEPS)):
        play(replace(plan, at=f"{kind}:{busiest.name.removesuffix('.1')}:{step}"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_wrong_variant_is_caught(name: str) -> None:
    """An invariant breaks within the normal number of runs."""
    for seed in (*TELLING, *range(RUNS)):
        with contextlib.suppress(Exception):  # an invariant's assertion, or an alarm of the system's own
            play(Plan.of(seed), VARIANTS[name])
            continue
        return
    pytest.fail(f"not caught in {RUNS} runs")


def test_a_run_is_the_same_wherever_it_is_played() -> None:
    """A seed alone decides what happens, to the last step: also in another process, which hashes otherwise."""
    digests = [play(Plan.of(seed)).digest() for seed in range(20)]
    assert [play(Plan.of(seed)).digest() for seed in range(20)] == digests
    script = (
        "from tests.simulation.plan import Plan\nfrom tests.simulation.story import play\n"
        "for seed in range(20): print(play(Plan.of(seed)).digest())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert elsewhere.stdout.split() == digests


def test_a_failure_names_the_command_that_replays_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line of a plan gives that plan, and says how it ended."""
    plan = Plan.of(3)
    assert plan.command() == "python -m tests.simulation --seed 3"
    smaller = Plan(
        seed=3,
        requests=1,
        identities=3,
        entrypoints=1,
        workers=1,
        totals=1,
        trouble=5,
        events=2,
        kinds=frozenset({"cut"}),
    )
    assert smaller.command().startswith("python -m tests.simulation --seed 3 --")
    assert Plan.from_arguments(smaller.command().split()[3:]) == smaller
    assert main(smaller.command().split()[3:]) == 0
    assert "seed 3" in capsys.readouterr().out


def test_every_kind_of_fault_occurs() -> None:
    """Within a hundred runs each fault that there is befalls the system, and something is left to do for each part."""
    stories = [play(Plan.of(seed)) for seed in range(100)]
    assert {kind for story in stories for kind in story.world.faults} == set(KINDS) - {"dead-letters"}
    assert any(story.broker.dead for story in stories)
    assert any(story.store.committed.heads for story in stories)
    assert any(item for story in stories for item in story.store.committed.refused)
