"""What is owed and when: webhook deliveries, attempts and timers, as they are written and found."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sandbox.model import (
    OPEN_STATES,
    Attempt,
    DeliveryState,
    Msisdn,
    Outcome,
    OutcomeKind,
    Shortcode,
    Timer,
    TimerKind,
    Trigger,
    WebhookDelivery,
)
from sandbox.store import outbox
from sandbox.store.database import Due, Tx

ADA, BEN = Msisdn("2348020000000"), Msisdn("2347030000000")

DELIVERY = WebhookDelivery(
    seq=1,
    message_seq=1,
    account="default",
    msisdn=ADA,
    shortcode=Shortcode("48974"),
    url="http://user:pass@127.0.0.1:8000/sms?key=1",
    body='{"message": "₦\\u0000"}'.encode(),
    state=DeliveryState.PENDING,
    created_ms=1_704_239_437_000,
    next_attempt_ms=1_704_239_437_000,
)
CLOSED_STATES = sorted(set(DeliveryState) - OPEN_STATES)


def seqs(things: Sequence[WebhookDelivery]) -> list[int]:
    return [thing.seq for thing in things]


# Webhook deliveries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "delivery",
    [
        pytest.param(DELIVERY, id="the first"),
        pytest.param(replace(DELIVERY, seq=9, redelivery_of=1), id="a redelivery"),
        pytest.param(replace(DELIVERY, seq=9, redelivery_of=1, edited=True), id="an edited one"),
        pytest.param(replace(DELIVERY, body=bytes(range(256))), id="any bytes"),
        pytest.param(replace(DELIVERY, body=b""), id="no bytes"),
    ],
)
def test_a_webhook_delivery_is_read_as_it_was_written(tx: Tx, delivery: WebhookDelivery) -> None:
    outbox.insert(tx, delivery)
    assert outbox.get(tx, delivery.seq) == delivery


def test_a_webhook_delivery_that_is_not_there_is_none(tx: Tx) -> None:
    assert outbox.get(tx, 1) is None


def test_an_update_changes_what_it_names_and_nothing_else(tx: Tx) -> None:
    outbox.insert(tx, DELIVERY)
    changes: dict[str, Any] = {
        "state": DeliveryState.RETRYING,
        "attempts": 2,
        "retries_used": 1,
        "first_failed_ms": 5,
        "next_attempt_ms": 30_005,
    }
    outbox.update(tx, 1, **changes)
    assert outbox.get(tx, 1) == replace(DELIVERY, **changes)


@pytest.fixture
def several(tx: Tx) -> Tx:
    for seq, state in enumerate(DeliveryState, start=1):
        outbox.insert(tx, replace(DELIVERY, seq=seq, message_seq=seq, state=state))
    outbox.insert(tx, replace(DELIVERY, seq=50, message_seq=50, account="another"))
    outbox.insert(tx, replace(DELIVERY, seq=60, message_seq=2))
    return tx


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param({}, [60, 7, 6, 5, 4, 3, 2, 1], id="the account's own"),
        pytest.param({"state": "rejected"}, [5], id="state"),
        pytest.param({"before": 4}, [3, 2, 1], id="before"),
        pytest.param({"limit": 2}, [60, 7], id="limit"),
        pytest.param({"state": "pending", "before": 60}, [1], id="state and before"),
    ],
)
def test_a_page_holds_what_matches(several: Tx, wanted: dict[str, Any], found: list[int]) -> None:
    assert seqs(outbox.page(several, account="default", **wanted)) == found


def test_pages_together_hold_every_webhook_delivery_once(tx: Tx) -> None:
    for seq in range(1, 18):
        outbox.insert(tx, replace(DELIVERY, seq=seq))
    seen: list[int] = []
    while page := outbox.page(tx, account="default", before=seen[-1] if seen else None, limit=5):
        seen += seqs(page)
    assert seen == list(range(17, 0, -1))


def test_webhook_deliveries_of_a_message_come_oldest_first(several: Tx) -> None:
    assert seqs(outbox.of_message(several, 2)) == [2, 60]


def test_open_are_those_that_may_still_be_attempted(several: Tx) -> None:
    states = {delivery.state for delivery in outbox.open_deliveries(several)}
    assert states == OPEN_STATES


def test_open_ones_of_one_account_are_its_own(several: Tx) -> None:
    assert seqs(outbox.open_deliveries(several, "another")) == [50]


# Conversations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(OPEN_STATES))
def test_an_open_one_stands_before_a_later_one(tx: Tx, state: DeliveryState) -> None:
    outbox.insert(tx, replace(DELIVERY, state=state))
    assert outbox.open_before(tx, replace(DELIVERY, seq=2))


@pytest.mark.parametrize("state", CLOSED_STATES)
def test_one_that_has_ended_stands_before_nobody(tx: Tx, state: DeliveryState) -> None:
    outbox.insert(tx, replace(DELIVERY, state=state))
    assert not outbox.open_before(tx, replace(DELIVERY, seq=2))


@pytest.mark.parametrize(
    "other",
    [{"msisdn": BEN}, {"shortcode": "32000"}, {"account": "another"}, {"seq": 3}],
    ids=["another handset's", "another shortcode's", "another account's", "a later one"],
)
def test_one_of_another_conversation_stands_before_nobody(tx: Tx, other: dict[str, Any]) -> None:
    outbox.insert(tx, replace(DELIVERY, **other))
    assert not outbox.open_before(tx, replace(DELIVERY, seq=2))


def test_the_next_open_one_is_the_oldest_of_the_conversation(tx: Tx) -> None:
    outbox.insert(tx, replace(DELIVERY, seq=1, state=DeliveryState.DELIVERED))
    outbox.insert(tx, replace(DELIVERY, seq=2, msisdn=BEN))
    for seq in (4, 3):
        outbox.insert(tx, replace(DELIVERY, seq=seq))
    found = outbox.next_open(tx, replace(DELIVERY, seq=1))
    assert found is not None
    assert found.seq == 3


# Attempts ----------------------------------------------------------------------------------------------------------

ATTEMPT = Attempt(delivery_seq=1, number=1, trigger=Trigger.SCHEDULED, started_ms=1000, offset_ms=0)


@pytest.mark.parametrize("trigger", Trigger)
def test_an_attempt_under_way_has_no_outcome(tx: Tx, trigger: Trigger) -> None:
    attempt = replace(ATTEMPT, trigger=trigger)
    outbox.begin_attempt(tx, attempt)
    assert outbox.attempts(tx, 1) == [attempt]


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(
            Outcome(
                kind=OutcomeKind.ANSWERED,
                duration_ms=12.5,
                status_code=418,
                headers=(("X-Pot", "tea"), ("X-Pot", "caf\xe9")),
                body=b"\x00\xff short and stout",
            ),
            id="answered",
        ),
        pytest.param(Outcome(kind=OutcomeKind.TIMED_OUT, duration_ms=10_000.0, error="in words ₦"), id="not answered"),
        pytest.param(
            Outcome(kind=OutcomeKind.UNREACHABLE, duration_ms=0.0, fault_seq=7, withheld=True), id="withheld by a fault"
        ),
    ],
)
def test_an_outcome_is_read_as_it_was_written(tx: Tx, outcome: Outcome) -> None:
    outbox.begin_attempt(tx, ATTEMPT)
    outbox.end_attempt(tx, 1, 1, outcome, ("a word", "another"))
    assert outbox.attempts(tx, 1) == [replace(ATTEMPT, outcome=outcome, warnings=("a word", "another"))]


def test_attempts_come_in_the_order_of_their_numbers(tx: Tx) -> None:
    for number in (2, 1, 10, 3):
        outbox.begin_attempt(tx, replace(ATTEMPT, number=number))
    assert [attempt.number for attempt in outbox.attempts(tx, 1)] == [1, 2, 3, 10]


def test_under_way_are_the_attempts_without_an_outcome(tx: Tx) -> None:
    for number in (1, 2):
        outbox.begin_attempt(tx, replace(ATTEMPT, number=number))
    outbox.begin_attempt(tx, replace(ATTEMPT, delivery_seq=7))
    outbox.end_attempt(tx, 1, 1, Outcome(kind=OutcomeKind.BROKEN, duration_ms=1), ())
    assert sorted(outbox.attempts_under_way(tx)) == [(1, 2), (7, 1)]


# Timers ------------------------------------------------------------------------------------------------------------


def set_timer(tx: Tx, due_ms: int, subject: int = 1, queue: str = "queue", **given: Any) -> None:
    timer: dict[str, Any] = {"kind": TimerKind.WEBHOOK, "account": "default"}
    outbox.set_timer(tx, Timer(due_ms=due_ms, queue=queue, subject=subject, **(timer | given)))


def subjects_taken(tx: Tx, now_ms: int, most: int = 100, queue: str = "queue") -> list[int]:
    return [timer.subject for timer in outbox.take_due(tx, queue, now_ms, most)]


def test_a_timer_is_taken_as_it_was_set(tx: Tx) -> None:
    set_timer(tx, 5, subject=7, kind=TimerKind.ORIGINATE, account="mine", data='["₦"]')
    (timer,) = outbox.take_due(tx, "queue", 5, 1)
    assert (timer.due_ms, timer.kind, timer.queue, timer.account, timer.subject, timer.data) == (
        5,
        TimerKind.ORIGINATE,
        "queue",
        "mine",
        7,
        '["₦"]',
    )


def test_timers_are_taken_earliest_first_and_then_as_they_were_set(tx: Tx) -> None:
    for subject, due_ms in ((1, 30), (2, 10), (3, 20), (4, 10)):
        set_timer(tx, due_ms, subject)
    assert subjects_taken(tx, 100) == [2, 4, 3, 1]


def test_a_timer_is_taken_at_its_moment_and_not_before(tx: Tx) -> None:
    set_timer(tx, 10)
    assert (subjects_taken(tx, 9), subjects_taken(tx, 10)) == ([], [1])


def test_a_timer_is_taken_once(tx: Tx) -> None:
    set_timer(tx, 10)
    assert (subjects_taken(tx, 10), subjects_taken(tx, 10)) == ([1], [])


def test_no_more_timers_are_taken_than_asked_for(tx: Tx) -> None:
    for subject in range(5):
        set_timer(tx, 10, subject)
    assert subjects_taken(tx, 10, most=2) == [0, 1]


def test_timers_of_another_queue_are_left(tx: Tx) -> None:
    set_timer(tx, 10, queue="another")
    assert subjects_taken(tx, 10) == []


def test_setting_a_timer_announces_it(tx: Tx) -> None:
    set_timer(tx, 10)
    assert tx.due == [Due("queue", 10)]


def test_taking_timers_announces_when_the_next_one_is(tx: Tx) -> None:
    for due_ms in (10, 20, 30):
        set_timer(tx, due_ms)
    outbox.take_due(tx, "queue", 10, 1)
    assert tx.due[-1] == Due("queue", 20, exact=True)


def test_taking_the_last_timer_announces_that_there_is_none(tx: Tx) -> None:
    set_timer(tx, 10)
    outbox.take_due(tx, "queue", 10, 1)
    assert tx.due[-1] == Due("queue", None, exact=True)


def test_each_queue_has_the_moment_of_its_earliest_timer(tx: Tx) -> None:
    for due_ms, queue in ((30, "a"), (10, "a"), (20, "b")):
        set_timer(tx, due_ms, queue=queue)
    assert sorted(outbox.queues(tx)) == [("a", 10), ("b", 20)]


def test_what_is_due_next_is_shown_earliest_first(tx: Tx) -> None:
    for subject, due_ms in ((1, 30), (2, 10), (3, 20)):
        set_timer(tx, due_ms, subject, queue=f"queue {subject}")
    assert [timer.subject for timer in outbox.timers(tx, limit=2)] == [2, 3]


def test_dropping_timers_leaves_those_of_other_subjects_and_kinds(tx: Tx) -> None:
    set_timer(tx, 10, 1)
    set_timer(tx, 20, 2)
    set_timer(tx, 30, 1, kind=TimerKind.WEBHOOK_MANUAL)
    outbox.drop_timers(tx, 1, TimerKind.WEBHOOK)
    assert [(timer.subject, timer.kind) for timer in outbox.timers(tx)] == [
        (2, TimerKind.WEBHOOK),
        (1, TimerKind.WEBHOOK_MANUAL),
    ]


@pytest.mark.parametrize(
    ("subject", "kind", "found"),
    [(1, TimerKind.WEBHOOK, True), (2, TimerKind.WEBHOOK, False), (1, TimerKind.WEBHOOK_MANUAL, False)],
)
def test_a_timer_is_found_by_subject_and_kind(tx: Tx, subject: int, kind: TimerKind, found: bool) -> None:
    set_timer(tx, 10, 1)
    assert outbox.has_timer(tx, subject, kind) is found


# Claims ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.RETRYING])
def test_what_is_due_is_claimed_once(tx: Tx, state: DeliveryState) -> None:
    outbox.insert(tx, replace(DELIVERY, state=state, next_attempt_ms=100))
    assert outbox.claim(tx, DELIVERY.seq, 99, ordered=False) is None
    claimed = outbox.claim(tx, DELIVERY.seq, 100, ordered=False)
    assert claimed == replace(DELIVERY, state=DeliveryState.IN_FLIGHT, next_attempt_ms=None, attempts=1)
    assert claimed == outbox.get(tx, DELIVERY.seq)
    assert outbox.claim(tx, DELIVERY.seq, 100, ordered=False) is None


@pytest.mark.parametrize("state", CLOSED_STATES)
def test_what_has_ended_is_not_claimed(tx: Tx, state: DeliveryState) -> None:
    outbox.insert(tx, replace(DELIVERY, state=state))
    assert outbox.claim(tx, DELIVERY.seq, 2**50, ordered=False) is None


def test_in_order_only_the_oldest_that_is_open_in_its_conversation_is_claimed(tx: Tx) -> None:
    for seq in (1, 2):
        outbox.insert(tx, replace(DELIVERY, seq=seq))
    assert outbox.claim(tx, 2, 2**50, ordered=True) is None
    assert outbox.claim(tx, 1, 2**50, ordered=True) is not None
    assert outbox.claim(tx, 2, 2**50, ordered=True) is None
    assert outbox.claim(tx, 2, 2**50, ordered=False) is not None


def test_an_attempt_by_hand_is_counted_and_leaves_the_rest_as_it_is(tx: Tx) -> None:
    outbox.insert(tx, DELIVERY)
    assert outbox.count_manual(tx, DELIVERY.seq) == replace(DELIVERY, attempts=1) == outbox.get(tx, DELIVERY.seq)
    assert outbox.count_manual(tx, DELIVERY.seq + 1) is None


# The backlog -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "backlog"), [(4, 4), (5, 5), (6, 5)])
def test_planned_texts_are_a_backlog(tx: Tx, most: int, backlog: int) -> None:
    for subject in range(5):
        set_timer(tx, 10, subject, kind=TimerKind.ORIGINATE)
    assert outbox.backlog(tx, most) == backlog


@pytest.mark.parametrize(("most", "backlog"), [(4, 4), (5, 5), (6, 5)])
def test_open_webhook_deliveries_are_a_backlog(tx: Tx, most: int, backlog: int) -> None:
    for seq in range(1, 6):
        outbox.insert(tx, replace(DELIVERY, seq=seq))
    assert outbox.backlog(tx, most) == backlog


def test_planned_texts_and_webhooks_that_are_due_are_one_backlog_and_a_retry_counts_once(tx: Tx) -> None:
    for seq, state in enumerate((DeliveryState.PENDING, DeliveryState.IN_FLIGHT, DeliveryState.RETRYING), start=1):
        outbox.insert(tx, replace(DELIVERY, seq=seq, state=state))
    set_timer(tx, 10, 3)
    set_timer(tx, 10, 4, kind=TimerKind.ORIGINATE)
    set_timer(tx, 10, 5, kind=TimerKind.ORIGINATE)
    assert outbox.backlog(tx, 9) == 4  # what is under way waits no longer


@pytest.mark.parametrize("state", CLOSED_STATES)
def test_what_has_ended_is_no_backlog(tx: Tx, state: DeliveryState) -> None:
    outbox.insert(tx, replace(DELIVERY, state=state))
    assert outbox.backlog(tx, 1) == 0
