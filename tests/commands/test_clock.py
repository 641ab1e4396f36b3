"""clock show, freeze, advance, resume, system: on a sandbox of the test's own, because all accounts share its clock."""

from collections.abc import Callable

import pytest

from tests.commands.shell import NUMBER, Shell
from tests.conftest import Bench, Receiver, SystemTime


@pytest.fixture
def own(alone: None, start_sandbox: Callable[..., Bench]) -> Shell:
    return Shell(start_sandbox())


def test_the_clock_is_shown_frozen_and_running(own: Shell) -> None:
    assert "stands still" in own.good("clock", "show")
    assert "runs" in own.good("clock", "resume")
    assert own.json("clock", "show")["frozen"] is False
    assert "stands still" in own.good("clock", "freeze")


@pytest.mark.parametrize(
    ("by", "seconds"), [("30s", 30), ("90", 90), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("1500ms", 1.5)]
)
def test_the_clock_is_advanced_by_a_duration(own: Shell, by: str, seconds: float) -> None:
    before = own.json("clock", "show")["ahead_s"]
    line = own.good("clock", "advance", by)
    assert own.json("clock", "show")["ahead_s"] - before == pytest.approx(seconds, abs=0.5)
    assert "stands still" in line


def test_the_clock_says_how_far_it_is_from_the_systems_and_a_command_brings_it_back(
    alone: None, start_sandbox: Callable[..., Bench], system_time: SystemTime
) -> None:
    own = Shell(start_sandbox(clock="system"))
    assert "runs, at the system's time" in own.good("clock", "show")
    assert "stands still, at the system's time" in own.good("clock", "freeze")
    system_time.passes(300)
    assert "stands still, 5 m behind the system's" in own.good("clock", "show")
    assert "runs, 5 m behind the system's" in own.good("clock", "resume")
    assert own.json("clock", "show")["ahead_s"] == pytest.approx(-300, abs=0.5)
    assert "runs, 1 m 30 s ahead of the system's" in own.good("clock", "advance", "390")
    assert "runs, at the system's time" in own.good("clock", "system")
    assert own.json("clock", "system")["ahead_s"] == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("by", ["", "soon", "-1s", "1w", "nan", "5 minutes", "²s"])
def test_what_is_no_duration_is_exit_code_2_with_an_example(own: Shell, by: str) -> None:
    done = own("clock", "advance", "--", by)
    assert done.exit_code == 2
    assert "500ms, 5s, 2m, 1h30m or 1d" in done.stderr


def test_advancing_returns_when_all_that_came_due_is_done(own: Shell, receiver: Receiver) -> None:
    own.bench.patch_account(client_url=receiver.url)
    own.bench.sent()
    receiver.answer_with(500)
    own.good("reply", NUMBER, "1")
    assert "webhook" in own.good("clock", "show").splitlines()[-1]
    assert "at 8 moments" in own.good("clock", "advance", "1h")
    assert len(receiver.received) == 9
