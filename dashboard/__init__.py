"""The dashboard: what the totals say, live, in a browser.

- `dashboard.messages`: what the exchanges say, typed
- `dashboard.feed`: one subscription for all sessions; `dashboard.snapshot`: what it knows at one moment
- `dashboard.view`: from a snapshot to words and numbers to show; pure
- `dashboard.config`: settings, and who may reach the server
- `dashboard.server`: the thread that the pages live in
- `dashboard.site`, `dashboard.page`, `dashboard.theme`: Panel and Bokeh, imported in that thread only, as this takes
  seconds
"""

from dashboard.config import DashboardConfig
from dashboard.feed import Feed, Subscriber
from dashboard.messages import bindings
from dashboard.server import serve_dashboard
from dashboard.snapshot import Snapshot
from dashboard.view import today

__all__ = ["DashboardConfig", "Feed", "Snapshot", "Subscriber", "bindings", "serve_dashboard", "today"]
