"""axe-core in a page: what would bar people who see badly, or who use no mouse. The script is fetched once, see
`scripts/fetch-axe`, put into the page by the browser's own debugging interface, and never part of what we serve."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from playwright.async_api import Page

from tests.servers.fixtures import missing_server

#: What nobody may be barred by; the others, `moderate` and `minor`, are told with them.
SERIOUS = frozenset({"serious", "critical"})

_RUN = """async () => {
    const found = await axe.run(document, {resultTypes: ["violations"]})
    return found.violations.map((each) => ({
        impact: each.impact,
        rule: each.id,
        help: each.help,
        where: each.nodes.map((node) => `${node.target.flat(3).join(" » ")}: ${node.any.concat(node.all, node.none)
            .map((check) => check.message).join("; ")}`),
    }))
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that a page breaks.

    Attributes:
        impact: `minor`, `moderate`, `serious` or `critical`.
        where: each element, with what is wrong with it.
    """

    impact: str
    rule: str
    help: str
    where: tuple[str, ...]

    def __str__(self) -> str:
        """For people: at most five of its elements."""
        shown = "".join(f"\n      {place}" for place in self.where[:5])
        return f"{self.impact} {self.rule} ({len(self.where)} times): {self.help}{shown}"


@cache
def script() -> str:
    """axe-core's source; the test that asks for it is skipped without npm (and fails where CI=true)."""
    fetching = Path(__file__).parents[2] / "scripts" / "fetch-axe"
    ran = subprocess.run([fetching], capture_output=True, text=True, check=False, timeout=150)
    if ran.returncode != 0:
        missing_server(f"no axe-core: {ran.stderr.strip()[-300:]}")
    return Path(ran.stdout.strip()).read_text("utf-8")


async def violations(page: Page) -> list[Violation]:
    """What axe-core finds on a page as it is now, shadow roots included."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(script())
    found = await page.evaluate(_RUN)
    return [Violation(**{**each, "where": tuple(each["where"])}) for each in found]
