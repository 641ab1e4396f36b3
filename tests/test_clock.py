"""A clock that runs, stands still and is moved; the system's time is a number that the tests set."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import pytest

from sandbox.clock import Clock, to_iso

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


class SystemTime:
    """The machine's clocks in `_ms`, as the clock under test sees them."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.monotonic_ms = 77

    def passes(self, ms: int) -> None:
        self.now_ms += ms
        self.monotonic_ms += ms


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> SystemTime:
    time = SystemTime()
    monkeypatch.setattr(Clock, "system_ms", staticmethod(lambda: time.now_ms))
    monkeypatch.setattr(Clock, "_monotonic_ms", staticmethod(lambda: time.monotonic_ms))
    return time


# The time ----------------------------------------------------------------------------------------------------------


def test_a_system_clock_runs_with_the_systems(system: SystemTime) -> None:
    clock = Clock.system()
    system.passes(1234)
    assert clock.now_ms() == system.now_ms


def test_a_virtual_clock_begins_at_the_systems_time(system: SystemTime) -> None:
    assert Clock.virtual().now_ms() == system.now_ms


def test_a_virtual_clock_stands_still(system: SystemTime) -> None:
    clock = Clock.virtual()
    system.passes(1234)
    assert clock.now_ms() == 1_000_000


@pytest.mark.parametrize(("make", "frozen"), [(Clock.system, False), (Clock.virtual, True)])
def test_a_clock_says_whether_it_is_frozen(make: Callable[[], Clock], frozen: bool) -> None:
    assert make().frozen is frozen


def test_a_frozen_clock_stands_at_the_moment_of_freezing(system: SystemTime) -> None:
    clock = Clock.system()
    system.passes(50)
    clock.freeze()
    system.passes(1000)
    assert clock.now_ms() == 1_000_050


def test_freezing_twice_changes_nothing(system: SystemTime) -> None:
    clock = Clock.system()
    clock.freeze()
    system.passes(1000)
    clock.freeze()
    assert clock.now_ms() == 1_000_000


def test_a_resumed_clock_runs_on_from_where_it_stood(system: SystemTime) -> None:
    clock = Clock.virtual()
    system.passes(5000)
    clock.resume()
    system.passes(7)
    assert clock.now_ms() == 1_000_007


def test_resuming_a_running_clock_changes_nothing(system: SystemTime) -> None:
    clock = Clock.system()
    clock.move_to(2_000_000)
    clock.resume()
    assert clock.now_ms() == 2_000_000


def test_a_frozen_clock_moves_to_the_moment_it_is_given(system: SystemTime) -> None:
    clock = Clock.virtual()
    clock.move_to(1_030_000)
    assert clock.now_ms() == 1_030_000


def test_a_running_clock_jumps_forward_and_runs_on(system: SystemTime) -> None:
    clock = Clock.system()
    clock.move_to(1_030_000)
    system.passes(5)
    assert clock.now_ms() == 1_030_005


@pytest.mark.parametrize("make", [Clock.system, Clock.virtual])
def test_time_is_not_moved_back(system: SystemTime, make: Callable[[], Clock]) -> None:
    clock = make()
    clock.move_to(999_999)
    assert clock.now_ms() == 1_000_000


def test_a_clock_that_was_moved_keeps_its_lead_through_freezing_and_resuming(system: SystemTime) -> None:
    clock = Clock.system()
    clock.move_to(1_060_000)
    clock.freeze()
    clock.move_to(1_090_000)
    clock.resume()
    assert clock.ahead_ms == 90_000


def test_a_clock_that_was_frozen_falls_behind_the_systems(system: SystemTime) -> None:
    clock = Clock.virtual()
    system.passes(400)
    assert clock.ahead_ms == -400


@pytest.mark.parametrize("jump_ms", [-3_600_000, 18_000_000])
def test_a_running_clock_counts_on_when_the_systems_is_set(system: SystemTime, jump_ms: int) -> None:
    clock = Clock.system()
    system.now_ms += jump_ms
    system.passes(10)
    assert (clock.now_ms(), clock.jump_ms()) == (1_000_010, jump_ms)


@pytest.mark.parametrize("jump_ms", [-3_600_000, 18_000_000])
def test_a_clock_that_has_followed_the_systems_shows_its_time(system: SystemTime, jump_ms: int) -> None:
    clock = Clock.system()
    clock.move_to(1_000_500)
    system.now_ms += jump_ms
    clock.follow(clock.jump_ms())
    assert (clock.ahead_ms, clock.jump_ms()) == (500, 0)


def test_a_clock_is_not_troubled_by_a_little_drift(system: SystemTime) -> None:
    clock = Clock.system()
    system.now_ms += 999
    assert clock.jump_ms() == 0


def test_a_clock_that_stands_still_does_not_follow_the_systems(system: SystemTime) -> None:
    clock = Clock.virtual()
    system.now_ms += 3_600_000
    assert clock.jump_ms() == 0
    clock.resume()
    assert (clock.now_ms(), clock.jump_ms()) == (1_000_000, 0)


def test_after_a_reset_a_clock_shows_the_systems_time(system: SystemTime) -> None:
    clock = Clock.system()
    clock.move_to(9_000_000)
    system.now_ms -= 50_000
    clock.reset()
    assert (clock.now_ms(), clock.jump_ms()) == (950_000, 0)


# Waiting -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_waiting_for_a_moment_that_has_passed_ends_at_once() -> None:
    clock = Clock.virtual()
    await clock.wait(asyncio.Event(), clock.now_ms())


@in_loop
async def test_waiting_on_a_running_clock_ends_when_the_moment_comes() -> None:
    clock = Clock.system()
    moment = clock.now_ms() + 15
    while clock.now_ms() < moment:  # it may end a fraction early, and its user looks again
        await clock.wait(asyncio.Event(), moment)


@pytest.mark.parametrize("until_ms", [None, 10**15], ids=["for nothing", "for a distant moment"])
@pytest.mark.parametrize("make", [Clock.system, Clock.virtual])
@in_loop
async def test_waiting_ends_when_it_is_woken(make: Callable[[], Clock], until_ms: int | None) -> None:
    woken = asyncio.Event()
    asyncio.get_running_loop().call_soon(woken.set)
    await make().wait(woken, until_ms)


@in_loop
async def test_on_a_frozen_clock_no_moment_comes() -> None:
    clock = Clock.virtual()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await clock.wait(asyncio.Event(), clock.now_ms() + 1)


@in_loop
async def test_a_pause_takes_real_time_whatever_the_clock() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await Clock.virtual().pause(0.02)
    assert loop.time() - begun >= 0.019


# On the wire -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (1_704_239_437_000, "2024-01-02T23:50:37.000000Z"),  # the documented example
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_704_239_437_001, "2024-01-02T23:50:37.001000Z"),
        (1_709_164_799_999, "2024-02-28T23:59:59.999000Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999000Z"),
    ],
)
def test_times_on_the_wire_are_utc_with_six_digits_and_z(at_ms: int, text: str) -> None:
    assert to_iso(at_ms) == text
