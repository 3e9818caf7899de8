"""One store's own day."""

from dashboard.pages.frame import Pages
from dashboard.pages.live import LivePage


def store_page(pages: Pages) -> LivePage:
    """A session's page of one store's day: `?id=`."""
    return LivePage(pages, file="store.html", path="store", heading="Store", texts=lambda _: {})
