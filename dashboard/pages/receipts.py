"""Looking up stored events: lists, single ones, CSV."""

from dashboard.pages.frame import Pages
from dashboard.pages.plain import Route


def receipts_routes(pages: Pages) -> list[Route]:
    """The pages of receipts; none of them is live."""
    return []
