"""Waits and verification: what is found, when they end, and how a clock that stands still is let jump meanwhile."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec

import pytest

from sandbox import server
from sandbox.clock import stopwatch
from sandbox.core import waits
from sandbox.core.gateway import GatewayCall
from sandbox.core.services import Services
from sandbox.core.waits import Times
from sandbox.errors import NotFound
from sandbox.model import Account, DeliveryState, Msisdn, Outcome, OutcomeKind, TextRequest
from sandbox.rules.matching import Match
from sandbox.settings import DEFAULT_ACCOUNT, Settings
from sandbox.store import outbox
from sandbox.store.database import Queries

P = ParamSpec("P")
ADA, BEN = Msisdn("2348020000000"), Msisdn("2347030000000")
OTHER = replace(DEFAULT_ACCOUNT, name="other", token="another-token")
LONG_S = 20.0  # longer than any of these tests may take
SHORT_S = 0.05  # for what has to end by itself
TWO_HOURS_MS = 7_200_000


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


@dataclass
class Application:
    """Stands in for poster and application: answers each POST, and does something first if it is told to."""

    status_code: int = 200
    first: list[Callable[[], Coroutine[Any, Any, object]]] = field(default_factory=list)

    async def post(self, url: str, body: bytes, authorization: str | None) -> Outcome:
        if self.first:
            await self.first.pop(0)()
        return Outcome(kind=OutcomeKind.ANSWERED, duration_ms=1, status_code=self.status_code, body=b"{}")

    async def close(self) -> None:
        pass


@dataclass
class Play:
    services: Services
    application: Application

    async def submit(self, text: str = "Hello", *, account: Account = DEFAULT_ACCOUNT, **changes: str) -> None:
        sms = {
            "from": "48974",
            "to": ADA,
            "message": text,
            "session_id": "s",
            "sent_date": "2024-01-02T23:50:37.000000Z",
        }
        headers = ((b"authorization", f"Bearer {account.token}".encode()), (b"content-type", b"application/json"))
        answer = await self.services.gateway.submit(
            GatewayCall("POST", "/ng/v1/sendsms", "127.0.0.1", headers, json.dumps(sms | changes).encode())
        )
        assert answer.status_code == 200, answer.body

    async def wait_for(self, *, timeout_s: float = LONG_S, account: str = "default", **options: Any) -> Any:
        """Wait with a Match made of what a wait itself does not know."""
        own = {name: options.pop(name) for name in ("count", "after") if name in options}
        return await self.services.watch.wait_for(account, Match(**options), timeout_s=timeout_s, **own)

    async def texts_found(self, **options: Any) -> list[str]:
        waited = await self.wait_for(**{"timeout_s": 0, **options})
        return [each.text for each in waited.messages]

    async def reply_in(self, delay_ms: int, text: str = "Yesterday") -> None:
        texting = TextRequest(account="default", msisdn=ADA, text=text)
        await self.services.network.originate_later(texting, delay_ms)


@asynccontextmanager
async def playing(*, clock: str = "virtual", status_code: int = 200) -> AsyncIterator[Play]:
    first = replace(DEFAULT_ACCOUNT, client_url="http://127.0.0.1:1/sms")
    settings = Settings(db=":memory:", clock=clock, accounts=(first, OTHER))
    application = Application(status_code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "Poster", lambda **_: application)
        async with server.open_services(settings, server.Address(host="127.0.0.1", port=1), None) as services:
            yield Play(services, application)


# What is found -----------------------------------------------------------------------------------------------------


@in_loop
async def test_a_message_that_came_before_satisfies_at_once() -> None:
    async with playing() as play:
        await play.submit("Which film?")
        waited = await play.wait_for(text="*film?")
        assert (waited.satisfied, [each.text for each in waited.messages]) == (True, ["Which film?"])


@in_loop
async def test_a_message_that_comes_later_ends_the_wait() -> None:
    async with playing() as play:
        async with asyncio.TaskGroup() as tasks:
            wait = tasks.create_task(play.wait_for(text="Which film?"))
            await play.submit("Something else")
            await play.submit("Which film?")
        assert wait.result().satisfied


@in_loop
async def test_a_wait_ends_as_soon_as_enough_messages_fit() -> None:
    async with playing() as play:
        async with asyncio.TaskGroup() as tasks:
            wait = tasks.create_task(play.wait_for(count=3, direction="mt"))
            for text in ("one", "two", "three"):
                await play.submit(text)
        assert [each.text for each in wait.result().messages] == ["one", "two", "three"]


@in_loop
async def test_only_messages_after_the_cursor_count() -> None:
    async with playing() as play:
        await play.submit("the same")
        first = await play.wait_for(text="the same")
        again = await play.wait_for(text="the same", after=first.seq, timeout_s=SHORT_S)
        assert not again.satisfied


@in_loop
async def test_of_more_messages_than_a_search_goes_through_the_newest_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "MOST", 3)
    async with playing() as play:
        for text in ("one", "two", "three", "four"):
            await play.submit(text)
        assert await play.texts_found(pattern="^[of]") == ["four"]


@in_loop
async def test_a_number_is_compared_whole() -> None:
    async with playing() as play:
        await play.submit(to="23480200000001")
        assert await play.texts_found(to=ADA) == []


@in_loop
async def test_case_matters_unless_it_is_said_not_to() -> None:
    async with playing() as play:
        await play.submit("THANK YOU")
        assert await play.texts_found(text="thank*") == []
        assert await play.texts_found(text="thank*", ignore_case=True) == ["THANK YOU"]


@in_loop
async def test_messages_of_another_account_are_not_seen() -> None:
    async with playing() as play:
        await play.submit("Hello", account=OTHER)
        assert await play.texts_found() == []
        assert await play.texts_found(account="other") == ["Hello"]


@in_loop
async def test_a_wait_that_is_not_satisfied_names_the_nearest_misses() -> None:
    async with playing() as play:
        await play.submit("Which book?", to=BEN)
        await play.submit("Which book?")
        waited = await play.wait_for(text="Which film?", to=ADA, timeout_s=0)
        nearest = waited.near_misses[0]
        assert (nearest.message.msisdn, [each.field for each in nearest.differences]) == (ADA, ["text"])


@in_loop
async def test_a_message_that_fits_is_no_near_miss() -> None:
    async with playing() as play:
        await play.submit("one")
        waited = await play.wait_for(text="one", count=2, timeout_s=0)
        assert (waited.satisfied, waited.near_misses) == (False, [])


# Ends --------------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_wait_ends_with_its_time_out() -> None:
    async with playing(clock="system") as play:
        begun = stopwatch()
        assert not (await play.wait_for(text="never", timeout_s=SHORT_S)).satisfied
        assert SHORT_S <= stopwatch() - begun < LONG_S


@in_loop
async def test_a_reset_does_not_end_a_wait() -> None:
    async with playing() as play:
        async with asyncio.TaskGroup() as tasks:
            wait = tasks.create_task(play.wait_for(text="after all"))
            await play.services.control.reset("default")
            await play.submit("after all")
        assert wait.result().satisfied


@in_loop
async def test_the_removal_of_its_account_ends_a_wait() -> None:
    async with playing() as play:
        wait = asyncio.ensure_future(play.wait_for(account="other", text="never"))  # noqa: TID251 -- awaited below
        await asyncio.sleep(0)  # noqa: TID251 -- lets it begin
        await play.services.control.remove_account("other")
        with pytest.raises(NotFound, match="other was removed"):
            await wait


@in_loop
async def test_a_wait_ends_when_the_sandbox_stops() -> None:
    async with asyncio.TaskGroup() as tasks, playing() as play:
        wait = tasks.create_task(play.wait_for(text="never"))
        await asyncio.sleep(0)  # noqa: TID251 -- lets it begin
        play.services.bus.close()
        assert not (await wait).satisfied


# Verification ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "times", "satisfied"),
    [
        (0, Times(), False),
        (1, Times(), True),
        (2, Times(at_least=2), True),
        (0, Times(at_least=0, at_most=0), True),
        (1, Times(at_least=0, at_most=0), False),
        (2, Times(at_least=2, at_most=2), True),
        (3, Times(at_least=2, at_most=2), False),
    ],
)
def test_verification_counts(sent: int, times: Times, satisfied: bool) -> None:
    async def verify() -> None:
        async with playing() as play:
            for _ in range(sent):
                await play.submit()
            waited = await play.services.watch.verify("default", Match(direction="mt"), times)
            assert (waited.satisfied, len(waited.messages)) == (satisfied, sent)

    in_loop(verify)()


@in_loop
async def test_what_must_not_come_fails_as_soon_as_it_comes() -> None:
    async with playing() as play:
        async with asyncio.TaskGroup() as tasks:
            none = Times(at_least=0, at_most=0)
            wait = tasks.create_task(play.services.watch.verify("default", Match(), none, within_s=LONG_S))
            await play.submit()
        assert not wait.result().satisfied


@in_loop
async def test_an_exact_number_is_watched_to_the_end() -> None:
    async with playing() as play:
        await play.submit()
        async with asyncio.TaskGroup() as tasks:
            once = Times(at_least=1, at_most=1)
            wait = tasks.create_task(play.services.watch.verify("default", Match(), once, within_s=LONG_S))
            await play.submit()  # once too often, although once was there already
        assert not wait.result().satisfied


# A clock that stands still -----------------------------------------------------------------------------------------


@in_loop
async def test_a_wait_jumps_to_what_is_due_in_two_hours() -> None:
    async with playing() as play:
        await play.submit()
        begun_ms = play.services.clock.now_ms()
        await play.reply_in(TWO_HOURS_MS)
        waited = await play.wait_for(direction="mo")
        assert waited.messages[0].at_ms - begun_ms == TWO_HOURS_MS


@in_loop
async def test_a_wait_plays_the_retries_of_an_hour() -> None:
    async with playing(status_code=500) as play:
        await play.submit()
        await play.reply_in(0)
        waited = await play.wait_for(direction="mo", state=DeliveryState.EXHAUSTED)
        delivery = waited.messages[0].delivery_seq
        attempts = await play.services.database.read(lambda db: outbox.attempts(db, delivery))
        assert [each.offset_ms // 1000 for each in attempts] == [0, 30, 60, 120, 240, 480, 960, 1920, 3600]


@in_loop
async def test_the_clock_does_not_jump_while_the_application_is_being_posted_to() -> None:
    async with playing() as play:
        await play.submit()
        begun_ms = play.services.clock.now_ms()
        posted = asyncio.Event()

        async def slow() -> None:
            posted.set()
            await asyncio.sleep(0.1)  # noqa: TID251 -- an application that takes longer than the clock is patient
            await play.submit("Which film?")

        play.application.first.append(slow)
        await play.reply_in(0)
        await posted.wait()
        await play.reply_in(TWO_HOURS_MS)
        waited = await play.wait_for(text="Which film?")
        assert waited.messages[0].at_ms == begun_ms


@in_loop
async def test_a_wait_that_let_the_clock_jump_does_not_wait_for_the_application_to_answer() -> None:
    async with playing() as play:
        await play.submit()
        answer = asyncio.Event()

        async def first_a_message() -> None:
            await play.submit("Which film?")
            await answer.wait()

        play.application.first.append(first_a_message)
        await play.reply_in(TWO_HOURS_MS)
        assert (await play.wait_for(text="Which film?")).satisfied
        assert not answer.is_set()
        answer.set()


@in_loop
async def test_a_wait_that_let_the_clock_jump_ends_with_its_time_out() -> None:
    async with playing() as play:
        await play.submit()
        answer, begun = asyncio.Event(), stopwatch()

        async def hang() -> None:
            await answer.wait()

        play.application.first.append(hang)
        await play.reply_in(TWO_HOURS_MS)
        try:
            async with asyncio.timeout(LONG_S / 4):
                assert not (await play.wait_for(text="never", timeout_s=4 * SHORT_S)).satisfied
        finally:
            answer.set()
        assert stopwatch() - begun < LONG_S / 4


@in_loop
async def test_the_clock_does_not_jump_before_a_late_answer_could_be_reacted_to() -> None:
    looks = iter([True, False])
    async with playing() as play:
        await play.submit()
        begun_ms = play.services.clock.now_ms()
        await play.reply_in(TWO_HOURS_MS)

        async def react() -> None:
            await play.submit("Which film?")

        with pytest.MonkeyPatch.context() as patch:
            async with asyncio.TaskGroup() as tasks:

                def delaying(_: str) -> bool:
                    late = next(looks, False)
                    if not late:  # the answer has just gone out, and the application reads it
                        tasks.create_task(react())
                    return late

                patch.setattr(play.services.faults, "delaying", delaying)
                patch.setattr(waits, "QUIET_S", 0.2)  # the application may take as long on a busy machine
                waited = await play.wait_for(text="Which film?")
        assert waited.messages[0].at_ms == begun_ms
        assert play.services.clock.now_ms() == begun_ms


@in_loop
async def test_the_clock_does_not_jump_when_news_comes_while_the_next_timer_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with playing() as play:
        await play.submit()
        begun_ms, read = play.services.clock.now_ms(), play.services.database.read
        looked: list[str] = []

        async def read_slowly(fn: Callable[[Any], Any]) -> Any:
            found = await read(fn)
            if len(looked) == 1:
                looked.append("Which film?")
                await play.submit("Which film?")
            return found

        def look(db: Queries, account: str) -> Any:
            looked.append(account)
            return next_of_account(db, account)

        next_of_account = outbox.next_of_account
        monkeypatch.setattr(outbox, "next_of_account", look)
        monkeypatch.setattr(play.services.database, "read", read_slowly)
        await play.reply_in(TWO_HOURS_MS)
        assert (await play.wait_for(text="Which film?")).satisfied
        assert play.services.clock.now_ms() == begun_ms


@in_loop
async def test_the_clock_does_not_jump_for_a_wait_that_wants_nothing_more() -> None:
    async with playing() as play:
        await play.submit()
        begun_ms = play.services.clock.now_ms()
        await play.reply_in(TWO_HOURS_MS)
        never = Times(at_least=0, at_most=0)
        await play.services.watch.verify("default", Match(direction="mo"), never, within_s=SHORT_S)
        assert play.services.clock.now_ms() == begun_ms


@in_loop
async def test_a_clock_that_runs_is_never_jumped() -> None:
    async with playing(clock="system") as play:
        await play.submit()
        await play.reply_in(TWO_HOURS_MS)
        assert not (await play.wait_for(direction="mo", timeout_s=SHORT_S)).satisfied
