"""Reading settings: where a value comes from, what is refused and how, and that the table in the docs is this one."""

import json
import pickle
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli.roles import entrypoint_config, stream_of
from cli.settings import SETTINGS, Settings, read_settings, settings_table
from streams.errors import ConfigurationError, InvalidEventError
from tests.unit.streams.sample import receipt

ROOT = Path(__file__).parents[3]


def test_everything_has_a_default() -> None:
    """An empty environment is enough, and says so of each setting."""
    loaded = read_settings({})
    assert loaded.settings.broker == "sqlite:tillstream-data/broker.db"
    assert loaded.settings.store == "sqlite:tillstream-data/store.db"
    assert loaded.settings.timezone == ZoneInfo("UTC")
    assert loaded.settings.frame_bytes == 1024 * 1024
    assert loaded.settings.tokens_file is None
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.warnings == ()


def test_the_data_folder_moves_the_embedded_files(tmp_path: Path) -> None:
    """Defaults of broker and store are inside the data folder, wherever that is said to be."""
    loaded = read_settings({"TILLSTREAM_DATA": "/ignored"}, {"data": str(tmp_path)})
    assert loaded.settings.store == f"sqlite:{tmp_path}/store.db"
    assert loaded.origins["data"] == "--data"
    assert loaded.origins["store"] == "default"


def test_a_flag_overrides_the_environment_and_a_flag_not_given_does_not() -> None:
    """Flag over environment over default, each origin told."""
    environ = {"TILLSTREAM_PORT": "1", "TILLSTREAM_HOST": "0.0.0.0", "PORT": "9"}
    loaded = read_settings(environ, {"port": "2", "host": None})
    assert (loaded.settings.port, loaded.origins["port"]) == (2, "--port")
    assert (loaded.settings.host, loaded.origins["host"]) == ("0.0.0.0", "TILLSTREAM_HOST")


def test_an_empty_variable_counts_as_not_set() -> None:
    """Compose files pass empty variables on."""
    assert read_settings({"TILLSTREAM_PORT": "", "TILLSTREAM_STORE_FILE": " "}).settings.port == 3000


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    """`…_FILE` names it; the newline at its end does not belong to it."""
    file = tmp_path / "broker"
    file.write_text("amqp://u:p@broker/\n")
    loaded = read_settings({"TILLSTREAM_BROKER_FILE": str(file)})
    assert loaded.settings.broker == "amqp://u:p@broker/"
    assert loaded.origins["broker"] == f"TILLSTREAM_BROKER_FILE ({file})"


