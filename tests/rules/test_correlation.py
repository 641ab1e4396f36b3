"""Cause and effect as far as the record shows: what came after what, and what an application cannot have read."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from sandbox.model import (
    Attempt,
    Direction,
    Message,
    Outcome,
    OutcomeKind,
)
from sandbox.rules.correlation import followers, last_read, may_have_reached, sent_upon
from sandbox.wire.problems import WITHHELD
from tests.samples import AT_MS as AT
from tests.samples import ATTEMPT, MO, MT


def message(seq: int, direction: str, session: str = "a", at_ms: int = AT) -> Message:
    sample = MT if direction == Direction.MT else MO
    return replace(sample, seq=seq, session_id=session, at_ms=at_ms)


def attempt(number: int, started_ms: int, outcome: Outcome | None = None, *warnings: str) -> Attempt:
    return replace(ATTEMPT, number=number, started_ms=started_ms, outcome=outcome, warnings=warnings)


def ended(kind: OutcomeKind = OutcomeKind.ANSWERED, error: str = "") -> Outcome:
    status = 200 if kind is OutcomeKind.ANSWERED else None
    return Outcome(kind=kind, duration_ms=12, status_code=status, error=error)


STORIES = [
    pytest.param("mo1a mt2a", {1: [2]}, id="one text, one message"),
    pytest.param("mo1a mt2a mt3a", {1: [2, 3]}, id="several messages"),
    pytest.param("mt1a mo2a", {2: []}, id="what came before is no effect"),
    pytest.param("mo1a mt2a mo3a mt4a", {1: [2], 3: [4]}, id="the next text begins anew"),
    pytest.param("mo1a mt2b", {1: []}, id="another session is no answer"),
    pytest.param("mo1a mo2b mt3a mt4b", {1: [3], 2: [4]}, id="two sessions at once"),
    pytest.param("mo1a mo2a mt3a", {1: [], 2: [3]}, id="two texts in a row"),
    pytest.param("", {}, id="nothing"),
]


@pytest.mark.parametrize(("story", "wanted"), STORIES)
def test_what_follows_a_text_comes_before_the_next_one_of_its_session(story: str, wanted: dict[int, list[int]]) -> None:
    conversation = [message(int(each[2:-1]), each[:2], each[-1]) for each in story.split()]
    found = {text: [each.seq for each in sent] for text, sent in followers(conversation).items()}
    assert found == wanted


def test_without_a_later_text_everything_after_the_text_counts() -> None:
    texts, sent = [message(2, "mo")], [message(1, "mt"), message(3, "mt"), message(9, "mt")]
    assert [each.seq for each in sent_upon(texts[0], sent, texts)] == [3, 9]


@pytest.mark.parametrize(
    ("made", "may"),
    [
        pytest.param(attempt(1, AT), True, id="under way"),
        pytest.param(attempt(1, AT, ended()), True, id="answered"),
        pytest.param(attempt(1, AT, ended(OutcomeKind.TIMED_OUT)), True, id="timed out"),
        pytest.param(attempt(1, AT, ended(OutcomeKind.BROKEN)), True, id="broke"),
        pytest.param(attempt(1, AT, ended(OutcomeKind.UNREACHABLE)), False, id="no connection"),
        pytest.param(attempt(1, AT, ended(OutcomeKind.UNRESOLVED)), False, id="no address"),
        pytest.param(attempt(1, AT, ended(OutcomeKind.FORBIDDEN)), False, id="forbidden"),
        pytest.param(attempt(1, AT, replace(ended(), fault_seq=3, withheld=True)), False, id="a fault withheld it"),
        pytest.param(attempt(1, AT, replace(ended(), fault_seq=3)), True, id="a fault struck what was posted"),
        pytest.param(attempt(1, AT, ended(), WITHHELD), True, id="the words alone"),
    ],
)
def test_what_never_left_cannot_have_been_read(made: Attempt, may: bool) -> None:
    assert may_have_reached(made) is may


UNREACHED = ended(OutcomeKind.UNREACHABLE)


def nobody(delivery_seq: int, at_ms: int) -> int:
    raise AssertionError("the times say it")


@pytest.mark.parametrize(
    ("attempts", "begun", "wanted"),
    [
        pytest.param([attempt(1, AT - 5, ended())], nobody, 1, id="the one before"),
        pytest.param([attempt(1, AT + 5, ended())], nobody, None, id="one that began later"),
        pytest.param([attempt(1, AT - 5, ended()), attempt(2, AT - 3, ended())], nobody, 2, id="the last before"),
        pytest.param([attempt(1, AT - 5, ended()), attempt(2, AT - 3, UNREACHED)], nobody, 1, id="not the lost one"),
        pytest.param([attempt(1, AT - 5, UNREACHED)], nobody, None, id="nothing was read"),
        pytest.param([], nobody, None, id="no attempt"),
        pytest.param([attempt(1, AT, ended())], lambda *_: 1, 1, id="a clock that stands still, begun before"),
        pytest.param([attempt(1, AT, ended())], lambda *_: 0, None, id="a clock that stands still, begun after"),
        pytest.param([attempt(1, AT, ended()), attempt(2, AT)], lambda *_: 1, 1, id="the first of two, at one moment"),
    ],
)
def test_the_attempt_by_which_a_text_was_read_is_the_last_that_had_begun(
    attempts: Sequence[Attempt], begun: Callable[[int, int], int], wanted: int | None
) -> None:
    found = last_read(message(9, "mt"), attempts, begun)
    assert (None if found is None else found.number) == wanted


def test_attempts_of_another_webhook_delivery_are_counted_for_themselves() -> None:
    asked: list[tuple[int, int]] = []

    def begun(delivery_seq: int, at_ms: int) -> int:
        asked.append((delivery_seq, at_ms))
        return 0 if delivery_seq == 1 else 1

    again = replace(attempt(1, AT, ended()), delivery_seq=7)
    assert last_read(message(9, "mt"), [attempt(1, AT, ended()), again], begun) is again
    assert asked == [(1, AT), (7, AT)]
