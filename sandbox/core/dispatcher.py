"""The postman's round: a webhook delivery is owed, attempted, recorded, and either done or due again.

Three commits each: P0 the message with its delivery and frozen body (`owe`, in the caller's transaction), P1 the
attempt begun (`begin`), P2 its outcome with what follows (`_record`). How a POST is made is poster.py's affair, what
follows it retry.py's.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import assert_never
from urllib.parse import urlsplit

from sandbox.clock import Clock, stopwatch
from sandbox.core.accounts import AccountCache
from sandbox.core.faults import LiveFaults, Use, problem_of
from sandbox.core.scheduler import AGAIN_S, FinishStep, Job
from sandbox.errors import StorageError
from sandbox.model import (
    Account,
    Attempt,
    DeliveryState,
    Direction,
    Drop,
    EventType,
    FaultOn,
    Message,
    MessageState,
    Order,
    Outcome,
    OutcomeKind,
    Timer,
    TimerKind,
    Trigger,
    WebhookDelivery,
)
from sandbox.rules import retry
from sandbox.store import journal, messages, outbox
from sandbox.store.database import Database, Tx
from sandbox.webhooks.poster import Poster
from sandbox.wire.credentials import callback_authorization
from sandbox.wire.problems import WITHHELD
from sandbox.wire.requests import decode_json
from sandbox.wire.text import measure

log = logging.getLogger(__name__)

RateLimit = Callable[[str, Callable[[float | None], float | None]], None]


def lane_of(url: str) -> str:
    """The lane of a webhook: one for each host and port, so that a hanging host delays no other."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"webhook {(parts.hostname or '').lower()}:{port}"


def owe(
    tx: Tx,
    message: Message,
    *,
    seq: int,
    url: str,
    body: bytes,
    at_ms: int,
    redelivery_of: int | None = None,
    edited: bool = False,
    hold_ms: int = 0,
) -> WebhookDelivery:
    """P0: write down that `body` is owed to `url`, first attempt due now, or so much later.

    Where a conversation's webhook deliveries wait for the one before, one that is held holds back those after it.
    """
    due_ms = at_ms + hold_ms
    delivery = WebhookDelivery(
        seq=seq,
        message_seq=message.seq,
        account=message.account,
        msisdn=message.msisdn,
        shortcode=message.shortcode,
        url=url,
        body=body,
        state=DeliveryState.PENDING,
        created_ms=at_ms,
        next_attempt_ms=due_ms,
        redelivery_of=redelivery_of,
        edited=edited,
    )
    outbox.insert(tx, delivery)
    _schedule(tx, delivery, due_ms)
    return delivery


def duplicate(tx: Tx, delivery: WebhookDelivery, message: Message, at_ms: int) -> WebhookDelivery:
    """Owe the same bytes once more, due together with the first and attempted on its own: what a network does that
    delivers at least once. The message goes on to show the state of the first."""
    seq = journal.record(
        tx, EventType.DELIVERY_REDELIVERED, at_ms=at_ms, account=message.account, msisdn=message.msisdn
    )
    return owe(
        tx,
        message,
        seq=seq,
        url=delivery.url,
        body=delivery.body,
        at_ms=at_ms,
        redelivery_of=delivery.seq,
        hold_ms=(delivery.next_attempt_ms or at_ms) - at_ms,
    )


def _schedule(tx: Tx, delivery: WebhookDelivery, due_ms: int, kind: TimerKind = TimerKind.WEBHOOK) -> None:
    outbox.set_timer(
        tx, due_ms=due_ms, kind=kind, lane=lane_of(delivery.url), account=delivery.account, subject=delivery.seq
    )


def attempt_now(tx: Tx, delivery: WebhookDelivery, at_ms: int) -> None:
    """Ask for one attempt beside the schedule; it uses up no retry."""
    _schedule(tx, delivery, at_ms, TimerKind.WEBHOOK_MANUAL)


def redeliver(
    tx: Tx, delivery: WebhookDelivery, message: Message, account: Account, at_ms: int, edited: bytes | None = None
) -> WebhookDelivery:
    """Owe the same bytes again, or those that somebody wrote instead, as a new webhook delivery to the account's
    present client_url. What repeats bytes that were edited is edited too."""
    seq = journal.record(tx, EventType.DELIVERY_REDELIVERED, at_ms=at_ms, account=account.name, msisdn=message.msisdn)
    messages.set_delivery(tx, message.seq, seq)
    return owe(
        tx,
        message,
        seq=seq,
        url=account.client_url or delivery.url,
        body=delivery.body if edited is None else edited,
        at_ms=at_ms,
        redelivery_of=delivery.seq,
        edited=delivery.edited or edited is not None,
    )