def test_a_secrets_file_may_have_a_byte_order_mark_comments_and_blank_lines(tmp_path: Path) -> None:
    """People edit it; one line counts."""
    file = tmp_path / "secret"
    for content in ("\ufeffamqp://u:p@broker/", "\ufeff# since May\r\n\r\n  amqp://u:p@broker/  \r\n"):
        file.write_text(content, "utf-8")
        assert read_settings({"TILLSTREAM_BROKER_FILE": str(file)}).settings.broker == "amqp://u:p@broker/"
    file.write_text("0123456789abcdef0123")
    assert read_settings({"TILLSTREAM_DASHBOARD_SECRET_FILE": str(file)}).settings.dashboard_secret is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "nothing is in it"),
        (b"# nothing", "nothing is in it"),
        (b"amqp://a/\namqp://b/\n", "it holds 2 lines that count, not one"),
        ("amqp://u:hunter2@b/".encode("utf-16"), "it is UTF-16 text: save it as UTF-8"),
        (b"\xff", "not UTF-8 text"),
    ],
)
def test_a_secrets_file_without_one_value_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """In one line that names the variable, the file and the reason."""
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_settings({"TILLSTREAM_BROKER_FILE": str(file)})
    assert str(caught.value) == f"TILLSTREAM_BROKER_FILE: cannot read {str(file)!r}: {says}"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"PORT": "70000"}, "TILLSTREAM_PORT: expected a whole number from 0 to 65535, not '70000'"),
        ({"PORT": "3.5"}, "TILLSTREAM_PORT: expected a whole number from 0 to 65535, not '3.5'"),
        ({"PROCESSES": "0"}, "TILLSTREAM_PROCESSES: expected a whole number from 1 to 64, not '0'"),
        ({"SYNC_S": "nan"}, "TILLSTREAM_SYNC_S: expected a number from 0.05 to 3600, not 'nan'"),
        ({"OPEN": "maybe"}, "TILLSTREAM_OPEN: expected true or false, not 'maybe'"),
        (
            {"TIMEZONE": "Europe"},
            "TILLSTREAM_TIMEZONE: expected an IANA time zone such as Europe/Paris or UTC, not 'Eu",
        ),
        ({"TIMEZONE": "../../etc/passwd"}, "TILLSTREAM_TIMEZONE: expected an IANA time zone"),
        (
            {"CURRENCY": "euro"},
            "TILLSTREAM_CURRENCY: expected a currency code of three letters such as EUR, not 'euro'",
        ),
        (
            {"BODY_LIMIT": "ten"},
            "TILLSTREAM_BODY_LIMIT: expected a size from 1 KiB to 15 MiB, such as 10 MiB, not 'ten'",
        ),
        ({"FRAME_BYTES": "1"}, "TILLSTREAM_FRAME_BYTES: expected a size from 1 KiB to 15 MiB"),
        ({"LOG_LEVEL": "loud"}, "TILLSTREAM_LOG_LEVEL: expected debug, info, warning or error, not 'loud'"),
        ({"BROKER": "redis://h"}, "TILLSTREAM_BROKER: expected sqlite:PATH or amqp://HOST… or amqps://HOST…, not (hid"),
        ({"BROKER": "sqlite:"}, "TILLSTREAM_BROKER: expected sqlite:PATH"),
        ({"BROKER": "amqp://"}, "TILLSTREAM_BROKER: expected sqlite:PATH"),
        ({"STORE": "mongo://h/x"}, "TILLSTREAM_STORE: expected sqlite:PATH or mongodb://HOST…"),
        ({"STORE": "mongodb://h:port/x"}, "TILLSTREAM_STORE: expected a host, and a port from 1 to 65535 or none"),
        ({"STORE": "mongodb://a:27017,b:port/x"}, "TILLSTREAM_STORE: expected a host"),
        ({"STORE": "mongodb://a,,b/x"}, "TILLSTREAM_STORE: expected a host"),
        ({"STORE": "mongodb://[::1/x"}, "TILLSTREAM_STORE: expected a host"),
        ({"STORE_FILE": "/no/such"}, "TILLSTREAM_STORE_FILE: cannot read '/no/such': No such file or directory"),
        ({"STORE": "sqlite:x", "STORE_FILE": "y"}, "TILLSTREAM_STORE and TILLSTREAM_STORE_FILE are both set: set one"),
        # Forms that other programs know, and read in another way.
        ({"STORE": "sqlite:///till.db"}, "TILLSTREAM_STORE: expected sqlite:PATH with one slash before a path from"),
        ({"STORE": "sqlite:////srv/till.db"}, "TILLSTREAM_STORE: expected sqlite:PATH with one slash before a path"),
        ({"BROKER": "sqlite://host/till.db"}, "TILLSTREAM_BROKER: expected sqlite:PATH with one slash before a path"),
        ({"STORE": "sqlite::memory:"}, "TILLSTREAM_STORE: expected sqlite:PATH, the path of a file, not (hidden)"),
        ({"STORE": "sqlite:file:x.db"}, "TILLSTREAM_STORE: expected sqlite:PATH, the path of a file"),
        ({"STORE": "sqlite:x.db?mode=ro"}, "TILLSTREAM_STORE: expected sqlite:PATH without options"),
        ({"STORE": "sqlite:~nobody-of-that-name/x"}, "TILLSTREAM_STORE: expected sqlite:PATH with a home directory"),
        ({"STORE": "mongodb://h"}, "TILLSTREAM_STORE: expected a database in mongodb://HOST:PORT/DATABASE"),
        ({"STORE": "mongodb://h/?w=1"}, "TILLSTREAM_STORE: expected a database in mongodb://HOST:PORT/DATABASE"),
        ({"STORE": "mongodb://h/shop.eu"}, "TILLSTREAM_STORE: expected a database name of at most 63 characters, with"),
        ({"STORE": "mongodb://h/shop%2Eeu"}, "TILLSTREAM_STORE: expected a database name"),
        ({"STORE": "mongodb+srv://h:27017/shop"}, "TILLSTREAM_STORE: expected mongodb+srv://HOST/DATABASE, one host"),
        ({"STORE": "mongodb+srv://a,b/shop"}, "TILLSTREAM_STORE: expected mongodb+srv://HOST/DATABASE, one host"),
        ({"STORE": "mongodb://u:a/b@h/shop"}, "TILLSTREAM_STORE: expected / ? # and @ in a user's name or password as"),
        ({"BROKER": "amqp://u:12/b@h/shop"}, "TILLSTREAM_BROKER: expected / ? # and @ in a user's name or password as"),
        (
            {"BROKER": "amqp://u:a@h/v;amqp://u:b@i/v"},
            "TILLSTREAM_BROKER: expected / ? # and @ in a user's name or pas",
        ),
        ({"BROKER": "amqp://h/v#x"}, "TILLSTREAM_BROKER: expected / ? # and @"),
        (
            {"BROKER": "amqps://h/?no_verify_ssl=false"},
            "TILLSTREAM_BROKER: expected no_verify_ssl=0 or no_verify_ssl=1",
        ),
        (
            {"BROKER": "amqps://h/?cacertfile=/x"},
            "TILLSTREAM_BROKER: expected cafile in place of the option cacertfile",
        ),
        ({"BROKER": "amqps://h/?verify=verify_none"}, "TILLSTREAM_BROKER: expected no_verify_ssl=1 (for verify_none; "),
        ({"BROKER": "amqps://h/?cafile=/no/such"}, "TILLSTREAM_BROKER: expected cafile=FILE, a file that is there"),
        ({"BROKER": "amqp://h/?no_verify_ssl=1"}, "TILLSTREAM_BROKER: expected amqps:// where there are options for T"),
        ({"BROKER": "amqp://h/?hearbeat=3"}, "TILLSTREAM_BROKER: expected no other options than auth, cadata, cafile"),
        ({"BROKER": "amqp://h/?heartbeat=soon"}, "TILLSTREAM_BROKER: expected heartbeat=SECONDS"),
        ({"BROKER": "amqp://h//"}, "TILLSTREAM_BROKER: expected a slash in a vhost's name as %2F"),
        ({"BROKER": "AMQP://h/"}, "TILLSTREAM_BROKER: expected sqlite:PATH or amqp://HOST"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(environ: dict[str, str], says: str) -> None:
    """The line names the variable, the value, and what was expected."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings({f"TILLSTREAM_{name}": value for name, value in environ.items()})
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_a_bad_flag_is_named_as_a_flag() -> None:
    """The person typed a flag, so the message speaks of it."""
    with pytest.raises(ConfigurationError, match=r"^--worker-probes-port: expected"):
        read_settings({}, {"worker_probes_port": "x"})


def test_a_bad_secret_is_never_shown() -> None:
    """Not even a wrong one: it may be the right one in the wrong place."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings({"TILLSTREAM_BROKER": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("amqp://till:hunter2@mq:5672/shop", "amqp://till:***@mq:5672/shop"),
        ("mongodb://u:hunter2@a,b/shop?authSource=admin", "mongodb://u:***@a,b/shop?***"),
        ("mongodb://u:hunter2@a:27017,b:27018,[::1]:27019/shop", "mongodb://u:***@a:27017,b:27018,[::1]:27019/shop"),
        ("mongodb://localhost:27017/shop", "mongodb://localhost:27017/shop"),
        ("sqlite:/srv/till.db", "sqlite:/srv/till.db"),
    ],
)
def test_passwords_in_addresses_are_masked(given: str, shown: str) -> None:
    """User, host and path stay readable, in tables and in `repr`."""
    name = "store" if given.startswith("mongodb") else "broker"
    settings = read_settings({f"TILLSTREAM_{name.upper()}": given}).settings
    [row] = [row for row in SETTINGS if row.name == name]
    assert row.shown(getattr(settings, name)) == shown
    assert f"{name}={shown}" in repr(settings)
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "address",
    [
        "amqp://rabbit1:5672,rabbit2:5672/shop",
        "amqps://till:a%2Fb%40c@mq.example/%2F?cafile=/etc/hostname&heartbeat=3",
        "amqp://till:a:b@[::1]:5672/a%2Fb",
        "mongodb://u:p@db1:27017,db2/shop?replicaSet=rs0&retryWrites=true&w=majority",
        "mongodb+srv://u:p@cluster0.example/shop?srvMaxHosts=2",
        "sqlite:~/till/store.db",
        "sqlite:C#/my till.db",
    ],
)
def test_addresses_as_they_are_meant_are_taken(address: str) -> None:
    """Unchanged."""
    name = "broker" if address.startswith("amqp") else "store"
    assert getattr(read_settings({f"TILLSTREAM_{name.upper()}": address}).settings, name) == address


