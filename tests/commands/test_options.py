"""Durations, and what an error becomes."""

import click
import pytest

from sandbox.commands.lines import span
from sandbox.commands.options import duration
from tests.commands.shell import Shell


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("0", 0),
        ("0.25", 0.25),
        ("500ms", 0.5),
        ("30s", 30),
        ("1.5m", 90),
        ("2h", 7200),
        ("2 h", 7200),
        ("1d", 86_400),
        (60, 60),
        ("1h30m", 5400),
        ("1 h 30 m", 5400),
        ("1e3", 1000),
    ],
)
def test_a_duration_is_read_in_seconds(text: object, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1w", "inf", "nan", "1,5", "1s2", "1s-2s", "٣s", "1\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.05, "0.05 s"),
        (59.5, "59.5 s"),
        (60, "1 m"),
        (90, "1 m 30 s"),
        (3599.9, "1 h"),
        (7265, "2 h 1 m 5 s"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_span_is_told_in_the_units_that_it_has(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_an_address_that_is_none_is_complained_about_without_its_control_characters(run: Shell) -> None:
    done = run("messages", "--url", "nowhere\x1b[31m")
    assert done.exit_code == 3
    assert "http://127.0.0.1:2081" in done.stderr
    assert "\x1b" not in done.stderr


def test_settings_that_make_no_sense_stop_client_commands_too(run: Shell) -> None:
    done = run("messages", NINEBITS_SANDBOX_PROT="1")
    assert done.exit_code == 2
    assert "NINEBITS_SANDBOX_PORT" in done.stderr