def cancel(tx: Tx, delivery: WebhookDelivery, at_ms: int) -> None:
    """Owe nothing more. An attempt under way goes on, and is recorded without changing the state; one that waits for
    room, though somebody asked for it, is not made."""
    outbox.drop_timers(tx, delivery.seq, TimerKind.WEBHOOK)
    outbox.drop_timers(tx, delivery.seq, TimerKind.WEBHOOK_MANUAL)
    _set_state(tx, delivery, DeliveryState.CANCELLED)
    journal.record(
        tx,
        EventType.DELIVERY_CANCELLED,
        at_ms=at_ms,
        account=delivery.account,
        subject=delivery.seq,
        msisdn=delivery.msisdn,
    )
    _release_next(tx, delivery, at_ms)


def _set_state(
    tx: Tx,
    delivery: WebhookDelivery,
    state: DeliveryState,
    *,
    next_attempt_ms: int | None = None,
    first_failed_ms: int | None = None,
    retries_used: int | None = None,
) -> None:
    outbox.update(
        tx,
        delivery.seq,
        state=state,
        attempts=delivery.attempts,
        retries_used=delivery.retries_used if retries_used is None else retries_used,
        first_failed_ms=delivery.first_failed_ms if first_failed_ms is None else first_failed_ms,
        next_attempt_ms=next_attempt_ms,
    )


def _release_next(tx: Tx, done: WebhookDelivery, at_ms: int) -> None:
    """In an ordered conversation the next webhook delivery waits without a timer; its turn has come."""
    waiting = outbox.next_open(tx, done)
    if waiting is None or waiting.state is DeliveryState.IN_FLIGHT:
        return
    if not outbox.has_timer(tx, waiting.seq, TimerKind.WEBHOOK):
        _schedule(tx, waiting, at_ms)


def recover(tx: Tx, accounts: Mapping[str, Account], at_ms: int) -> int:
    """At start: what a crash cut off is marked `interrupted`, and whatever is owed is due again.

    Neither an interrupted attempt nor the time that nothing ran uses up a retry (`retry.taken_up`); the application may
    see the bytes of an interrupted attempt twice. Returns how many were cut off.
    """
    interrupted = Outcome(
        kind=OutcomeKind.INTERRUPTED,
        duration_ms=0,
        error="The sandbox stopped before the outcome was known. The application may have received this attempt.",
    )
    cut_off = outbox.attempts_under_way(tx)
    for seq, number in cut_off:
        outbox.end_attempt(tx, seq, number, interrupted, ())
        delivery = outbox.get(tx, seq)
        if delivery is not None:
            journal.record(
                tx,
                EventType.ATTEMPT_MADE,
                at_ms=at_ms,
                account=delivery.account,
                subject=seq,
                msisdn=delivery.msisdn,
            )
    for delivery in outbox.open_deliveries(tx):
        is_cut_off = delivery.state is DeliveryState.IN_FLIGHT
        if is_cut_off:
            again = DeliveryState.PENDING if delivery.first_failed_ms is None else DeliveryState.RETRYING
            _set_state(tx, delivery, again, next_attempt_ms=at_ms)
        if not outbox.has_timer(tx, delivery.seq, TimerKind.WEBHOOK):
            _schedule(tx, delivery, at_ms)
        account, due_ms = accounts.get(delivery.account), delivery.next_attempt_ms
        if account is None or delivery.first_failed_ms is None:
            continue
        if is_cut_off or (due_ms is not None and due_ms < at_ms):
            retries_used, put_off_ms = retry.taken_up(
                schedule_s=account.retry_s,
                retries_used=delivery.retries_used,
                first_failed_ms=delivery.first_failed_ms,
                now_ms=at_ms,
                again=delivery.taken_up,
            )
            outbox.take_up(tx, delivery.seq, retries_used=retries_used, put_off_ms=put_off_ms)
    return len(cut_off)


