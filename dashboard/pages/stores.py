"""All stores, and one store's own day."""

from dashboard.pages.frame import Pages
from dashboard.pages.live import LivePage


def stores_page(pages: Pages) -> LivePage:
    """A session's page of all stores."""
    return LivePage(pages, file="stores.html", path="stores", heading="Stores", texts=lambda _: {})


def store_page(pages: Pages) -> LivePage:
    """A session's page of one store's day: `?id=`."""
    return LivePage(pages, file="store.html", path="store", heading="Store", texts=lambda _: {})
