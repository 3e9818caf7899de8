"""The dashboard: what the totals say, live, in a browser.

- `dashboard.messages`: what the exchanges say, typed
- `dashboard.feed`: one subscription for all sessions; `dashboard.snapshot`: what it knows at one moment
- `dashboard.history`: days as the store has them; `dashboard.stored`: what pages ask the store; `dashboard.sources`:
  these three together
- `dashboard.moments`: all of this at one moment, looked at once for all sessions
- `dashboard.reading`: what is read from the store while somebody looks, once for all: `dashboard.store_day`,
  `dashboard.rejections`
- `dashboard.stores_view`, `.store_view`, `.system_view`, `.rejected_view`: what these pages say; pure
- `dashboard.formats`: numbers as people write them; `dashboard.view`: words and numbers to show; pure
- `dashboard.config`: settings, and where the server listens
- `dashboard.guard`: what holds for every request; it stands on `dashboard.names` (by which names we are reached),
  `dashboard.login` (who is logged in), `dashboard.passwords` (the file of users) and `dashboard.throttle`
- `dashboard.server`: the thread that the pages live in
- `dashboard.site`, `dashboard.application`, `dashboard.pages`, `dashboard.theme`: Panel and Bokeh, imported in that
  thread only, as this takes seconds
"""

from dashboard.config import DashboardConfig
from dashboard.feed import Feed, Subscriber
from dashboard.messages import bindings
from dashboard.server import serve_dashboard
from dashboard.snapshot import Snapshot
from dashboard.sources import Sources, sources_of

__all__ = ["DashboardConfig", "Feed", "Snapshot", "Sources", "Subscriber", "bindings", "serve_dashboard", "sources_of"]
