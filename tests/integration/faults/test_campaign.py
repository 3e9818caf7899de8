"""A short campaign of real faults, with the code of the long one (`python -m bench.faults`)."""

import pytest

from bench.faults.campaign import CampaignOptions, play
from bench.faults.plan import Kind, Pace
from bench.faults.report import as_dict, failures, faults_by_kind
from bench.faults.stage import StageOptions
from bench.faults.traffic import TrafficOptions
from tests.servers.ferret import FerretMissingError
from tests.servers.fixtures import missing_server
from tests.servers.rabbit import Rabbit

SEED = 3
SECONDS = 10.0
#: What is done and undone within a second or two, and leaves the broker itself alone: other tests share it.
KINDS = (
    Kind.KILL, Kind.FREEZE, Kind.RESTART, Kind.STORE_KILL, Kind.STORE_FREEZE, Kind.CUT, Kind.HOLE, Kind.DEAF,
)  # fmt: skip


@pytest.mark.faults
@pytest.mark.rabbit
@pytest.mark.mongo
async def test_a_short_campaign_loses_nothing_and_counts_nothing_twice(rabbit: Rabbit) -> None:
    """Processes, links and the store fail for a while, two at a time: every 202 is kept, once, to the cent."""
    options = CampaignOptions(
        seed=SEED,
        seconds=SECONDS,
        traffic=TrafficOptions(rate=100.0),
        stage=StageOptions(workers=2, disks=False),
        pace=Pace(pause_s=(0.2, 0.8), shortest=True, kinds=KINDS),
    )
    try:
        outcome = await play(options, print, rabbit=rabbit)
    except FerretMissingError as exc:
        missing_server(str(exc))
    report = as_dict(outcome)
    assert not failures(outcome), report
    assert len(faults_by_kind(outcome)) >= 5, report
    receipts = report["receipts"]
    assert receipts["acknowledged"] > 300, report
    assert (receipts["lost"], receipts["duplicated"], receipts["uncounted"]) == (0, 0, 0)
    assert report["sums"]["totals"] == report["sums"]["stored"]
    assert report["passed"]
