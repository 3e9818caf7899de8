"""How the system is doing: what an operator opens when something is slow."""

from dashboard.pages.frame import Pages
from dashboard.pages.live import LivePage
from dashboard.pages.plain import Route


def system_page(pages: Pages) -> LivePage:
    """A session's page of the system."""
    return LivePage(pages, file="system.html", path="system", heading="System", texts=lambda _: {})


def system_routes(pages: Pages) -> list[Route]:
    """The pages behind it that are not live: what was rejected."""
    return []
