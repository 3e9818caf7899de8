"""What all tests share: the servers, hypothesis's profiles, and what a skip means."""

import os
import signal
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest
from pytest_asyncio import is_async_test

from tests import schedule

pytest_plugins = ["tests.servers.fixtures"]

CI = os.environ.get("CI") == "true"

# No deadline: two busy cores make any example slow once. CI draws the same examples every time, so that a failure
# there is the change's own; people look for new ones.
hypothesis.settings.register_profile("people", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if CI else "people"))


def pytest_configure(config: pytest.Config) -> None:
    """Give SIGINT its usual effect. A shell starts background jobs with SIGINT ignored, and every process that a test
    starts would inherit that: Ctrl-C could not be tested.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which of several processes runs what."""
    return schedule.Files.of(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with a browser run on one event loop: its driver is started once, and belongs to the loop that did so.

    Where several processes run tests, what takes longest comes first.
    """
    if hasattr(config, "workerinput"):
        schedule.longest_first(items)
    for item in items:
        has_browser = item.get_closest_marker("browser") or "browser" in getattr(item, "fixturenames", ())
        if has_browser and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where `CI=true`, a skipped test is a failed one: everything that it needs has to be there."""
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI=true allows no skip: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly at the end what did not run, and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = _reason(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        terminalreporter.section("NOT RUN", sep="!", yellow=True, bold=True)
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count} skipped: {reason}", yellow=True)


def _reason(longrepr: Any) -> str:
    """Why a test was skipped: the last of (path, line, reason)."""
    return str(longrepr[-1] if isinstance(longrepr, tuple) else longrepr).removeprefix("Skipped: ")
