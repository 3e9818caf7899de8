"""What all pages have in common: templates, navigation, addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from dashboard import theme
from dashboard.moments import Moments
from dashboard.reading import Reading
from dashboard.rejections import Rejections
from dashboard.store_day import StoreDays
from dashboard.stored import Stored

ASSETS = files("dashboard") / "assets"

#: Path below the prefix → title of the pages in the navigation, in its order.
NAVIGATION: Mapping[str, str] = {"": "Today", "receipts": "Receipts", "stores": "Stores", "system": "System"}

_environment = Environment(
    loader=FileSystemLoader(str(ASSETS)), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """The site as its pages see it.

    Attributes:
        prefix: path of the site, `` or `/something`, without a slash at its end.
        login: whether people log in, and so can log out.
    """

    prefix: str = ""
    login: bool = False

    def address(self, path: str, **query: str) -> str:
        """The address of a page or file of ours, for links: `address("receipts", store="12")`."""
        asked = "?" + urlencode(query) if query else ""
        return f"{self.prefix}/{path}{asked}"

    def variables(self, path: str, heading: str) -> dict[str, Any]:
        """What the templates of a page need besides its own content."""
        return {
            "page": path or "today",
            "heading": heading,
            "home": self.address(""),
            "navigation": [
                {"href": self.address(each), "title": title, "current": each == path}
                for each, title in NAVIGATION.items()
            ],
            "logout": self.address("logout") if self.login else "",
            "icon": theme.ICON,
            "page_css": Markup(theme.PAGE_CSS),  # noqa: S704 - ours
            "early_js": Markup(asset("early.js")),  # noqa: S704 - ours
            "watch_js": Markup(asset("watch.js")),  # noqa: S704 - ours
            "paint_js": Markup(asset("paint.js")),  # noqa: S704 - ours
            "late_js": Markup(asset("late.js")),  # noqa: S704 - ours
        }

    def plain(self, template: str, path: str, heading: str, **values: Any) -> str:
        """A page that is not live, as HTML. Values are escaped by the template."""
        base = _environment.get_template("plain.html")
        return _environment.get_template(template).render({"base": base, **self.variables(path, heading), **values})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What pages are made from: what is known, what can be asked, what is read while somebody looks, and the site
    around them."""

    moments: Moments
    stored: Stored
    store_days: StoreDays
    rejections: Reading[Rejections]
    frame: Frame


@cache
def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (ASSETS / name).read_text("utf-8")


def template(name: str) -> Template:
    """A template of ours by its file name."""
    return _environment.get_template(name)
