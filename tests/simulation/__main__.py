"""Play simulated runs from the command line.

    python -m tests.simulation --seed 123           replay one run, and say what happened in it
    python -m tests.simulation --from 0 --runs 5000 many of them
    python -m tests.simulation --forever            until one fails, or until interrupted

Ends with 1 at the first failure, whose command it prints.
"""

import itertools
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence

from tests.simulation.plan import Plan
from tests.simulation.story import Story, told

#: Between two lines of progress, seconds.
_PROGRESS = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what is asked for; 0 when all is well, 1 at a failure."""
    parser = Plan.arguments(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    many = parser.add_argument_group("many runs")
    many.add_argument("--from", dest="first", type=int, default=None, metavar="SEED", help="first seed of many")
    many.add_argument("--runs", type=int, default=2000, help="how many (default 2000)")
    many.add_argument("--forever", action="store_true", help="go on until one fails")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return _one(Plan.from_chosen(chosen))
    first = chosen.first
    if first is None:
        first = random.SystemRandom().randrange(10**6, 10**9) if chosen.forever else 0
    return _many(first, None if chosen.forever else chosen.runs)


def _one(plan: Plan) -> int:
    story = Story(plan)
    failed = _fails(story)
    print(f"seed {plan.seed}: {'FAILED' if failed else 'all is well'} after {story.loop.time():.1f} s of its own time")
    for name, value in story.summary().items():
        print(f"  {name}: {value}")
    return int(failed)


def _many(first: int, runs: int | None) -> int:
    began = told_at = time.monotonic()
    faults: Counter[str] = Counter()
    seeds = itertools.count(first) if runs is None else range(first, first + runs)
    played = 0
    for seed in seeds:
        story = Story(Plan.of(seed))
        if _fails(story):
            return 1
        played += 1
        faults.update(story.world.faults)
        if time.monotonic() - told_at > _PROGRESS:
            told_at = time.monotonic()
            speed = played / (told_at - began)
            print(f"{played} runs from seed {first}, {faults.total()} faults, {speed:.0f} runs/s", flush=True)
    print(f"{played} runs from seed {first}: all is well")
    for kind, number in sorted(faults.items()):
        print(f"  {kind}: {number}")
    return 0


def _fails(story: Story) -> bool:
    try:
        with told(story.plan):
            story.play()
    except Exception:  # noqa: BLE001  # an invariant's assertion, or an alarm of the system's own
        traceback.print_exc(limit=-4, file=sys.stdout)
        return True
    return False


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
