"""The postman's round with everything real but the time: database, scheduler, HTTP client, and receivers on sockets.

Nothing waits for an hour: the clock is virtual, and receivers note the virtual moment at which they got a POST.
"""

import asyncio
import base64
import contextlib
import functools
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import server
from sandbox.clock import Clock
from sandbox.core.control import TextResult
from sandbox.core.dispatcher import queue_of
from sandbox.core.services import Services
from sandbox.errors import Conflict, NotFound, StorageError
from sandbox.model import (
    Account,
    Attempt,
    CallbackAuth,
    DeliveryState,
    MessageState,
    Msisdn,
    MsisdnFormat,
    Order,
    Outcome,
    OutcomeKind,
    Shortcode,
    TextRequest,
    Trigger,
    WebhookDelivery,
)
from sandbox.settings import DEFAULT_ACCOUNT, RETRY_PRESETS, Settings
from sandbox.store import journal, outbox

P = ParamSpec("P")

ADA, BEN, CHI = Msisdn("2348020000000"), Msisdn("2347030000000"), Msisdn("2348050000000")
OWN_PORT = 2081


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping does not wait for receivers that hang."""
    monkeypatch.setattr(server, "STOP_GRACE_S", 0.01)


# Receivers ---------------------------------------------------------------------------------------------------------


def answer(status_code: int, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status_code} Some Reason", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


OK = answer(200)
HANG = b""  # no answer, and the connection stays open
CUT = b"-"  # no answer, and the connection is closed


@dataclass
class Got:
    """One POST as a receiver got it."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_ms: int


@dataclass
class Receiver:
    """An application's HTTP server: notes what it gets and answers with `answers` in turn, then with `then`."""

    clock: Clock = field(default_factory=Clock.virtual)
    answers: list[bytes] = field(default_factory=list)
    then: bytes = OK
    got: list[Got] = field(default_factory=list)
    port: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/sms"

    @property
    def bodies(self) -> list[bytes]:
        return [got.body for got in self.got]

    async def until(self, count: int) -> None:
        """Return when so many POSTs came."""
        while len(self.got) < count:
            self._news.clear()
            await self._news.wait()

    def release(self) -> None:
        """Answer what hangs."""
        self._released.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append(Got(first.split()[1], headers, body, self.clock.now_ms()))
        told = self.answers.pop(0) if self.answers else self.then
        self._news.set()
        if told == CUT:
            return False
        if told == HANG:
            await self._released.wait()
            told = OK
        writer.write(told)
        return True


@asynccontextmanager
async def receiving(then: bytes = OK, *answers: bytes) -> AsyncIterator[Receiver]:
    receiver = Receiver(answers=list(answers), then=then)
    listening = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = listening.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.release()
        listening.close()


# Services without HTTP ---------------------------------------------------------------------------------------------


@dataclass
class Play:
    """A sandbox, and the words that the tests tell their stories in."""

    services: Services
    begun_ms: int

    def account(self, name: str = "default") -> Account:
        found = self.services.accounts.get(name)
        assert found is not None
        return found

    async def change(self, **changes: Any) -> None:
        await self.services.control.change_account("default", lambda present: replace(present, **changes))

    async def text(
        self, text: str = "Yesterday", msisdn: Msisdn = ADA, *, account: str = "default", wait_s: float | None = 20
    ) -> TextResult:
        texting = TextRequest(account=account, msisdn=msisdn, text=text, shortcode=Shortcode("48974"), new=True)
        return await self.services.control.text(texting, wait_s=wait_s)

    async def owe(self, text: str = "Yesterday", msisdn: Msisdn = ADA, *, wait: bool = True) -> int:
        """Text, and give the number of the webhook delivery; with `wait`, its first attempt has ended."""
        texted = await self.text(text, msisdn, wait_s=20 if wait else None)
        assert texted.delivery is not None
        return texted.delivery.seq

    async def advance(self, seconds: float) -> None:
        await self.services.control.advance(round(seconds * 1000))

    async def delivery(self, seq: int) -> WebhookDelivery:
        found = await self.services.database.read(lambda db: outbox.get(db, seq))
        assert found is not None
        return found

    async def state(self, seq: int) -> DeliveryState:
        return (await self.delivery(seq)).state

    async def attempts(self, seq: int) -> Sequence[Attempt]:
        return await self.services.database.read(lambda db: outbox.attempts(db, seq))

    async def kinds(self, seq: int) -> list[OutcomeKind | None]:
        return [each.outcome.kind if each.outcome else None for each in await self.attempts(seq)]

    async def offsets_s(self, seq: int) -> list[float]:
        return [each.offset_ms / 1000 for each in await self.attempts(seq)]

    def seconds(self, receiver: Receiver) -> list[float]:
        """When a receiver got its POSTs, in seconds since the start."""
        return [(got.at_ms - self.begun_ms) / 1000 for got in receiver.got]


@asynccontextmanager
async def playing(
    receiver: Receiver | None = None,
    *,
    db: Path | str = ":memory:",
    deadline_s: float = 10,
    per_host: int = 4,
    others: Sequence[Account] = (),
    **account: Any,
) -> AsyncIterator[Play]:
    """A sandbox whose default account posts to `receiver`; `account` changes that account."""
    url = {} if receiver is None else {"client_url": receiver.url}
    chosen = Settings(
        db=str(db),
        clock="virtual",
        webhook_deadline_s=deadline_s,
        webhook_per_host=per_host,
        accounts=(replace(DEFAULT_ACCOUNT, **(url | account)), *others),
    )
    async with server.open_services(chosen, server.Address(host="127.0.0.1", port=OWN_PORT), None) as services:
        if receiver is not None:
            receiver.clock = services.clock
        yield Play(services, services.clock.now_ms())


# The table ---------------------------------------------------------------------------------------------------------

NINE_S = [0, 30, 60, 120, 240, 480, 960, 1920, 3600]


@in_loop
async def test_one_advance_of_an_hour_plays_all_nine_attempts() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(3600)
        assert await play.offsets_s(seq) == NINE_S


@in_loop
async def test_the_receiver_gets_all_nine_attempts_at_their_moments() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        await play.owe()
        await play.advance(3600)
        assert play.seconds(receiver) == NINE_S


@in_loop
async def test_after_the_ninth_attempt_it_is_exhausted() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(3600)
        delivery = await play.delivery(seq)
        assert (delivery.state, delivery.next_attempt_ms) == (DeliveryState.EXHAUSTED, None)


