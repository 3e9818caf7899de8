"""The dashboard's share of the settings; for `tillstream dashboard` and `tillstream up`."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from cli.settings import SETTINGS, Loaded
from dashboard import DashboardConfig


def dashboard_config(loaded: Loaded, receipt_url: str) -> DashboardConfig:
    """What the dashboard is told.

    Arguments:
        receipt_url: where receipts are POSTed to.
    """
    settings = loaded.settings
    return DashboardConfig(
        host=settings.dashboard_host,
        port=settings.dashboard_port,
        open=settings.open,
        users_file=settings.dashboard_users_file,
        login_hours=settings.dashboard_login_hours,
        secret=settings.dashboard_secret or "",
        origins=settings.dashboard_origins,
        proxy=settings.dashboard_proxy,
        max_sessions=settings.dashboard_sessions,
        timezone=settings.timezone,
        currency=settings.currency,
        locale=settings.locale,
        csv="" if settings.dashboard_csv == "locale" else settings.dashboard_csv,
        prefix=settings.dashboard_prefix,
        receipt_url=receipt_url,
        version=_version(),
        settings=tuple(
            (row.name, row.shown(getattr(settings, row.name)), loaded.origins[row.name]) for row in SETTINGS
        ),
    )


def _version() -> str:
    try:
        return installed("tillstream")
    except PackageNotFoundError:  # run from a folder of sources
        return "unknown"
