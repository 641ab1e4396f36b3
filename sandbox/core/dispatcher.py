"""State machine of a webhook delivery.

Three transactions: P0 creates it with its frozen body, beside its message (`create_delivery`), P1 starts an
attempt (`begin`), P2 records the outcome and plans what follows (`_record`). See webhooks/poster.py for the POST,
rules/retry.py for what follows it.
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
    Drop,
    EventType,
    FaultOn,
    Message,
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
from sandbox.store.database import Database, Dropped, Tx
from sandbox.webhooks.poster import Poster
from sandbox.wire.credentials import callback_authorization
from sandbox.wire.problems import WITHHELD
from sandbox.wire.requests import decode_json
from sandbox.wire.text import measure

log = logging.getLogger(__name__)

RateLimit = Callable[[str, Callable[[float | None], float | None]], None]


def queue_of(url: str) -> str:
    """The queue of a webhook: one for each host and port, so that a hanging host delays no other."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"webhook {(parts.hostname or '').lower()}:{port}"


def create_delivery(
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
    """P0: create a webhook delivery of `body` to `url`, first attempt due now, or so much later.

    Where a conversation's webhook deliveries wait for the one before, one that is held holds back those after it.
    """
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
        next_attempt_ms=at_ms + hold_ms,
        redelivery_of=redelivery_of,
        edited=edited,
    )
    outbox.insert(tx, delivery)
    _schedule(tx, delivery, at_ms + hold_ms, now_ms=at_ms)
    return delivery


def duplicate(tx: Tx, delivery: WebhookDelivery, message: Message, at_ms: int) -> WebhookDelivery:
    """Create another webhook delivery of the same bytes, due together with the first and attempted on its own: what a
    network does that delivers at least once. The message goes on to show the state of the first."""
    seq = journal.record(
        tx, EventType.DELIVERY_REDELIVERED, at_ms=at_ms, account=message.account, msisdn=message.msisdn
    )
    return create_delivery(
        tx,
        message,
        seq=seq,
        url=delivery.url,
        body=delivery.body,
        at_ms=at_ms,
        redelivery_of=delivery.seq,
        hold_ms=(delivery.next_attempt_ms or at_ms) - at_ms,
    )


def _schedule(tx: Tx, delivery: WebhookDelivery, due_ms: int, *, now_ms: int) -> None:
    """Plan a scheduled attempt. One that is due now needs no row: a start finds every webhook delivery that is open."""
    timer = _timer(delivery, due_ms, TimerKind.WEBHOOK)
    if due_ms <= now_ms:
        tx.due.append(timer)
    else:
        outbox.set_timer(tx, timer)


def _timer(delivery: WebhookDelivery, due_ms: int, kind: TimerKind) -> Timer:
    return Timer(due_ms=due_ms, kind=kind, queue=queue_of(delivery.url), account=delivery.account, subject=delivery.seq)


def _unschedule(tx: Tx, seq: int) -> None:
    outbox.drop_timers(tx, seq, TimerKind.WEBHOOK)
    tx.due.append(Dropped(subject=seq))


def attempt_now(tx: Tx, delivery: WebhookDelivery, at_ms: int) -> None:
    """Ask for one attempt beside the schedule; it uses up no retry. Its row is what knows that it was asked for."""
    outbox.set_timer(tx, _timer(delivery, at_ms, TimerKind.WEBHOOK_MANUAL))


def redeliver(
    tx: Tx, delivery: WebhookDelivery, message: Message, account: Account, at_ms: int, edited: bytes | None = None
) -> WebhookDelivery:
    """Create a webhook delivery of the same bytes, or of those that somebody wrote instead, to the account's present
    client_url. What repeats bytes that were edited is edited too."""
    seq = journal.record(tx, EventType.DELIVERY_REDELIVERED, at_ms=at_ms, account=account.name, msisdn=message.msisdn)
    messages.set_delivery(tx, message.seq, seq)
    return create_delivery(
        tx,
        message,
        seq=seq,
        url=account.client_url or delivery.url,
        body=delivery.body if edited is None else edited,
        at_ms=at_ms,
        redelivery_of=delivery.seq,
        edited=delivery.edited or edited is not None,
    )


def cancel(tx: Tx, delivery: WebhookDelivery, account: Account | None, at_ms: int) -> None:
    """Attempt it no more. An attempt under way goes on, and is recorded without changing the state; one that waits for
    room, though somebody asked for it, is not made."""
    _unschedule(tx, delivery.seq)
    outbox.drop_timers(tx, delivery.seq, TimerKind.WEBHOOK_MANUAL)
    _set_state(tx, delivery, DeliveryState.CANCELLED)
    _record_event(tx, EventType.DELIVERY_CANCELLED, delivery, at_ms)
    _release_next(tx, delivery, account, at_ms)


def _record_event(tx: Tx, kind: EventType, delivery: WebhookDelivery, at_ms: int) -> None:
    journal.record(tx, kind, at_ms=at_ms, account=delivery.account, subject=delivery.seq, msisdn=delivery.msisdn)


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


def _release_next(tx: Tx, done: WebhookDelivery, account: Account | None, at_ms: int) -> None:
    """Where the order is by conversation, the next webhook delivery waits without a timer; its turn has come."""
    if account is None or account.order is Order.FREE:
        return
    waiting = outbox.next_open(tx, done)
    if waiting is not None and waiting.state is not DeliveryState.IN_FLIGHT:
        _resume(tx, waiting, at_ms)