@in_loop
async def test_after_the_ninth_attempt_no_other_comes() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        await play.owe()
        await play.advance(7 * 24 * 3600)
        assert len(receiver.got) == 9


@pytest.mark.parametrize("preset", RETRY_PRESETS)
@in_loop
async def test_retries_follow_the_accounts_schedule(preset: str) -> None:
    async with receiving(answer(500)) as receiver, playing(receiver, retry_s=RETRY_PRESETS[preset]) as play:
        seq = await play.owe()
        await play.advance(3600)
        assert await play.offsets_s(seq) == [0, *RETRY_PRESETS[preset]]


@in_loop
async def test_a_retry_that_is_answered_2xx_ends_the_schedule() -> None:
    async with receiving(OK, answer(500), answer(503)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(3600)
        assert (await play.state(seq), await play.offsets_s(seq)) == (DeliveryState.DELIVERED, [0, 30, 60])


@pytest.mark.parametrize("status_code", [200, 201, 204])
@in_loop
async def test_2xx_is_delivered_by_one_attempt(status_code: int) -> None:
    async with receiving(answer(status_code, b"")) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(3600)
        assert (await play.state(seq), len(receiver.got)) == (DeliveryState.DELIVERED, 1)


@pytest.mark.parametrize("status_code", [400, 404, 410])
@in_loop
async def test_4xx_is_rejected_after_one_attempt(status_code: int) -> None:
    async with receiving(answer(status_code)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(3600)
        assert (await play.state(seq), len(receiver.got)) == (DeliveryState.REJECTED, 1)


@pytest.mark.parametrize("status_code", [301, 302, 307, 308])
@in_loop
async def test_a_redirect_is_rejected_after_one_attempt(status_code: int) -> None:
    async with receiving(answer(status_code, b"", "Location: /elsewhere")) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(3600)
        assert (await play.state(seq), len(receiver.got)) == (DeliveryState.REJECTED, 1)


@in_loop
async def test_a_redirect_is_not_followed() -> None:
    async with receiving() as target:
        redirect = answer(302, b"", f"Location: {target.url}")
        async with receiving(redirect) as receiver, playing(receiver) as play:
            await play.owe()
            await play.advance(3600)
            assert target.got == []


@in_loop
async def test_429_is_retried_at_the_documented_moments() -> None:
    async with receiving(answer(429)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(3600)
        assert await play.offsets_s(seq) == NINE_S


@in_loop
async def test_each_429_halves_the_throughput_to_its_host() -> None:
    async with receiving(answer(429)) as receiver, playing(receiver, per_host=1, retry_s=()) as play:
        for number in range(6):
            await play.owe(f"text {number}", wait=False)
        await play.advance(10)
        assert play.seconds(receiver) == [0, 0.062, 0.187, 0.437, 0.937, 1.937]  # 16, 8, 4, 2, then 1 a second


@in_loop
async def test_after_a_429_other_answers_let_the_throughput_recover() -> None:
    async with receiving(OK, *[answer(429)] * 5) as receiver, playing(receiver, per_host=1, retry_s=()) as play:
        for number in range(40):
            await play.owe(f"text {number}", wait=False)
        await play.advance(100)
        moments = play.seconds(receiver)
        assert moments[39] - moments[38] < 0.1 < moments[7] - moments[6]


@in_loop
async def test_a_wait_for_an_answer_jumps_over_the_pace_though_no_timer_has_a_row() -> None:
    async with receiving(OK, answer(429)) as receiver, playing(receiver, retry_s=()) as play:
        await play.owe("the first is told to slow down")
        async with asyncio.timeout(10):  # half of what the wait would take
            assert await play.state(await play.owe("the second")) == DeliveryState.DELIVERED


@in_loop
async def test_a_wait_for_an_answer_jumps_over_the_pace_of_a_clock_that_stands_still() -> None:
    async with receiving(OK, answer(429)) as receiver, playing(receiver) as play:
        await play.owe("the first is told to slow down")
        seqs = [await play.owe(f"text {number}") for number in range(2)]
        assert [await play.state(seq) for seq in seqs] == [DeliveryState.DELIVERED] * 2
        assert play.seconds(receiver)[0] < play.seconds(receiver)[1] < 1


@in_loop
async def test_a_wait_for_an_answer_jumps_to_its_turn_in_an_ordered_conversation() -> None:
    async with receiving(OK, answer(503)) as receiver, playing(receiver, order=Order.CONVERSATION) as play:
        await play.owe("the first has to be retried")
        assert await play.state(await play.owe("the second waits for it")) == DeliveryState.DELIVERED
        assert play.seconds(receiver) == [0, 30, 30]


@in_loop
async def test_a_wait_for_an_answer_does_not_jump_while_the_application_takes_its_time() -> None:
    async with receiving(HANG) as receiver, playing(receiver) as play:
        await play.services.network.originate_later(
            TextRequest(account="default", msisdn=BEN, text="later", shortcode=Shortcode("48974"), new=True), 1000
        )
        await play.text("this is what takes its time", wait_s=0.1)
        assert play.services.clock.now_ms() == play.begun_ms


@in_loop
async def test_an_advance_counts_what_the_pace_held_back_as_what_is_due_when_it_may_start() -> None:
    async with receiving(OK, answer(429)) as receiver, playing(receiver, retry_s=()) as play:
        await play.owe()
        await play.owe("held back", wait=False)
        timers = await play.services.database.read(play.services.scheduler.next_timers(limit=9))
        assert [it.due_ms - play.begun_ms for it in timers] == [62]
        assert await play.services.control.advance(61) == 0
        assert await play.services.control.advance(1) == 1
        assert len(receiver.got) == 2


@in_loop
async def test_an_advance_after_the_only_webhook_was_cancelled_counts_no_moment() -> None:
    async with receiving(answer(503)) as receiver, playing(receiver) as play:
        await play.services.control.cancel(await play.owe())
        assert await play.services.control.advance(3_600_000) == 0


@in_loop
async def test_a_reset_in_the_middle_of_an_advance_leaves_the_clock_at_the_systems_time() -> None:
    async with receiving(HANG, answer(503)) as receiver, playing(receiver) as play:
        await play.owe()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play.advance(86_400))
            await receiver.until(2)
            await play.services.control.reset()
            receiver.release()
        assert abs(play.services.clock.ahead_ms) < 10_000
        assert (
            await play.services.database.read(journal.newest_ms) < play.begun_ms + 10_000
        )  # a restart would begin there


@in_loop
async def test_a_429_does_not_slow_down_another_host() -> None:
    async with receiving(answer(429)) as slow, receiving() as quick, playing(slow, retry_s=()) as play:
        for _ in range(6):
            await play.owe(wait=False)
            await play.services.scheduler.settled()
        quick.clock = play.services.clock
        await play.change(client_url=quick.url)
        for _ in range(5):
            await play.owe()
        assert play.seconds(quick) == [0] * 5


@in_loop
async def test_a_receiver_that_hangs_is_given_up_after_the_deadline_and_retried() -> None:
    async with receiving(HANG) as receiver, playing(receiver, deadline_s=0.05, retry_s=(30,)) as play:
        seq = await play.owe()
        await play.advance(3600)
        assert (await play.kinds(seq), await play.offsets_s(seq)) == ([OutcomeKind.TIMED_OUT] * 2, [0, 30])


@in_loop
async def test_a_connection_that_is_cut_is_retried() -> None:
    async with receiving(OK, CUT) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(30)
        assert await play.kinds(seq) == [OutcomeKind.BROKEN, OutcomeKind.ANSWERED]


@in_loop
async def test_a_host_where_nobody_listens_is_retried() -> None:
    async with receiving() as receiver:
        pass
    async with playing(receiver, retry_s=(1, 2)) as play:
        seq = await play.owe()
        await play.advance(2)
        assert await play.kinds(seq) == [OutcomeKind.UNREACHABLE] * 3


@in_loop
async def test_a_2xx_without_json_is_delivered_and_flagged() -> None:
    async with receiving(answer(200, b"OK")) as receiver, playing(receiver) as play:
        seq = await play.owe()
        (attempt,) = await play.attempts(seq)
        assert (await play.state(seq), len(attempt.warnings)) == (DeliveryState.DELIVERED, 1)


@in_loop
async def test_retry_after_is_recorded_and_not_followed() -> None:
    async with receiving(answer(503, b"", "Retry-After: 5")) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(30)
        first, second = await play.attempts(seq)
        assert (second.offset_ms, first.outcome and ("Retry-After", "5") in first.outcome.headers) == (30_000, True)


@in_loop
async def test_what_was_answered_is_recorded() -> None:
    async with receiving(answer(418, b"short and stout", "X-Pot: tea")) as receiver, playing(receiver) as play:
        (attempt,) = await play.attempts(await play.owe())
        assert attempt.outcome is not None
        assert (attempt.outcome.status_code, attempt.outcome.body) == (418, b"short and stout")


# The bytes ---------------------------------------------------------------------------------------------------------


@in_loop
async def test_every_attempt_repeats_the_body_byte_for_byte() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe("₦ 500, “quoted” \\ 😀")
        await play.advance(3600)
        assert receiver.bodies == [(await play.delivery(seq)).body] * 9


@in_loop
async def test_a_change_of_the_account_does_not_change_a_body_that_is_owed() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        await play.owe()
        await play.change(revision="2025", msisdn_format=MsisdnFormat.PLUS)
        await play.advance(3600)
        assert len(set(receiver.bodies)) == 1


@in_loop
async def test_a_change_of_client_url_does_not_redirect_what_is_owed() -> None:
    async with receiving(answer(500)) as old, receiving() as new, playing(old) as play:
        await play.owe()
        await play.change(client_url=new.url)
        await play.advance(3600)
        assert (len(old.got), len(new.got)) == (9, 0)


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (CallbackAuth.BEARER, "Bearer sandbox-token"),
        (CallbackAuth.BASIC, "Basic " + base64.b64encode("user:pass wörd".encode()).decode()),
        (CallbackAuth.NONE, None),
    ],
)
@in_loop
async def test_a_webhook_proves_where_it_is_from(auth: CallbackAuth, expected: str | None) -> None:
    async with receiving() as receiver:
        url = f"http://user:pass%20w%C3%B6rd@127.0.0.1:{receiver.port}/sms"
        async with playing(client_url=url, callback_auth=auth) as play:
            await play.owe()
            assert receiver.got[0].headers.get("authorization") == expected