def test_unknown_variables_are_warned_about_with_the_nearest_name() -> None:
    """A typing error does not pass silently; variables of the tests and of others do."""
    environ = {"TILLSTREAM_PROT": "1", "TILLSTREAM_XYZZY": "1", "TILLSTREAM_TEST_MONGO": "x", "STREAM_PORT": "1"}
    assert read_settings(environ).warnings == (
        "TILLSTREAM_PROT is not a setting; did you mean TILLSTREAM_PORT?",
        "TILLSTREAM_XYZZY is not a setting",
    )


def test_sizes_have_units() -> None:
    """Binary, decimal, or none."""
    for text, size in {"4096": 4096, "2kB": 2000, "1.5 MiB": 1_572_864, "10 mb": 10**7}.items():
        assert read_settings({"TILLSTREAM_BODY_LIMIT": text}).settings.body_limit == size


def test_settings_travel_to_other_processes() -> None:
    """The entrypoint hands them to the processes that it starts."""
    settings = read_settings({"TILLSTREAM_TIMEZONE": "Europe/Paris"}).settings
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_settings_cannot_be_changed() -> None:
    """Read once means fixed."""
    settings = read_settings({}).settings
    with pytest.raises(AttributeError):
        settings.port = 1  # type: ignore[misc]


def test_every_default_is_a_value_that_could_be_given() -> None:
    """What the docs show as a default can be set as a variable, with the same meaning."""
    environ = {row.variable: row.default.replace("{data}", "tillstream-data") for row in SETTINGS}
    assert read_settings(environ).settings == read_settings({}).settings
    assert isinstance(read_settings(environ).settings, Settings)


