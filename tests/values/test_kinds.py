"""Kinds of values, wherever they are given: read alike, and what is wrong is told in the same words."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from sandbox.commands.options import duration
from sandbox.errors import Invalid, SettingsError
from sandbox.scenario import script
from sandbox.scenario.fault_spec import fault_from
from sandbox.scenario.steps import Expect, Scenario
from sandbox.settings import load
from sandbox.values.fields import Fields, optional
from sandbox.values.kinds import Each, InvalidValue, Seconds, Size, Whole, nearest, unknown


def argument(time: str) -> float | None:
    fields = Fields({"timeout": time})
    read = fields.take(optional("timeout", Seconds()))
    fields.done()
    return read


def member(time: str) -> float | None:
    fields = Fields({"timeout": time}, json=True)
    read = fields.take(optional("timeout", Seconds()))
    fields.done()
    return read


def fault(time: str) -> float:
    return fault_from({"on": "sendsms", "effect": {"delay_s": time}}).effect.delay_s


def setting(time: str) -> float:
    return load(flags={"max_age": time}, environ={}, cwd=Path(__file__).parent).settings.max_age_s


def key_of_a_file(time: str) -> float:
    found = script.read(f'scenario: x\nsteps: [{{expect: {{within: "{time}"}}}}]')
    if not isinstance(found, Scenario):
        raise Invalid(("within", found[0].message))
    (step,) = found.steps
    assert isinstance(step, Expect)
    assert step.within_ms is not None
    return step.within_ms / 1000


PLACES: tuple[Callable[[str], float | None], ...] = (argument, member, fault, setting, key_of_a_file, duration)


@pytest.mark.parametrize("place", PLACES)
def test_a_time_is_read_alike_wherever_it_is_given(place: Callable[[str], float | None]) -> None:
    times = {"90": 90, "1.5": 1.5, "2500ms": 2.5, "5s": 5, "2m": 120, "1m30s": 90, "1 m 30 s": 90}
    assert {time: place(time) for time in times} == times


@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_time_is_told_in_the_same_words_wherever_it_is_given(place: Callable[[str], float | None]) -> None:
    with pytest.raises(
        (Invalid, SettingsError, click.BadParameter), match=r' is "soon"\. Use a time from \w+ to \w+: 90'
    ):
        place("soon")


def test_a_list_is_read_from_text_and_from_json() -> None:
    for given in ("1, 2", [1, 2], ["1", 2], (1, 2)):
        assert Each(Whole(1, 9)).read(given) == (1, 2)
    assert Each(Whole(1, 9)).read("") == ()


def test_a_size_is_a_whole_number_of_bytes() -> None:
    assert [Size(1, 2**26).read(given) for given in (5, "64KiB", "1.5MiB", "2 KiB")] == [5, 65_536, 1_572_864, 2048]
    for given in ("0", "64KB", "0.3KiB", "65MiB", True, None):
        with pytest.raises(InvalidValue, match="Use a size from 1 to 64MiB"):
            Size(1, 2**26).read(given)


def test_of_few_names_all_are_listed_where_none_is_near_and_of_many_the_nearest() -> None:
    assert nearest("whatever", ("to", "from")) == "Use one of: to, from."
    assert nearest("whatever", [f"name{number}" for number in range(13)]).startswith("Did you mean name")
    assert nearest("whatever", ("to", "from"), "Ask.") == "Ask."


def test_of_very_many_unknown_names_twenty_are_told_and_the_rest_counted() -> None:
    wrong = unknown([f"x{number}" for number in range(1000)], ("limit",))
    assert len(wrong) == 20
    assert wrong[-1][1].endswith("There are 980 more unknown names.")