@in_loop
async def test_user_name_and_password_go_to_the_url_they_belong_to_only() -> None:
    async with receiving(answer(500)) as old, receiving() as new:
        urls = [f"http://{who}@127.0.0.1:{each.port}/sms" for who, each in (("old:one", old), ("new:two", new))]
        async with playing(client_url=urls[0], callback_auth=CallbackAuth.BASIC) as play:
            await play.owe()
            await play.change(client_url=urls[1])
            await play.advance(3600)
            sent = {got.headers["authorization"] for got in old.got}
            assert sent == {"Basic " + base64.b64encode(b"old:one").decode()}


@in_loop
async def test_a_webhook_is_json_for_the_path_and_query_of_client_url() -> None:
    async with receiving() as receiver, playing(client_url=f"{receiver.url}/in?key=1%202") as play:
        await play.owe()
        (got,) = receiver.got
        assert (got.path, got.headers["content-type"]) == ("/sms/in?key=1%202", "application/json")


# Attempts by hand --------------------------------------------------------------------------------------------------


@in_loop
async def test_an_attempt_by_hand_uses_up_no_retry() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(45)
        await play.services.control.attempt(seq)
        await play.advance(3600)
        assert await play.offsets_s(seq) == [0, 30, 45, 60, 120, 240, 480, 960, 1920, 3600]


@in_loop
async def test_an_attempt_by_hand_that_fails_leaves_the_schedule_alone() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        before = await play.delivery(seq)
        after, _ = await play.services.control.attempt(seq)
        assert after == replace(before, attempts=2)


