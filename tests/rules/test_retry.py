"""What follows an attempt: the documented table, and a model of the rules written a second time to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.model import DeliveryState, Outcome, OutcomeKind
from sandbox.rules import retry
from sandbox.settings import RETRY_PRESETS

DELIVERED, REJECTED = DeliveryState.DELIVERED, DeliveryState.REJECTED
RETRYING, EXHAUSTED = DeliveryState.RETRYING, DeliveryState.EXHAUSTED


def answered(status_code: int, body: bytes = b"{}", headers: Sequence[tuple[str, str]] = ()) -> Outcome:
    return Outcome(kind=OutcomeKind.ANSWERED, duration_ms=1, status_code=status_code, body=body, headers=tuple(headers))


def ended(kind: OutcomeKind) -> Outcome:
    return Outcome(kind=kind, duration_ms=1, error="in words")


def state_after(outcome: Outcome) -> DeliveryState:
    """The state after a first attempt, with retries left."""
    return retry.decide(outcome, schedule_s=(30, 60), retries_used=0, first_failed_ms=0, now_ms=0).state


# The table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status_code", [200, 201, 202, 204, 206, 299])
def test_2xx_is_delivered(status_code: int) -> None:
    assert state_after(answered(status_code)) is DELIVERED


@pytest.mark.parametrize("status_code", [500, 501, 502, 503, 504, 511, 599])
def test_5xx_is_retried(status_code: int) -> None:
    assert state_after(answered(status_code)) is RETRYING


def test_429_is_retried() -> None:
    assert state_after(answered(429)) is RETRYING


@pytest.mark.parametrize("status_code", [400, 401, 403, 404, 408, 409, 410, 413, 418, 422, 425, 428, 430, 451, 499])
def test_any_other_4xx_is_not_retried(status_code: int) -> None:
    assert state_after(answered(status_code)) is REJECTED


@pytest.mark.parametrize("status_code", [300, 301, 302, 303, 304, 307, 308, 399])
def test_3xx_is_not_retried(status_code: int) -> None:
    assert state_after(answered(status_code)) is REJECTED


@pytest.mark.parametrize(
    "kind",
    [
        OutcomeKind.TIMED_OUT,
        OutcomeKind.UNRESOLVED,
        OutcomeKind.UNREACHABLE,
        OutcomeKind.TLS_FAILED,
        OutcomeKind.BROKEN,
        OutcomeKind.INTERRUPTED,
    ],
)
def test_no_answer_is_retried(kind: OutcomeKind) -> None:
    assert state_after(ended(kind)) is RETRYING


def test_an_address_that_the_sandbox_refuses_is_not_retried() -> None:
    assert state_after(ended(OutcomeKind.FORBIDDEN)) is REJECTED


# The schedule ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "offsets_s"),
    [
        ("documented", (30, 60, 120, 240, 480, 960, 1920, 3600)),
        ("documented-gaps", (30, 90, 210, 450, 930, 1890, 3600)),
        ("fast", (1, 2, 4)),
    ],
)
def test_a_preset_has_the_documented_offsets(preset: str, offsets_s: tuple[int, ...]) -> None:
    assert RETRY_PRESETS[preset] == offsets_s


def test_there_are_no_other_presets() -> None:
    assert set(RETRY_PRESETS) == {"documented", "documented-gaps", "fast"}


def test_first_retry_comes_30_seconds_after_the_first_failure() -> None:
    decision = retry.decide(
        answered(500),
        schedule_s=RETRY_PRESETS["documented"],
        retries_used=0,
        first_failed_ms=1_000_000,
        now_ms=1_000_000,
    )
    assert decision == retry.Decision(RETRYING, 1_030_000)


@pytest.mark.parametrize("schedule_s", [*RETRY_PRESETS.values(), (1,), (5, 86_400)])
def test_each_retry_comes_at_its_offset_from_the_first_failure(schedule_s: tuple[int, ...]) -> None:
    due_ms = [
        retry.decide(
            answered(500), schedule_s=schedule_s, retries_used=used, first_failed_ms=7, now_ms=8
        ).next_attempt_ms
        for used in range(len(schedule_s))
    ]
    assert due_ms == [7 + offset_s * 1000 for offset_s in schedule_s]


@pytest.mark.parametrize("schedule_s", [*RETRY_PRESETS.values(), ()])
def test_after_the_last_retry_nothing_is_due(schedule_s: tuple[int, ...]) -> None:
    decision = retry.decide(
        answered(500), schedule_s=schedule_s, retries_used=len(schedule_s), first_failed_ms=0, now_ms=0
    )
    assert decision == retry.Decision(EXHAUSTED, None)


def test_a_retry_whose_moment_has_passed_is_due_at_once() -> None:
    decision = retry.decide(answered(500), schedule_s=(30, 60), retries_used=0, first_failed_ms=0, now_ms=45_000)
    assert decision.next_attempt_ms == 45_000


@pytest.mark.parametrize("outcome", [answered(200), answered(404), answered(302), ended(OutcomeKind.FORBIDDEN)])
def test_what_is_not_retried_has_no_next_attempt(outcome: Outcome) -> None:
    decision = retry.decide(outcome, schedule_s=(30,), retries_used=0, first_failed_ms=0, now_ms=0)
    assert decision.next_attempt_ms is None


# A model of the rules ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """An attempt to come: how it will end, and after how long."""

    outcome: Outcome
    takes_ms: int


Played = tuple[list[int], DeliveryState]  # when the attempts began, and the state in the end


def as_the_page_tells_it(schedule_s: Sequence[int], steps: Sequence[Step]) -> Played:
    """The rules once more, in the order of the page [W] and with nothing shared with the code under test."""
    begun: list[int] = []
    plan = [0]  # moments of attempts to come
    failed_first_at: int | None = None
    now = 0
    for step in steps:
        if not plan:
            break
        now = max(now, plan.pop(0))
        begun.append(now)
        now += step.takes_ms
        status = step.outcome.status_code
        if status is not None and status // 100 == 2:
            return begun, DELIVERED
        nobody_answered = step.outcome.kind not in (OutcomeKind.ANSWERED, OutcomeKind.FORBIDDEN)
        if not (nobody_answered or status == 429 or (status is not None and status // 100 == 5)):
            return begun, REJECTED
        if failed_first_at is None:
            failed_first_at = now
            plan = [failed_first_at + 1000 * offset for offset in schedule_s]
    return begun, RETRYING if plan else EXHAUSTED


def as_decided(schedule_s: Sequence[int], steps: Sequence[Step]) -> Played:
    """The same by `decide`."""
    begun: list[int] = []
    now = 0
    first_failed: int | None = None
    state = RETRYING
    for used, step in enumerate(steps):
        begun.append(now)
        now += step.takes_ms
        first_failed = now if first_failed is None else first_failed
        decision = retry.decide(
            step.outcome, schedule_s=schedule_s, retries_used=used, first_failed_ms=first_failed, now_ms=now
        )
        state = decision.state
        if decision.next_attempt_ms is None:
            break
        now = decision.next_attempt_ms
    return begun, state


failures = st.one_of(
    st.sampled_from([500, 502, 503, 429]).map(answered),
    st.sampled_from([OutcomeKind.TIMED_OUT, OutcomeKind.UNREACHABLE, OutcomeKind.BROKEN]).map(ended),
)
endings = st.one_of(
    st.sampled_from([200, 204, 302, 400, 404, 418]).map(answered), st.just(ended(OutcomeKind.FORBIDDEN))
)
schedules = st.one_of(
    st.sampled_from(sorted(RETRY_PRESETS.values())),
    st.lists(st.integers(1, 86_400), max_size=20, unique=True).map(sorted),
)
durations_ms = st.one_of(st.just(0), st.integers(0, 10_000), st.integers(0, 200_000_000))
stories = st.builds(
    lambda failed, last: [*failed, *last],
    st.lists(st.builds(Step, failures, durations_ms), max_size=24),
    st.lists(st.builds(Step, endings, durations_ms), max_size=1),
).filter(bool)


@settings(derandomize=True, deadline=None, max_examples=2000)
@given(schedules, stories)
def test_attempts_and_state_are_the_models_whatever_the_outcomes(schedule_s: Sequence[int], steps: list[Step]) -> None:
    assert as_decided(schedule_s, steps) == as_the_page_tells_it(schedule_s, steps)


@pytest.mark.slow
@settings(deadline=None, max_examples=100_000)
@given(schedules, stories)
def test_attempts_and_state_are_the_models_for_long(schedule_s: Sequence[int], steps: list[Step]) -> None:
    assert as_decided(schedule_s, steps) == as_the_page_tells_it(schedule_s, steps)


@settings(derandomize=True, deadline=None)
@given(schedules, stories)
def test_there_is_one_attempt_more_than_retries_at_the_most(schedule_s: Sequence[int], steps: list[Step]) -> None:
    begun, _ = as_decided(schedule_s, steps)
    assert len(begun) <= 1 + len(schedule_s)


# Throughput --------------------------------------------------------------------------------------------------------


def rates(*outcomes: Outcome, rate: float | None = None) -> list[float | None]:
    """The rate after each outcome in turn."""
    found: list[float | None] = []
    for outcome in outcomes:
        rate = retry.throttle(rate, outcome)
        found.append(rate)
    return found


def test_each_429_halves_the_rate_down_to_1_a_second() -> None:
    assert rates(*[answered(429)] * 7) == [16, 8, 4, 2, 1, 1, 1]


@pytest.mark.parametrize("status_code", [200, 302, 404, 500])
def test_an_answer_does_not_slow_down_what_is_not_slowed_down(status_code: int) -> None:
    assert rates(answered(status_code)) == [None]


@pytest.mark.parametrize("status_code", [200, 302, 404, 500])
def test_any_other_answer_raises_a_lowered_rate_a_little(status_code: int) -> None:
    (raised,) = rates(answered(status_code), rate=2.0)
    assert raised is not None
    assert 2.0 < raised < 3.0


def test_the_rate_recovers_until_nothing_is_held_back() -> None:
    recovered = rates(*[answered(200)] * 100, rate=1.0)
    assert recovered[-1] is None


def test_recovery_is_slow() -> None:
    recovered = rates(*[answered(200)] * 100, rate=1.0)
    assert recovered.index(None) > 20


@pytest.mark.parametrize("kind", sorted(set(OutcomeKind) - {OutcomeKind.ANSWERED}))
def test_no_answer_says_nothing_about_the_rate(kind: OutcomeKind) -> None:
    assert rates(ended(kind), rate=4.0) == [4.0]


def test_a_rate_at_the_floor_can_recover() -> None:
    assert rates(answered(429), answered(200), rate=1.0)[-1] == pytest.approx(1.1)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from([answered(429), answered(200), answered(500), ended(OutcomeKind.TIMED_OUT)])))
def test_the_rate_stays_between_the_floor_and_full(outcomes: list[Outcome]) -> None:
    assert all(rate is None or retry.FLOOR_RATE <= rate < retry.FULL_RATE for rate in rates(*outcomes))


# Words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'"ok"', b"1", b"9" * 5000, b"null", b' {"status": "ok"}\r\n', '{"text": "₦"}'.encode()]
)
def test_a_2xx_with_json_needs_no_word(body: bytes) -> None:
    assert retry.warnings(answered(200, body)) == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"<html></html>",
        b"{",
        b"{'a': 1}",
        b"NaN",
        b'{"rate": Infinity}',
        b"\xff\xfe",
        "{}".encode("utf-16"),
        "{}".encode("utf-8-sig"),
        b"[" * 10_000,
    ],
    ids=lambda body: body[:8],
)
def test_a_2xx_without_json_is_flagged(body: bytes) -> None:
    assert [warning[:28] for warning in retry.warnings(answered(200, body))] == ["The answer is not valid JSON"]


def test_an_answer_that_was_cut_off_is_not_flagged() -> None:
    assert retry.warnings(answered(200, b"[" + b"1, " * 10_000)) == ()


@pytest.mark.parametrize("status_code", [302, 404, 429, 500])
def test_only_a_2xx_has_to_be_json(status_code: int) -> None:
    assert retry.warnings(answered(status_code, b"no JSON")) == ()


@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
def test_retry_after_is_shown_and_not_followed(name: str) -> None:
    outcome = answered(429, headers=[(name, "120")])
    assert ["Retry-After" in warning for warning in retry.warnings(outcome)] == [True]


def test_retry_after_changes_no_moment() -> None:
    outcome = answered(503, headers=[("Retry-After", "5")])
    decision = retry.decide(outcome, schedule_s=(30,), retries_used=0, first_failed_ms=0, now_ms=0)
    assert decision.next_attempt_ms == 30_000
