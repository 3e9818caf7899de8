"""Facts that several documents state, or that code decides and a document repeats."""

import hashlib
import re
import tomllib

from broker.frames import frame_id
from tests.unit.test_repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_documents_agree_on_what_is_needed() -> None:
    """One oldest version of each server and of Python, wherever it is said; the classifiers name what is tested."""
    text = "\n".join(path.read_text("utf-8") for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
    for name, oldest in (("MongoDB", "6"), ("RabbitMQ", "3.10"), ("Python", "3.11")):
        said = set(re.findall(rf"{name}\**\s+(\d[\d.]*)\s+or\s+(?:newer|later)", text))
        assert said == {oldest}, name
    assert PROJECT["requires-python"] == ">=3.11"
    versions = {each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each}
    assert versions == {"3.11", "3.12", "3.13"}


def test_the_documented_hash_of_frames_is_the_one_that_is_taken() -> None:
    """Whoever publishes frames by themselves computes ids from docs/messages.md."""
    text = (ROOT / "docs/messages.md").read_text()
    (said,) = re.findall(r"the frame's id, which is the first half of (SHA-\d+)", text)
    digest = hashlib.new(said.replace("-", "").lower(), b"receipts\0{}").hexdigest()
    assert frame_id("receipts", b"{}") == digest[: len(digest) // 2]
