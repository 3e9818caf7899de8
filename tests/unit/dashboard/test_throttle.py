"""Who guesses passwords has to wait."""

import pytest

from dashboard.throttle import (
    FORGET_SECONDS,
    FREE_FAILURES,
    REMEMBERED,
    WAIT_MAX_SECONDS,
    Throttle,
    address_key,
    name_key,
)

ANNA, HERE = name_key("anna"), address_key("192.0.2.1")


class Clock:
    """Time that passes when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The throttle's time."""
    return Clock()


def test_typing_errors_cost_nothing_and_guesses_more_each_time(clock: Clock) -> None:
    """After five failures one second, then two, four, … up to a minute."""
    throttle, waits = Throttle(clock), []
    for _ in range(14):
        waits.append(throttle.wait(ANNA, HERE))
        clock.now += waits[-1]
        throttle.tried(ANNA, HERE)
    assert waits == [0.0] * FREE_FAILURES + [1, 2, 4, 8, 16, 32, WAIT_MAX_SECONDS, WAIT_MAX_SECONDS, WAIT_MAX_SECONDS]


def test_a_name_waits_from_everywhere_and_an_address_for_everybody(clock: Clock) -> None:
    """Neither many addresses nor many names help."""
    throttle = Throttle(clock)
    for number in range(FREE_FAILURES):
        throttle.tried(ANNA, address_key(f"192.0.2.{number + 10}"))
        throttle.tried(name_key(f"user {number}"), HERE)
    assert throttle.wait(ANNA, address_key("198.51.100.1")) == 1
    assert throttle.wait(name_key("berta"), HERE) == 1
    assert throttle.wait(name_key("berta"), address_key("198.51.100.1")) == 0


def test_a_right_password_clears_the_name_but_not_the_address(clock: Clock) -> None:
    """One account of one's own must not buy guesses at others."""
    throttle = Throttle(clock)
    for _ in range(FREE_FAILURES):
        throttle.tried(ANNA, HERE)
    throttle.tried(ANNA, HERE)
    throttle.succeeded(ANNA, HERE)
    assert throttle.wait(ANNA) == 0
    assert throttle.wait(HERE) == 1


def test_what_is_long_ago_is_forgotten(clock: Clock) -> None:
    """A quarter of an hour later it is as before."""
    throttle = Throttle(clock)
    for _ in range(20):
        throttle.tried(ANNA, HERE)
    clock.now += FORGET_SECONDS
    assert throttle.wait(ANNA, HERE) == 0
    throttle.tried(ANNA, HERE)
    assert throttle.wait(ANNA, HERE) == 0


def test_its_memory_is_bounded(clock: Clock) -> None:
    """Names and addresses that are made up push out the oldest."""
    throttle = Throttle(clock)
    for number in range(REMEMBERED):
        throttle.tried(name_key(f"user {number}"), address_key(f"10.0.{number // 256}.{number % 256}"))
    assert len(throttle._failures) == REMEMBERED


def test_a_network_of_ipv6_is_one_address() -> None:
    """Its owner has all of them; an IPv4 address in IPv6 clothes is the IPv4 address."""
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff") != address_key("2001:db8:0:1::1")
    assert address_key("::ffff:192.0.2.1") == HERE
    assert address_key("no address") == "address no address"