def test_the_documented_table_is_up_to_date() -> None:
    """docs/settings.md holds exactly this table; `python -m cli.settings` writes it."""
    assert settings_table() in (ROOT / "docs/settings.md").read_text()


def test_host_names_and_origins_of_tills_reach_the_entrypoint() -> None:
    """Lists with blanks and capitals are read as browsers write them; what is no origin is refused in one line."""
    loaded = read_settings(
        {
            "TILLSTREAM_HOST_NAMES": "Till.example, worker:3001",
            "TILLSTREAM_CORS_ORIGINS": "https://Till.example/, http://[::1]:8080,capacitor://localhost",
        }
    )
    config = entrypoint_config(loaded.settings)
    assert config.host_names == ("till.example", "worker:3001")
    assert config.cors_origins == ("https://till.example", "http://[::1]:8080", "capacitor://localhost")
    for wrong in ("*", "null", "till.example", "https://till.example/page", "https://", "https://a b"):
        with pytest.raises(ConfigurationError, match="TILLSTREAM_CORS_ORIGINS: expected scheme://host"):
            read_settings({"TILLSTREAM_CORS_ORIGINS": wrong})


def test_the_dates_that_are_accepted_reach_the_stream() -> None:
    """Ten years back and two days ahead unless said otherwise."""
    raw = json.dumps(receipt({"date": "2001-01-01 00:00:00"})).encode()
    with pytest.raises(InvalidEventError, match="at most 3,650 days ago"):
        stream_of(read_settings({}).settings).accept(raw, 1.8e9)
    assert stream_of(read_settings({"TILLSTREAM_PAST_DAYS": "10000"}).settings).accept(raw, 1.8e9)
