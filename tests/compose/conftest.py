"""One stack for the tests of this folder, up with four workers, and thrown away at the end."""

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.browser.conftest import browser, chromium, driver
from tests.browser.whole import afternoon
from tests.compose.stack import Stack, docker
from tests.servers.fixtures import missing_server

__all__ = ["browser", "chromium", "driver"]

#: How long it may take to build our images, of which most is the installation of packages, seconds. Tests have time
#: limits for themselves, not for this.
IMAGES_WITHIN = 900.0


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine with Compose; the test is skipped without one (and fails where CI=true allows no skip).

    The images that docker-compose.yml names have to be on this machine, or to be had from a registry.
    """
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        except OSError:
            missing_server("no `docker` on PATH")
        if done.returncode != 0:
            missing_server(f"`{' '.join(command)}`: {done.stderr.strip().splitlines()[-1:]}")


@pytest.fixture(scope="session")
def stack(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything in docker-compose.yml but its profiles, up and healthy, with secrets of its own.

    What its services logged is printed at the end if anything failed in between.
    """
    made = Stack(folder=tmp_path_factory.mktemp("secrets"), zone=str(afternoon(time.time())))
    made.make_secrets()
    made.scale = {"worker": 4}
    made.now("build", "--quiet", within=IMAGES_WITHIN)
    try:
        begun = time.monotonic()
        made.now(*made.up_command(), within=240)
        print(f"up --wait took {time.monotonic() - begun:.1f} s")
        yield made
    finally:
        print(made.now("logs", "--no-color", "--tail", "60", within=60))
        made.now("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5", within=180)
        docker("image", "rm", "--force", *made.images)
