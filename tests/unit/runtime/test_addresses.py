"""Addresses: what is shown of them, and that no piece of a password is."""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import broker
import store
from broker.exchanges import receipts_topology
from cli.settings import read_settings
from runtime import masked
from streams.errors import TillstreamError

#: Letters that stand in no message of ours, and every sign at which programs take addresses apart.
LETTERS = "ZQXJ"
passwords = st.text(LETTERS + "/@#?:;,&=%[]+ .1", min_size=1).filter(lambda text: set(text) & set(LETTERS))
hosts = st.lists(st.sampled_from(["mq", "mq:5672", "db.example:27017", "[::1]:5672"]), min_size=1, max_size=3)
schemes = st.sampled_from(["amqp", "amqps", "mongodb", "mongodb+srv", "http"])
tails = st.sampled_from(["", "/", "/shop", "/shop?heartbeat=3", "/a/b", "/shop;amqp://other/shop"])


def address(scheme: str, user: str, password: str, places: list[str], tail: str) -> str:
    """An address as somebody writes it who has not heard of percent-encoding."""
    return f"{scheme}://{user}:{password}@{','.join(places)}{tail}"


addresses = st.builds(address, schemes, st.text("till", max_size=4), passwords, hosts, tails)


@given(st.one_of(addresses, st.lists(addresses, min_size=2, max_size=3).map(";".join)))
@example("amqp://till:12/Z@mq:5672/shop")
@example("amqp://till:12?Z@mq:5672/shop")
@example("amqp://till:Z@mq:1/shop;amqp://till:Q@mq:2/shop")
@example("mongodb://mq/shop?tlsCertificateKeyFilePassword=Z@Q")
@example("till:Z")
def test_no_piece_of_a_password_is_shown(text: str) -> None:
    """Whatever the password holds, and wherever the address may be taken apart."""
    assert not set(masked(text)) & set(LETTERS)


@given(addresses)
@example("amqp://till:12/Z@mq:5672/shop")
def test_no_error_about_an_address_shows_a_piece_of_its_password(text: str) -> None:
    """Neither of the settings nor of broker and store."""
    said = ""
    for environ in ({"TILLSTREAM_BROKER": text}, {"TILLSTREAM_STORE": text}):
        try:
            said += repr(read_settings(environ).settings)
        except TillstreamError as exc:
            said += str(exc)
    for opening in (
        broker.connect(unreachable(text), receipts_topology(), wait=0, publish_timeout=1),
        store.connect(unreachable(text)),
    ):
        try:
            asyncio.run(close(opening))
        except TillstreamError as exc:
            said += str(exc)
    assert not set(said) & set(LETTERS)


def unreachable(text: str) -> str:
    """The same address with a host at which nobody listens, so that no test asks a name server."""
    before, _, _ = text.rpartition("@")
    return f"{before}@127.0.0.1:1/shop"


async def close(opening: object) -> None:
    """Open and close."""
    opened = await opening  # type: ignore[misc]
    await opened.close()


@pytest.mark.parametrize(
    ("given_address", "shown"),
    [
        ("amqp://till:hun@ter/2@mq/", "amqp://till:***@mq/"),
        ("mongodb://u:p@a:27017,b:27018,[::1]:27019/shop?x=y", "mongodb://u:***@a:27017,b:27018,[::1]:27019/shop?***"),
        ("https://ann:p@till.example/receipts", "https://ann:***@till.example/receipts"),
        ("amqp://mq/a%2Fb", "amqp://mq/a%2Fb"),
        ("amqp://till:pass word", "amqp://***"),
        ("hunter2", "***"),
        ("hunter2://x", "***"),
    ],
)
def test_user_host_and_path_stay_readable(given_address: str, shown: str) -> None:
    """As far as they are of the form of these."""
    assert masked(given_address) == shown