class Dispatcher:
    """Makes the attempts that timers ask for."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        accounts: AccountCache,
        faults: LiveFaults,
        poster: Poster,
        *,
        pace: RateLimit,
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._faults = faults
        self._poster = poster
        self._pace = pace

    def begin(self, tx: Tx, timer: Timer) -> Job | None:
        """P1: claim the webhook delivery and begin an attempt. The job that is returned makes and records it."""
        delivery = outbox.get(tx, timer.subject)
        account = self._accounts.get(timer.account)
        if delivery is None or account is None:
            return None
        trigger = Trigger.MANUAL if timer.kind is TimerKind.WEBHOOK_MANUAL else Trigger.SCHEDULED
        now_ms = self._clock.now_ms()
        delivery = replace(delivery, attempts=delivery.attempts + 1)
        if trigger is Trigger.SCHEDULED:
            if delivery.state not in (DeliveryState.PENDING, DeliveryState.RETRYING):
                return None
            if account.order is Order.CONVERSATION and outbox.open_before(tx, delivery):
                return None  # `_release_next` sets its timer when its turn has come
            _set_state(tx, delivery, DeliveryState.IN_FLIGHT)
        else:  # an attempt beside the schedule leaves the state as it is, until it succeeds
            _set_state(tx, delivery, delivery.state, next_attempt_ms=delivery.next_attempt_ms)
        first_failed_ms = now_ms if delivery.first_failed_ms is None else delivery.first_failed_ms
        attempt = Attempt(
            delivery_seq=delivery.seq,
            number=delivery.attempts,
            trigger=trigger,
            started_ms=now_ms,
            offset_ms=max(0, now_ms - first_failed_ms),
        )
        outbox.begin_attempt(tx, attempt)
        self._tell(tx, EventType.ATTEMPT_BEGUN, delivery, now_ms)
        # user name and password belong to the URL that is posted to, which need not be the account's present one
        authorization = callback_authorization(replace(account, client_url=delivery.url))
        return partial(self._attempt, delivery, attempt, authorization)

    async def _attempt(
        self, delivery: WebhookDelivery, attempt: Attempt, authorization: str | None
    ) -> FinishStep | None:
        use = None
        if delivery.account in self._faults.webhook:
            use = self._faults.take(FaultOn.WEBHOOK, delivery.account, partial(_message, delivery))
        post = partial(self._poster.post, delivery.url, delivery.body, authorization)
        outcome = await post() if use is None else await _struck(use, post)
        if outcome is None:  # there is nobody left to post to, or the next start takes it up again
            return None
        self._pace(lane_of(delivery.url), partial(retry.throttle, outcome=outcome))
        return partial(self._end, delivery, attempt, outcome, use)

    async def _end(self, delivery: WebhookDelivery, attempt: Attempt, outcome: Outcome, use: Use | None) -> None:
        """Record an outcome. The lane is free by now, so that the next attempt can begin in the same commit."""
        while True:
            try:
                await self._database.write(partial(self._record, attempt, outcome, use, delivery.state))
                return
            except StorageError as error:
                log.error("The outcome of attempt %d of w%d has to wait: %s", attempt.number, delivery.seq, error)
                await self._clock.pause(AGAIN_S)

    def _record(self, attempt: Attempt, outcome: Outcome, use: Use | None, before: DeliveryState, tx: Tx) -> None:
        """P2: the outcome, the state that follows, and the next timer if one follows. `before`: the state at P1."""
        now_ms = self._clock.now_ms()
        if use is not None:
            self._faults.count(tx, use, now_ms)
        delivery = outbox.get(tx, attempt.delivery_seq)
        account = None if delivery is None else self._accounts.get(delivery.account)
        if delivery is None or account is None:  # a reset took them meanwhile
            return
        warnings = retry.warnings(outcome)
        if use is not None:
            why = _why(use)
            if why != outcome.error:  # that the attempt ended so says nothing of the fault
                warnings = (why, *warnings)
        outbox.end_attempt(tx, delivery.seq, attempt.number, outcome, warnings)
        if attempt.trigger is Trigger.MANUAL:
            cancelled_meanwhile = delivery.state is DeliveryState.CANCELLED is not before
            if retry.is_success(outcome) and delivery.state is not DeliveryState.DELIVERED and not cancelled_meanwhile:
                outbox.drop_timers(tx, delivery.seq, TimerKind.WEBHOOK)
                _set_state(tx, delivery, DeliveryState.DELIVERED)
                _release_next(tx, delivery, now_ms)
        elif delivery.state is DeliveryState.IN_FLIGHT:
            self._follow(tx, delivery, account, outcome, now_ms)
        self._tell(tx, EventType.ATTEMPT_MADE, delivery, now_ms)

    def _follow(self, tx: Tx, delivery: WebhookDelivery, account: Account, outcome: Outcome, now_ms: int) -> None:
        first_failed_ms = now_ms if delivery.first_failed_ms is None else delivery.first_failed_ms
        decision = retry.decide(
            outcome,
            schedule_s=account.retry_s,
            retries_used=delivery.retries_used,
            first_failed_ms=first_failed_ms,
            put_off_ms=delivery.put_off_ms,
            now_ms=now_ms,
        )
        _set_state(
            tx,
            delivery,
            decision.state,
            next_attempt_ms=decision.next_attempt_ms,
            first_failed_ms=None if decision.state is DeliveryState.DELIVERED else first_failed_ms,
            retries_used=delivery.retries_used + (decision.state is DeliveryState.RETRYING),
        )
        if delivery.taken_up:
            outbox.taken_up_is_over(tx, delivery.seq)
        if decision.next_attempt_ms is not None:
            _schedule(tx, delivery, decision.next_attempt_ms)
        else:  # whatever the order is by now: one that waits for its turn must not wait for ever
            _release_next(tx, delivery, now_ms)

    def _tell(self, tx: Tx, news: EventType, delivery: WebhookDelivery, at_ms: int) -> None:
        journal.record(tx, news, at_ms=at_ms, account=delivery.account, subject=delivery.seq, msisdn=delivery.msisdn)


def _message(delivery: WebhookDelivery) -> Message:
    """The MO message of a webhook delivery, from its frozen body: a fault is taken at once, without a look into the
    store, so that attempts are struck in the order in which they begin. Of an edited body, what it still says."""
    body = _values(delivery.body)
    text = body.get("message", "")
    measured = measure(text)
    return Message(
        seq=delivery.message_seq,
        account=delivery.account,
        direction=Direction.MO,
        msisdn=delivery.msisdn,
        shortcode=delivery.shortcode,
        text=text,
        session_id=body.get("session_id", ""),
        ref_id=body.get("ref_id"),
        sent_date=body.get("sent_date", ""),
        at_ms=delivery.created_ms,
        telco=body.get("telco", ""),
        encoding=measured.encoding,
        segments=measured.segments,
        state=MessageState.ROUTED,
        delivery_seq=delivery.seq,
    )


def _values(body: bytes) -> Mapping[str, str]:
    """The strings in the object that a body is; none if it is no object."""
    try:
        value = decode_json(body)
    except ValueError:
        return {}
    return {key: each for key, each in value.items() if isinstance(each, str)} if isinstance(value, dict) else {}


async def _struck(use: Use, post: Callable[[], Awaitable[Outcome]]) -> Outcome | None:
    """What comes of an attempt that a fault strikes; None if its webhook delivery is gone, or the sandbox stops."""
    begun = stopwatch()
    effect = use.fault.effect
    if effect.delay_s and not effect.hold and not await use.wait():  # a hold would wait for ever, and the clock with it
        return None
    late_ms = (stopwatch() - begun) * 1000
    struck = partial(Outcome, fault_seq=use.fault.seq)
    withheld = partial(struck, duration_ms=late_ms, withheld=True)
    if effect.hold:
        return withheld(kind=OutcomeKind.TIMED_OUT, error=_why(use))
    if effect.status is not None:
        return withheld(kind=OutcomeKind.ANSWERED, status_code=effect.status, body=(effect.body or "").encode())
    if effect.drop is Drop.REFUSED:
        return withheld(kind=OutcomeKind.UNREACHABLE, error=_why(use))
    outcome = replace(await post(), fault_seq=use.fault.seq)
    if effect.drop is not None and outcome.kind is OutcomeKind.ANSWERED:
        return struck(kind=OutcomeKind.BROKEN, duration_ms=outcome.duration_ms, error=_why(use))
    return outcome


def _why(use: Use) -> str:
    """That a fault did it, and what it did to the attempt."""
    effect = use.fault.effect
    after = f" after {effect.delay_s:g} s" if effect.delay_s else ""
    if effect.hold:
        what = f"it counts as timed out at once, without a wait, and {WITHHELD}"
    elif effect.status is not None:
        what = f"{effect.status} counts as answered{after}, and {WITHHELD}"
    else:
        match effect.drop:
            case None:
                what = f"it was posted{after}"
            case Drop.REFUSED:
                what = f"the connection was refused{after}, and {WITHHELD}"
            case Drop.ACCEPTED | Drop.BODY:
                what = f"it was posted{after}, and whatever was answered is lost"
            case _:
                assert_never(effect.drop)
    return problem_of(use.fault, what).message