def release_all(tx: Tx, account: str, at_ms: int) -> None:
    """The order of an account is free from now on: nothing waits for its turn any more."""
    for delivery in outbox.open_deliveries(tx, account):
        if delivery.state is not DeliveryState.IN_FLIGHT:
            _resume(tx, delivery, at_ms)


def _resume(tx: Tx, delivery: WebhookDelivery, at_ms: int) -> None:
    """Let an open webhook delivery that has no timer be due now."""
    if not outbox.has_timer(tx, delivery.seq, TimerKind.WEBHOOK):
        _schedule(tx, delivery, at_ms, now_ms=at_ms)


def recover(tx: Tx, accounts: Mapping[str, Account], at_ms: int) -> None:
    """At start: what a crash cut off is marked `interrupted`, and every open webhook delivery is due again.

    Neither an interrupted attempt nor the time that nothing ran uses up a retry (`retry.taken_up`); the application may
    see the bytes of an interrupted attempt twice.
    """
    interrupted = Outcome(
        kind=OutcomeKind.INTERRUPTED,
        duration_ms=0,
        error="The sandbox stopped before the outcome was known. The application may have received this attempt.",
    )
    for seq, number in outbox.attempts_under_way(tx):
        outbox.end_attempt(tx, seq, number, interrupted, ())
        delivery = outbox.get(tx, seq)
        if delivery is not None:
            _record_event(tx, EventType.ATTEMPT_MADE, delivery, at_ms)
    for delivery in outbox.open_deliveries(tx):
        is_cut_off = delivery.state is DeliveryState.IN_FLIGHT
        if is_cut_off:
            again = DeliveryState.PENDING if delivery.first_failed_ms is None else DeliveryState.RETRYING
            _set_state(tx, delivery, again, next_attempt_ms=at_ms)
        _resume(tx, delivery, at_ms)
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
        rate_limit: RateLimit,
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._faults = faults
        self._poster = poster
        self._rate_limit = rate_limit

    def begin(self, tx: Tx, timer: Timer) -> Job | None:
        """P1: claim the webhook delivery and begin an attempt. The job that is returned makes and records it."""
        account = self._accounts.get(timer.account)
        if account is None:
            return None
        now_ms = self._clock.now_ms()
        if timer.kind is TimerKind.WEBHOOK_MANUAL:  # it leaves the state as it is, until it succeeds
            trigger, delivery = Trigger.MANUAL, outbox.count_manual(tx, timer.subject)
        else:  # one that waits for its turn gets another timer by `_release_next`
            ordered = account.order is Order.CONVERSATION
            trigger, delivery = Trigger.SCHEDULED, outbox.claim(tx, timer.subject, now_ms, ordered=ordered)
        if delivery is None:
            return None
        first_failed_ms = now_ms if delivery.first_failed_ms is None else delivery.first_failed_ms
        attempt = Attempt(
            delivery_seq=delivery.seq,
            number=delivery.attempts,
            trigger=trigger,
            started_ms=now_ms,
            offset_ms=max(0, now_ms - first_failed_ms),
        )
        outbox.begin_attempt(tx, attempt)
        _record_event(tx, EventType.ATTEMPT_BEGUN, delivery, now_ms)
        message = messages.get(tx, delivery.message_seq) if account.name in self._faults.webhook else None
        # user name and password belong to the URL that is posted to, which need not be the account's present one
        authorization = callback_authorization(replace(account, client_url=delivery.url))
        return partial(self._attempt, delivery, message, attempt, authorization)

    async def _attempt(
        self, delivery: WebhookDelivery, message: Message | None, attempt: Attempt, authorization: str | None
    ) -> FinishStep | None:
        use = None
        if message is not None:  # a fault is taken before anything is awaited: in the order in which attempts begin
            use = self._faults.take(FaultOn.WEBHOOK, delivery.account, partial(_as_posted, message, delivery))
        post = partial(self._poster.post, delivery.url, delivery.body, authorization)
        outcome = await post() if use is None else await _struck(use, post)
        if outcome is None:  # there is nobody left to post to, or the next start takes it up again
            return None
        self._rate_limit(queue_of(delivery.url), partial(retry.throttle, outcome=outcome))
        return partial(self._end, delivery, attempt, outcome, use)

    async def _end(self, delivery: WebhookDelivery, attempt: Attempt, outcome: Outcome, use: Use | None) -> None:
        """Record an outcome. The queue has room by now, so that the next attempt can begin in the same commit."""
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
                _unschedule(tx, delivery.seq)
                _set_state(tx, delivery, DeliveryState.DELIVERED)
                _release_next(tx, delivery, account, now_ms)
        elif delivery.state is DeliveryState.IN_FLIGHT:
            self._follow(tx, delivery, account, outcome, now_ms)
        _record_event(tx, EventType.ATTEMPT_MADE, delivery, now_ms)

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
            _schedule(tx, delivery, decision.next_attempt_ms, now_ms=now_ms)
        else:
            _release_next(tx, delivery, account, now_ms)


def _as_posted(message: Message, delivery: WebhookDelivery) -> Message:
    """The MO message of a webhook delivery; with what its body still says, if somebody edited that."""
    if not delivery.edited:
        return message
    try:
        value = decode_json(delivery.body)
    except ValueError:
        value = None
    said = {key: each for key, each in value.items() if isinstance(each, str)} if isinstance(value, dict) else {}
    measured = measure(said.get("message", ""))
    return replace(
        message,
        text=said.get("message", ""),
        session_id=said.get("session_id", ""),
        ref_id=said.get("ref_id"),
        telco=said.get("telco", ""),
        encoding=measured.encoding,
        segments=measured.segments,
    )


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