@in_loop
async def test_an_attempt_by_hand_that_succeeds_ends_the_schedule() -> None:
    async with receiving(OK, answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.services.control.attempt(seq)
        await play.advance(3600)
        assert (await play.state(seq), len(receiver.got)) == (DeliveryState.DELIVERED, 2)


@in_loop
async def test_an_attempt_by_hand_that_is_refused_does_not_reject_what_is_retried() -> None:
    async with receiving(OK, answer(500), answer(404)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        assert (await play.services.control.attempt(seq))[0].state is DeliveryState.RETRYING


@in_loop
async def test_attempts_say_whether_they_were_made_by_hand() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.services.control.attempt(seq)
        await play.advance(30)
        assert [(each.number, each.trigger) for each in await play.attempts(seq)] == [
            (1, Trigger.SCHEDULED),
            (2, Trigger.MANUAL),
            (3, Trigger.SCHEDULED),
        ]


@pytest.mark.parametrize(
    ("first", "state"),
    [(answer(404), DeliveryState.REJECTED), (answer(500), DeliveryState.EXHAUSTED)],
    ids=["rejected", "exhausted"],
)
@in_loop
async def test_what_has_ended_badly_can_be_delivered_by_hand(first: bytes, state: DeliveryState) -> None:
    async with receiving(OK, first) as receiver, playing(receiver, retry_s=()) as play:
        seq = await play.owe()
        before = await play.state(seq)
        after, _ = await play.services.control.attempt(seq)
        assert (before, after.state) == (state, DeliveryState.DELIVERED)


@in_loop
async def test_what_was_delivered_is_not_attempted_by_hand() -> None:
    async with receiving() as receiver, playing(receiver) as play:
        with pytest.raises(Conflict, match="Redeliver"):
            await play.services.control.attempt(await play.owe())


@in_loop
async def test_what_is_under_way_is_not_attempted_by_hand() -> None:
    async with receiving(HANG) as receiver, playing(receiver) as play:
        seq = await play.owe(wait=False)
        await receiver.until(1)
        with pytest.raises(Conflict, match="under way"):
            await play.services.control.attempt(seq)


@pytest.mark.parametrize("verb", ["attempt", "redeliver", "cancel"])
@in_loop
async def test_what_is_not_there_is_not_found(verb: str) -> None:
    async with playing() as play:
        with pytest.raises(NotFound):
            await getattr(play.services.control, verb)(4711)


# Redelivery --------------------------------------------------------------------------------------------------------


@in_loop
async def test_redelivering_sends_the_same_bytes_to_the_present_client_url() -> None:
    async with receiving(answer(404)) as old, receiving() as new, playing(old) as play:
        seq = await play.owe("₦ 500")
        await play.change(client_url=new.url, revision="2025", msisdn_format=MsisdnFormat.PLUS)
        await play.services.control.redeliver(seq)
        assert new.bodies == old.bodies


@in_loop
async def test_a_redelivery_is_a_new_webhook_delivery() -> None:
    async with receiving(OK, answer(404)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        made, _ = await play.services.control.redeliver(seq)
        assert (made.state, made.redelivery_of, await play.state(seq)) == (
            DeliveryState.DELIVERED,
            seq,
            DeliveryState.REJECTED,
        )


@in_loop
async def test_a_redelivery_has_all_the_retries_of_its_own() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.advance(3600)
        made, _ = await play.services.control.redeliver(seq)
        await play.advance(3600)
        assert await play.offsets_s(made.seq) == NINE_S


@in_loop
async def test_what_was_delivered_can_be_redelivered() -> None:
    async with receiving() as receiver, playing(receiver) as play:
        await play.services.control.redeliver(await play.owe())
        assert len(receiver.got) == 2


@in_loop
async def test_what_is_still_owed_is_not_redelivered() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        with pytest.raises(Conflict, match="still owed"):
            await play.services.control.redeliver(await play.owe())


# Cancelling --------------------------------------------------------------------------------------------------------


@in_loop
async def test_what_is_cancelled_is_attempted_no_more() -> None:
    async with receiving(answer(500)) as receiver, playing(receiver) as play:
        seq = await play.owe()
        await play.services.control.cancel(seq)
        await play.advance(3600)
        assert (await play.state(seq), len(receiver.got)) == (DeliveryState.CANCELLED, 1)


@in_loop
async def test_an_attempt_under_way_goes_on_when_it_is_cancelled_and_is_recorded() -> None:
    async with receiving(HANG) as receiver, playing(receiver) as play:
        seq = await play.owe(wait=False)
        await receiver.until(1)
        await play.services.control.cancel(seq)
        receiver.release()
        await play.services.scheduler.settled()
        assert (await play.state(seq), await play.kinds(seq)) == (DeliveryState.CANCELLED, [OutcomeKind.ANSWERED])


@in_loop
async def test_an_attempt_by_hand_that_waits_for_room_is_not_made_when_it_is_cancelled() -> None:
    async with receiving(HANG, answer(500)) as receiver, playing(receiver, per_host=1) as play:
        seq = await play.owe()
        await play.owe(msisdn=BEN, wait=False)
        await receiver.until(2)  # and the one place there is at that host is taken
        await play.services.control.attempt(seq, wait_s=None)
        await play.services.control.cancel(seq)
        receiver.release()
        await play.services.scheduler.settled()
        assert (await play.state(seq), len(receiver.got)) == (DeliveryState.CANCELLED, 2)


@in_loop
async def test_what_has_ended_is_not_cancelled() -> None:
    async with receiving() as receiver, playing(receiver) as play:
        with pytest.raises(Conflict, match="ended already"):
            await play.services.control.cancel(await play.owe())


@pytest.mark.parametrize("verb", ["attempt", "cancel"])
@in_loop
async def test_what_has_ended_by_hand_is_not_due_any_more(verb: str) -> None:
    async with receiving(OK, answer(500)) as receiver, playing(receiver) as play:
        await getattr(play.services.control, verb)(await play.owe())
        assert await play.services.database.read(outbox.timers) == []


# Conversations in order --------------------------------------------------------------------------------------------


@asynccontextmanager
async def in_order(*answers: bytes, then: bytes = OK) -> AsyncIterator[tuple[Play, Receiver, list[int]]]:
    """Three texts of one conversation that are owed in order, after the first attempt of the first of them."""
    async with receiving(then, *answers) as receiver, playing(receiver, order=Order.CONVERSATION) as play:
        seqs = [await play.owe(f"text {number}", wait=False) for number in (1, 2, 3)]
        await receiver.until(1)
        await play.services.scheduler.settled()
        yield play, receiver, seqs


def texts(receiver: Receiver) -> list[bytes]:
    """Which of the texts a receiver got: the digit in `text 1`."""
    return [body.partition(b"text ")[2][:1] for body in receiver.bodies]


@in_loop
async def test_in_order_a_conversation_waits_for_the_one_before() -> None:
    async with in_order(then=answer(500)) as (play, receiver, _):
        await play.advance(60)
        assert texts(receiver) == [b"1", b"1", b"1"]


@in_loop
async def test_in_order_the_next_goes_when_the_one_before_was_delivered() -> None:
    async with in_order(answer(500), answer(500)) as (play, receiver, _):
        await play.advance(60)
        assert texts(receiver) == [b"1", b"1", b"1", b"2", b"3"]


@in_loop
async def test_in_order_the_next_goes_when_the_one_before_was_rejected() -> None:
    async with in_order(answer(404), answer(404)) as (_, receiver, _):
        assert texts(receiver) == [b"1", b"2", b"3"]


@in_loop
async def test_in_order_the_next_goes_when_the_one_before_is_exhausted() -> None:
    async with in_order(*[answer(500)] * 9) as (play, receiver, _):
        await play.advance(3600)
        assert texts(receiver) == [b"1"] * 9 + [b"2", b"3"]


@in_loop
async def test_in_order_the_next_goes_when_the_one_before_is_cancelled() -> None:
    async with in_order(answer(500)) as (play, receiver, seqs):
        await play.services.control.cancel(seqs[0])
        await play.services.scheduler.settled()
        assert texts(receiver) == [b"1", b"2", b"3"]


@in_loop
async def test_in_order_the_next_goes_when_the_one_before_was_delivered_by_hand() -> None:
    async with in_order(answer(500)) as (play, receiver, seqs):
        await play.services.control.attempt(seqs[0])
        await play.services.scheduler.settled()
        assert texts(receiver) == [b"1", b"1", b"2", b"3"]


@in_loop
async def test_in_order_cancelling_one_that_waits_leaves_the_one_before_alone() -> None:
    async with in_order(answer(500)) as (play, receiver, seqs):
        await play.services.control.cancel(seqs[1])
        await play.advance(3600)
        assert texts(receiver) == [b"1", b"1", b"3"]


@in_loop
async def test_in_order_another_conversation_does_not_wait() -> None:
    async with in_order(then=answer(500)) as (play, receiver, _):
        await play.owe("text 9", BEN)
        assert texts(receiver) == [b"1", b"9"]


@in_loop
async def test_what_waits_for_its_turn_is_delivered_when_order_no_longer_matters() -> None:
    async with in_order(answer(500)) as (play, _, seqs):
        await play.change(order=Order.FREE)
        await play.advance(3600)
        assert [await play.state(seq) for seq in seqs] == [DeliveryState.DELIVERED] * 3


@in_loop
async def test_out_of_order_nothing_waits_for_the_one_before() -> None:
    async with receiving(OK, answer(500)) as receiver, playing(receiver) as play:
        for number in (1, 2, 3):
            await play.owe(f"text {number}")
        assert texts(receiver) == [b"1", b"2", b"3"]


@in_loop
async def test_in_order_turns_are_kept_through_a_restart(tmp_path: Path) -> None:
    db = tmp_path / "sandbox.db"
    async with receiving(OK, answer(500)) as receiver:
        async with playing(receiver, db=db, order=Order.CONVERSATION) as play:
            for number in (1, 2, 3):
                await play.owe(f"text {number}", wait=False)
            await receiver.until(1)
            await play.services.scheduler.settled()
        async with playing(receiver, db=db, order=Order.CONVERSATION) as play:
            await play.advance(3600)
    assert texts(receiver) == [b"1", b"1", b"2", b"3"]


@in_loop
async def test_whatever_waits_for_its_turn_goes_at_once_when_order_no_longer_matters() -> None:
    async with in_order(answer(500)) as (play, receiver, _):
        await play.change(order=Order.FREE)
        await play.services.scheduler.settled()
        assert texts(receiver) == [b"1", b"2", b"3"]


# Due now -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def held_back() -> AsyncIterator[tuple[Play, Receiver, list[int]]]:
    """Two texts that wait for the rate limit of a host that answered 429 once, and one of another account."""
    async with receiving(OK, answer(429)) as receiver:
        other = replace(DEFAULT_ACCOUNT, name="other", token="another", client_url=receiver.url)
        async with playing(receiver, per_host=1, retry_s=(), others=[other]) as play:
            await play.owe("text 0")
            texted = [await play.text(f"text {number}", wait_s=None) for number in (1, 2)]
            texted.append(await play.text("text 3", account="other", wait_s=None))
            yield play, receiver, [each.delivery.seq for each in texted if each.delivery is not None]


async def due(play: Play) -> list[int]:
    """Which webhook deliveries are due next."""
    return [it.subject for it in await play.services.database.read(play.services.scheduler.next_timers(limit=9))]


@in_loop
async def test_a_webhook_that_is_due_now_has_no_row_among_the_timers_and_is_shown_as_due() -> None:
    async with held_back() as (play, _, seqs):
        assert await play.services.database.read(outbox.timers) == []
        assert await due(play) == seqs
        assert [(await play.delivery(seq)).next_attempt_ms for seq in seqs] == [play.begun_ms] * 3
        assert await play.services.control.advance(10_000) == 3
        assert await due(play) == []


@in_loop
async def test_what_is_cancelled_before_it_could_start_leaves_its_place_to_the_next() -> None:
    async with held_back() as (play, receiver, seqs):
        await play.services.control.cancel(seqs[0])
        assert await due(play) == seqs[1:]
        await play.advance(0.062)
        assert texts(receiver) == [b"0", b"2"]


@in_loop
async def test_what_was_delivered_by_hand_before_it_could_start_leaves_its_place_to_the_next() -> None:
    async with held_back() as (play, receiver, seqs):
        await play.services.control.attempt(seqs[1])
        assert seqs[1] not in await due(play)
        await play.advance(10)
        assert sorted(texts(receiver)) == [b"0", b"1", b"2", b"3"]
        assert [len(await play.kinds(seq)) for seq in seqs] == [1, 1, 1]


@pytest.mark.parametrize(("account", "left"), [("default", 1), ("other", 2), (None, 0)])
@in_loop
async def test_what_is_due_is_forgotten_with_its_account(account: str | None, left: int) -> None:
    async with held_back() as (play, receiver, _):
        await play.services.control.reset(account)
        assert len(await due(play)) == left
        await play.advance(10)
        assert len(receiver.got) == 1 + left


@in_loop
async def test_what_was_due_when_the_sandbox_stopped_goes_at_the_start_once_each(tmp_path: Path) -> None:
    db = tmp_path / "sandbox.db"
    async with receiving(OK, answer(429)) as receiver:
        async with playing(receiver, db=db, per_host=1, retry_s=()) as play:
            await play.owe("text 0")
            seqs = [await play.owe(f"text {number}", wait=False) for number in (1, 2)]
            assert await play.services.database.read(outbox.timers) == []
        async with playing(receiver, db=db, retry_s=()) as play:
            await play.services.scheduler.settled()
            assert [await play.kinds(seq) for seq in seqs] == [[OutcomeKind.ANSWERED]] * 2
    assert texts(receiver) == [b"0", b"1", b"2"]


# Answers -----------------------------------------------------------------------------------------------------------


def made(found: TextResult | tuple[WebhookDelivery, Sequence[Attempt]]) -> tuple[DeliveryState, int]:
    """The state of a webhook delivery, and how many attempts are told with it."""
    delivery, attempts = (found.delivery, found.attempts) if isinstance(found, TextResult) else found
    assert delivery is not None
    return delivery.state, len(attempts)


@in_loop
async def test_what_is_asked_for_by_hand_is_answered_with_the_attempts_so_far() -> None:
    async with receiving(OK, answer(503), answer(503)) as receiver, playing(receiver) as play:
        texted = await play.text()
        assert texted.delivery is not None
        assert (made(texted), texted.message and texted.message.state) == (("retrying", 1), "retrying")
        control, seq = play.services.control, texted.delivery.seq
        assert made(await control.attempt(seq)) == ("retrying", 2)
        assert made(await control.cancel(seq)) == ("cancelled", 2)
        assert made(await control.redeliver(seq)) == ("delivered", 1)
        assert made(await control.redeliver(seq, wait_s=None)) == ("pending", 0)


@in_loop
async def test_a_wait_for_an_attempt_is_answered_from_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(OK, answer(503)) as receiver, playing(receiver) as play:
        reads, read = [], play.services.database.read

        async def counted(fn: Callable[[Any], Any]) -> Any:
            reads.append(fn)
            return await read(fn)

        await play.services.control.resume()  # a clock that runs looks for no timer to jump to
        monkeypatch.setattr(play.services.database, "read", counted)
        texted = await play.text()
        assert texted.delivery is not None
        assert len(reads) == 1
        await play.services.control.attempt(texted.delivery.seq)
        assert len(reads) == 2


@in_loop
async def test_what_was_done_is_told_though_it_cannot_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as receiver, playing(receiver) as play:

        async def refused(fn: Callable[[Any], Any]) -> Any:
            raise StorageError("the disk has gone")

        with monkeypatch.context() as patch:
            patch.setattr(play.services.database, "read", refused)
            texted = await play.text()
        assert texted.delivery is not None
        assert made(texted) == ("pending", 0)
        await play.services.scheduler.settled()
        assert await play.state(texted.delivery.seq) == DeliveryState.DELIVERED


# After a crash -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def cut_off(db: Path, receiver: Receiver, **account: Any) -> AsyncIterator[tuple[Play, int]]:
    """A sandbox that starts on a file whose last owner stopped in the middle of attempt 1."""
    async with playing(receiver, db=db, deadline_s=30, **account) as play:
        seq = await play.owe(wait=False)
        await receiver.until(1)
    async with playing(receiver, db=db, **account) as play:
        yield play, seq


@in_loop
async def test_an_attempt_that_was_cut_off_is_marked_interrupted(tmp_path: Path) -> None:
    async with receiving(OK, HANG) as receiver, cut_off(tmp_path / "sandbox.db", receiver) as (play, seq):
        await play.services.scheduler.settled()
        assert await play.kinds(seq) == [OutcomeKind.INTERRUPTED, OutcomeKind.ANSWERED]


@in_loop
async def test_what_was_cut_off_is_attempted_again_with_the_same_bytes(tmp_path: Path) -> None:
    async with receiving(OK, HANG) as receiver, cut_off(tmp_path / "sandbox.db", receiver) as (play, _):
        await play.services.scheduler.settled()
        first, second = receiver.bodies
        assert first == second


@in_loop
async def test_an_interrupted_attempt_uses_up_no_retry(tmp_path: Path) -> None:
    async with receiving(answer(500), HANG) as receiver, cut_off(tmp_path / "sandbox.db", receiver) as (play, seq):
        await play.advance(3600)
        assert await play.offsets_s(seq) == [0, *NINE_S]


@in_loop
async def test_an_interrupted_retry_is_made_at_once_and_all_that_were_left_follow(tmp_path: Path) -> None:
    db = tmp_path / "sandbox.db"
    async with receiving(answer(500), answer(500), HANG) as receiver:
        async with playing(receiver, db=db, retry_s=(30, 60)) as play:
            seq = await play.owe()
            async with asyncio.TaskGroup() as tasks:
                advance = tasks.create_task(play.advance(30))
                await receiver.until(2)
                advance.cancel()
        async with playing(receiver, db=db, retry_s=(30, 60)) as play:
            await play.advance(3600)
            attempts = zip(await play.kinds(seq), await play.offsets_s(seq), strict=True)
            assert [(kind is OutcomeKind.INTERRUPTED, offset_s) for kind, offset_s in attempts] == [
                (False, 0),
                (True, 30),
                (False, 30),
                (False, 60),
                (False, 90),
            ]


@in_loop
async def test_what_was_due_later_is_still_due_then_after_a_restart(tmp_path: Path) -> None:
    db = tmp_path / "sandbox.db"
    async with receiving(answer(500)) as receiver:
        async with playing(receiver, db=db) as play:
            seq = await play.owe()
            before = (await play.delivery(seq)).next_attempt_ms
        async with playing(receiver, db=db) as play:
            assert (await play.delivery(seq)).next_attempt_ms == before


@contextmanager
def as_the_host_says(now_ms: int) -> Iterator[None]:
    """The host's clock, at which a sandbox starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Clock, "system_ms", staticmethod(lambda: now_ms))
        yield


async def left_for(play_again_after_s: float, db: Path, receiver: Receiver, **account: Any) -> tuple[int, int]:
    """Owe a webhook to an application that is down, and stop. Gives its number, and when the sandbox starts again."""
    async with playing(receiver, db=db, **account) as play:
        seq = await play.owe()
        return seq, play.begun_ms + round(play_again_after_s * 1000)


@in_loop
async def test_an_application_that_comes_up_five_seconds_after_the_sandbox_gets_its_reply_on_every_morning(
    tmp_path: Path,
) -> None:
    async with receiving(answer(503)) as receiver:
        for used in range(8):  # retries that were used up on the evening before
            receiver.then = answer(503)
            db = tmp_path / f"{used}.db"
            async with playing(receiver, db=db) as play:
                seq = await play.owe()
                await play.advance(NINE_S[used])
                morning_ms = play.services.clock.now_ms() + 36_000_000
            with as_the_host_says(morning_ms):
                async with playing(receiver, db=db) as play:
                    await play.services.scheduler.settled()
                    before = len(receiver.got)
                    await play.advance(5)
                    assert len(receiver.got) == before, "a burst"
                    receiver.then = OK
                    await play.advance(3600)
                    assert await play.state(seq) == DeliveryState.DELIVERED
                    assert len(receiver.got) == before + 1


@in_loop
async def test_an_application_that_is_down_for_ten_hours_is_tried_by_the_retries_that_are_left(tmp_path: Path) -> None:
    async with receiving(answer(503)) as receiver:
        seq, now_ms = await left_for(36_000, tmp_path / "sandbox.db", receiver, retry_s=(5, 8, 11))
        with as_the_host_says(now_ms):
            async with playing(receiver, db=tmp_path / "sandbox.db", retry_s=(5, 8, 11)) as play:
                await play.advance(60)
                assert await play.offsets_s(seq) == [0, 36_000, 36_005, 36_008, 36_011]
                assert await play.state(seq) == DeliveryState.EXHAUSTED


@in_loop
async def test_a_sandbox_that_is_stopped_again_and_again_adds_no_retry(tmp_path: Path) -> None:
    db, retry_s = tmp_path / "sandbox.db", (5, 8, 11)
    async with receiving(answer(503)) as receiver:
        async with playing(receiver, db=db, retry_s=retry_s) as play:
            seq = await play.owe()
            await play.advance(8)  # two retries are used up, the third is planned
            now_ms = play.services.clock.now_ms()
        receiver.then = HANG
        for started in range(3):
            now_ms += 36_000_000
            with as_the_host_says(now_ms):
                async with playing(receiver, db=db, retry_s=retry_s):
                    await receiver.until(4 + started)
        receiver.then = answer(503)
        with as_the_host_says(now_ms):
            async with playing(receiver, db=db, retry_s=retry_s) as play:
                await play.advance(3600)
                assert [(got.at_ms - now_ms) / 1000 for got in receiver.got[-2:]] == [0, 3]
                assert (await play.kinds(seq)).count(OutcomeKind.INTERRUPTED) == 3
                assert await play.state(seq) == DeliveryState.EXHAUSTED


@in_loop
async def test_a_text_that_nobody_could_attempt_is_attempted_at_the_start_with_all_its_retries(tmp_path: Path) -> None:
    async with receiving(answer(503)) as receiver:
        db = tmp_path / "sandbox.db"
        async with playing(receiver, db=db, retry_s=(5, 8)) as play:
            await play.services.control.freeze()
            await play.services.control.text(
                TextRequest(account="default", msisdn=ADA, text="Hi", shortcode=Shortcode("48974"), new=True),
                delay_ms=1000,
            )
            now_ms = play.begun_ms + 36_000_000
        with as_the_host_says(now_ms):
            async with playing(receiver, db=db, retry_s=(5, 8)) as play:
                await play.advance(60)
                assert play.seconds(receiver) == [0, 5, 8]


@in_loop
async def test_an_attempt_by_hand_that_was_cut_off_leaves_the_schedule_alone(tmp_path: Path) -> None:
    db = tmp_path / "sandbox.db"
    async with receiving(OK, answer(500), HANG) as receiver:
        async with playing(receiver, db=db, deadline_s=30) as play:
            seq = await play.owe()
            before = await play.delivery(seq)
            await play.services.control.attempt(seq, wait_s=None)
            await receiver.until(2)
        async with playing(receiver, db=db) as play:
            await play.services.scheduler.settled()
            assert await play.delivery(seq) == replace(before, attempts=2)


@in_loop
async def test_an_attempt_under_way_at_a_stop_may_end_in_good_time(patient: None, tmp_path: Path) -> None:
    db = tmp_path / "sandbox.db"
    async with receiving(HANG) as receiver:
        async with playing(receiver, db=db) as play:
            seq = await play.owe(wait=False)
            await receiver.until(1)
            asyncio.get_running_loop().call_soon(receiver.release)
        async with playing(receiver, db=db) as play:
            assert await play.kinds(seq) == [OutcomeKind.ANSWERED]


@pytest.fixture
def patient(no_grace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_GRACE_S", 20)


# Nowhere to post to ------------------------------------------------------------------------------------------------


@in_loop
async def test_without_a_client_url_nothing_is_owed() -> None:
    async with playing() as play:
        texted = await play.text()
        assert (texted.delivery, texted.message and texted.message.state) == (None, MessageState.UNROUTED)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.2"])
@in_loop
async def test_the_sandboxs_own_address_is_refused(host: str) -> None:
    async with playing(client_url=f"http://{host}:{OWN_PORT}/ng/v1/sendsms") as play:
        seq = await play.owe()
        assert (await play.state(seq), await play.kinds(seq)) == (DeliveryState.REJECTED, [OutcomeKind.FORBIDDEN])


@pytest.mark.parametrize(
    ("url", "queue"),
    [
        ("http://example.com/a", "webhook example.com:80"),
        ("http://EXAMPLE.com:80/b", "webhook example.com:80"),
        ("https://example.com", "webhook example.com:443"),
        ("https://user:pw@example.com:8443/?x", "webhook example.com:8443"),
        ("http://[::1]:8000/", "webhook ::1:8000"),
    ],
)
def test_each_host_and_port_has_a_queue_of_its_own(url: str, queue: str) -> None:
    assert queue_of(url) == queue


# Beside each other -------------------------------------------------------------------------------------------------

OTHER = replace(DEFAULT_ACCOUNT, name="other", token="another-token")


@in_loop
async def test_a_host_that_hangs_delays_no_other() -> None:
    async with receiving(HANG) as hanging, receiving() as healthy, playing(hanging, deadline_s=30) as play:
        await play.services.control.add_account(replace(OTHER, client_url=healthy.url))
        for number in range(20):
            await play.owe(f"text {number}", wait=False)
        await hanging.until(4)
        for _ in range(20):
            await play.text(account="other")
        assert (len(hanging.got), len(healthy.got)) == (4, 20)


@in_loop
async def test_waiting_for_an_attempt_is_not_ended_by_the_reset_of_another_account() -> None:
    async with receiving(HANG) as receiver, playing(receiver, others=[OTHER]) as play:
        async with asyncio.TaskGroup() as tasks:
            texted = tasks.create_task(play.text())
            await receiver.until(1)
            await play.services.control.reset("other")
            receiver.release()
        delivery = texted.result().delivery
        assert delivery is not None
        assert delivery.state is DeliveryState.DELIVERED


@pytest.mark.parametrize("scope", ["default", None])
@in_loop
async def test_waiting_for_an_attempt_ends_when_what_is_owed_is_reset(scope: str | None) -> None:
    async with receiving(HANG) as receiver, playing(receiver, others=[OTHER]) as play:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play.text())
            await receiver.until(1)
            await play.services.control.reset(scope)
        assert len(receiver.got) == 1


@in_loop
async def test_waiting_for_an_attempt_ends_when_its_account_is_removed() -> None:
    async with receiving(HANG) as receiver, playing(receiver, others=[OTHER]) as play:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play.text())
            await receiver.until(1)
            await play.services.control.remove_account("default")
        assert len(receiver.got) == 1


@in_loop
async def test_after_a_reset_in_the_middle_of_an_attempt_nothing_is_left_of_it() -> None:
    async with receiving(HANG) as receiver, playing(receiver) as play:
        seq = await play.owe(wait=False)
        await receiver.until(1)
        await play.services.control.reset()
        receiver.release()
        await play.services.scheduler.settled()
        assert await play.attempts(seq) == []


# A store that fails ------------------------------------------------------------------------------------------------


def test_an_outcome_waits_until_it_can_be_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def at_once(seconds: float) -> None:
        return None

    end_attempt, failures = outbox.end_attempt, [StorageError("the disk is full")] * 3

    def fail_at_first(*args: Any) -> None:
        if failures:
            raise failures.pop()
        end_attempt(*args)

    monkeypatch.setattr(Clock, "pause", staticmethod(at_once))
    monkeypatch.setattr(outbox, "end_attempt", fail_at_first)

    @in_loop
    async def play_it() -> None:
        async with receiving() as receiver, playing(receiver) as play:
            seq = await play.owe()
            assert (await play.state(seq), len(receiver.got)) == (DeliveryState.DELIVERED, 1)

    with caplog.at_level(logging.CRITICAL):
        play_it()


# A model of the rules ----------------------------------------------------------------------------------------------

Attempted = tuple[int, Trigger, int]  # milliseconds since the start, by whom, status code


class Model:
    """One webhook delivery by the rules of the page [W], with nothing shared with the code under test."""

    def __init__(self, schedule_s: Sequence[int], statuses: Iterator[int]) -> None:
        self.now = 0
        self.due: int | None = 0
        self.state = "pending"
        self.attempted: list[Attempted] = []
        self._offsets = [offset * 1000 for offset in schedule_s]
        self._statuses = statuses
        self._failed_first: int | None = None

    def advance(self, by_ms: int) -> None:
        end = self.now + by_ms
        while self.due is not None and self.due <= end:
            self.now, self.due = max(self.now, self.due), None
            self._scheduled()
        self.now = end

    def _post(self, trigger: Trigger) -> int:
        status = next(self._statuses)
        self.attempted.append((self.now, trigger, status))
        return status

    def _scheduled(self) -> None:
        status = self._post(Trigger.SCHEDULED)
        if status < 300:
            self.state = "delivered"
        elif status < 500:
            self.state = "rejected"
        else:
            self._failed_first = self.now if self._failed_first is None else self._failed_first
            self.state = "retrying" if self._offsets else "exhausted"
            self.due = self._failed_first + self._offsets.pop(0) if self._offsets else None

    def attempt(self) -> None:
        if self.state != "delivered" and self._post(Trigger.MANUAL) < 300:
            self.state, self.due = "delivered", None

    def cancel(self) -> None:
        if self.state == "retrying":
            self.state, self.due = "cancelled", None


class Scripted:
    """In place of the HTTP client: answers with statuses in turn."""

    def __init__(self, statuses: Iterator[int]) -> None:
        self._statuses = statuses

    async def post(self, url: str, body: bytes, authorization: str | None) -> Outcome:
        return Outcome(kind=OutcomeKind.ANSWERED, duration_ms=1, status_code=next(self._statuses), body=b"{}")

    async def close(self) -> None:
        """Has nothing to close."""


Acts = Sequence[int | str]  # milliseconds to advance by, "attempt" or "cancel"


async def as_played(schedule_s: tuple[int, ...], statuses: Iterator[int], acts: Acts) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "Poster", lambda **_: Scripted(statuses))
        async with playing(client_url="http://127.0.0.1:1/sms", retry_s=schedule_s) as play:
            seq = await play.owe()
            for act in acts:
                if isinstance(act, int):
                    await play.services.control.advance(act)
                    continue
                with contextlib.suppress(Conflict):
                    await getattr(play.services.control, act)(seq)
            delivery = await play.delivery(seq)
            due = delivery.next_attempt_ms
            return (
                [
                    (each.started_ms - play.begun_ms, each.trigger, each.outcome.status_code)
                    for each in await play.attempts(seq)
                    if each.outcome
                ],
                delivery.state,
                None if due is None else due - play.begun_ms,
            )


def as_modelled(schedule_s: tuple[int, ...], statuses: Iterator[int], acts: Acts) -> object:
    model = Model(schedule_s, statuses)
    model.advance(0)
    for act in acts:
        if isinstance(act, int):
            model.advance(act)
        else:
            getattr(model, act)()
    return model.attempted, model.state, model.due


plays = st.tuples(
    st.one_of(
        st.sampled_from(sorted(RETRY_PRESETS.values())),
        st.lists(st.integers(1, 86_400), max_size=6, unique=True).map(lambda offsets: tuple(sorted(offsets))),
    ),
    st.lists(st.sampled_from([500, 500, 500, 503, 200, 404, 302]), min_size=1, max_size=8),
    st.lists(
        st.one_of(st.integers(0, 5_000_000), st.integers(0, 40_000), st.sampled_from(["attempt", "cancel"])), max_size=8
    ),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(plays)
def test_whatever_is_asked_for_attempts_and_state_are_the_models(
    played: tuple[tuple[int, ...], list[int], Acts],
) -> None:
    schedule_s, statuses, acts = played
    found = asyncio.run(as_played(schedule_s, itertools.cycle(statuses), acts))
    assert found == as_modelled(schedule_s, itertools.cycle(statuses), acts)


@pytest.mark.slow
@settings(deadline=None, max_examples=20_000)
@given(plays)
def test_attempts_and_state_are_the_models_for_long(played: tuple[tuple[int, ...], list[int], Acts]) -> None:
    schedule_s, statuses, acts = played
    found = asyncio.run(as_played(schedule_s, itertools.cycle(statuses), acts))
    assert found == as_modelled(schedule_s, itertools.cycle(statuses), acts)
