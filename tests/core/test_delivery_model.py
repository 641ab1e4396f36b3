"""The delivery rules of the sandbox against the reference model in delivery_model.py, by random stories.

A story is played on two benches: most of them on `Rules`, where all is real (control, network, dispatcher, SQLite) but
the scheduler, threads and sockets, and some on `Whole`, where all is real but the sockets. A story that goes wrong says
its seed; DELIVERY_SEED=17 plays that one again.
"""

import asyncio
import heapq
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from random import Random  # noqa: TID251 -- its seed is printed
from typing import Any, NamedTuple, Protocol, TypeVar

import pytest

import sandbox.store
from sandbox import server
from sandbox.clock import Clock
from sandbox.core import dispatcher
from sandbox.core.accounts import AccountCache
from sandbox.core.bus import Bus
from sandbox.core.control import Attempted, Control
from sandbox.core.dispatcher import Dispatcher, queue_of
from sandbox.core.faults import LiveFaults
from sandbox.core.network import Network, RetentionPolicy
from sandbox.core.scenario_runner import ScenarioRunner
from sandbox.core.services import Services
from sandbox.errors import Conflict
from sandbox.model import (
    Account,
    HandsetState,
    Msisdn,
    Order,
    Outcome,
    OutcomeKind,
    Shortcode,
    TextRequest,
    Timer,
    WebhookDelivery,
)
from sandbox.scenario.steps import ChangeHandset
from sandbox.settings import DEFAULT_ACCOUNT, RETRY_PRESETS, Settings
from sandbox.store import outbox
from sandbox.store.database import Tx
from tests.core.delivery_model import NEVER, Answer, Model

T = TypeVar("T")

PLACE = "http://127.0.0.1:9"
QUEUE = queue_of(PLACE)
CONVERSATIONS = 2
STEPS = 8
SEED = os.environ.get("DELIVERY_SEED")


class Seen(NamedTuple):
    """A webhook delivery as anybody may see it. Moments in ms since the beginning."""

    state: str
    retry_ms: int | None
    attempts: tuple[tuple[int, str, int, int, str | None], ...]  # number, trigger, started, offset, outcome


class Bench(Protocol):
    """What a story is played on. Each verb says whether it was possible."""

    async def switch(self, conversation: int, *, on: bool) -> bool: ...
    async def text(self, conversation: int, answers: Sequence[Answer]) -> bool: ...
    async def attempt(self, number: int) -> bool: ...
    async def cancel(self, number: int) -> bool: ...
    async def redeliver(self, number: int, answers: Sequence[Answer]) -> bool: ...
    async def restart(self, down_ms: int) -> bool: ...
    async def advance(self, to_ms: int) -> None: ...
    async def seen(self) -> list[Seen]: ...


def msisdn(conversation: int) -> Msisdn:
    return Msisdn(str(2348020000000 + conversation))


def texting(conversation: int) -> TextRequest:
    return TextRequest(
        account=DEFAULT_ACCOUNT.name, msisdn=msisdn(conversation), text="1", shortcode=Shortcode("48974"), new=True
    )


def outcome_of(answer: Answer) -> Outcome:
    return Outcome(
        kind=OutcomeKind(answer.outcome), duration_ms=answer.takes_ms, status_code=answer.status_code, body=b"{}"
    )


def account(story: "Story") -> Account:
    order = Order.CONVERSATION if story.ordered else DEFAULT_ACCOUNT.order
    return replace(DEFAULT_ACCOUNT, client_url=PLACE, retry_s=story.schedule_s, order=order)


def read(db: Any, seq: int, begun_ms: int) -> Seen:
    delivery = outbox.get(db, seq)
    assert delivery is not None
    due_ms = delivery.next_attempt_ms
    return Seen(
        state=delivery.state,
        retry_ms=None if due_ms is None or delivery.state != "retrying" else due_ms - begun_ms,
        attempts=tuple(
            (
                each.number,
                str(each.trigger),
                each.started_ms - begun_ms,
                each.offset_ms,
                None if each.outcome is None else str(each.outcome.kind),
            )
            for each in outbox.attempts(db, seq)
        ),
    )


def as_modelled(model: Model) -> list[Seen]:
    return [
        Seen(
            state=it.state,
            retry_ms=it.due_ms if it.state == "retrying" else None,
            attempts=tuple((t.number, t.trigger, t.started_ms, t.offset_ms, t.outcome) for t in it.tries),
        )
        for it in model.owed
    ]


# Stories -----------------------------------------------------------------------------------------------------------

NO_ANSWERS = ("timed_out", "unreachable", "broken", "tls_failed", "unresolved")
STATUSES = (200, 201, 204, 301, 302, 400, 404, 410, 499, 500, 503, 599)


@dataclass
class Story:
    """What happens, one thing after the other, made up as it is played. `log` is for whoever reads a failure.

    `whole`: for the bench whose scheduler is real. There an answer takes no virtual time, or never comes, and nobody
    answers 429: the rate limit that follows from it has tests of its own.
    """

    seed: int
    whole: bool = False
    restarts: bool = True

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        presets = [*RETRY_PRESETS.values(), (), (1,), tuple(sorted(self.random.sample(range(1, 200), 5)))]
        self.schedule_s: tuple[int, ...] = self.random.choice(presets)
        self.ordered = self.random.random() < 0.4
        self.log: list[str] = [f"schedule {self.schedule_s}, ordered {self.ordered}"]

    def answer(self) -> Answer:
        takes_ms = 0 if self.whole else self.random.choice((0, 0, self.random.randrange(10_000)))
        if self.random.random() < 0.3:
            return Answer(self.random.choice(NO_ANSWERS), takes_ms=takes_ms)
        statuses = STATUSES if self.whole else (*STATUSES, 429)
        return Answer("answered", self.random.choice(statuses), takes_ms)

    def answers(self) -> list[Answer]:
        """More failures at first, and at the end sometimes for ever."""
        failures = [Answer("answered", 503)] * self.random.choice((0, 0, 1, 2, 9))
        return [*failures, *(self.answer() for _ in range(self.random.randrange(1, 4)))]

    async def play(self, bench: Bench, model: Model) -> None:
        if (
            self.whole and self.restarts
        ):  # a clock that is far ahead of the real one stands where it was after a restart
            await self._pass(bench, model, 3_600_000)
        for _ in range(self.random.randrange(2, STEPS)):
            await self._act(bench, model)
            await self._pass(bench, model, self.random.choice((0, 0, 400, 2_000, 29_000, 61_000, 600_000, 4_000_000)))
        await self._pass(bench, model, 8_000_000)

    async def _act(self, bench: Bench, model: Model) -> None:
        newest = len(model.owed) - 1
        number = self.random.choice((newest, self.random.randrange(len(model.owed)))) if model.owed else None
        conversation = self.random.randrange(CONVERSATIONS)
        what = self.random.choice(("text", "text", "attempt", "attempt", "cancel", "redeliver", "switch", "restart"))
        if what == "restart" and self.restarts:
            down_ms = 0  # the clock of a whole sandbox is ahead of the system's, so that it stands still meanwhile
            if self.whole:
                await self._cut_off(bench, model)
            else:
                down_ms = self.random.choice((0, 700, 45_000, 36_000_000))
            await self._both(bench, model, "restart", down_ms)
        elif what == "switch":
            await self._both(bench, model, "switch", conversation, on=self.random.random() < 0.7)
        elif what in ("attempt", "cancel") and number is not None:
            await self._both(bench, model, what, number)
        elif what == "redeliver" and number is not None:
            await self._both(bench, model, what, number, self.answers())
        else:
            await self._both(bench, model, "text", conversation, self.answers())

    async def _cut_off(self, bench: Bench, model: Model) -> None:
        """An attempt that is under way when the sandbox is killed, with something done to it before."""
        conversation = CONVERSATIONS + len(model.owed)  # nobody else's: it goes at once, and holds nobody back
        hangs = Answer("answered", 200, NEVER)
        await self._both(bench, model, "text", conversation, [hangs, self.answer()])
        number = len(model.owed) - 1
        for what in self.random.sample(("attempt", "redeliver", "cancel"), 2):
            await self._both(bench, model, what, number, *([[self.answer()]] if what == "redeliver" else []))

    async def _both(self, bench: Bench, model: Model, verb: str, *args: Any, **named: Any) -> None:
        self.log.append(f"{model.now_ms} {verb} {args} {named or ''}")
        was_possible = await getattr(bench, verb)(*args, **named)
        assert getattr(model, verb)(*args, **named) == was_possible, self._told(verb)
        await self._compare(bench, model)

    async def _pass(self, bench: Bench, model: Model, ms: int) -> None:
        ms += self.random.randrange(1000)
        self.log.append(f"{model.now_ms} {ms} ms pass")
        model.advance(model.now_ms + ms)
        await bench.advance(model.now_ms)
        await self._compare(bench, model)

    async def _compare(self, bench: Bench, model: Model) -> None:
        assert await bench.seen() == as_modelled(model), self._told("seen")

    def _told(self, what: str) -> str:
        return "\n".join([f"{what}, on the left the sandbox. DELIVERY_SEED={self.seed} plays it again:", *self.log])


# The rules, without a scheduler ------------------------------------------------------------------------------------


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waited")


class _Posted:
    """What an attempt awaits: whoever drives it sends the outcome."""

    def __await__(self) -> Generator[None, Outcome, Outcome]:
        outcome = yield
        return outcome


class _Direct:
    """A database without threads: what is written is there at once."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        schema = Path(sandbox.store.__path__[0]) / "schema.sql"
        self.connection.executescript(schema.read_text(encoding="utf-8"))
        self._number = count(1).__next__
        self.ready: list[Timer] = []  # timers that are due now, without a row

    def tx(self) -> Tx:
        return Tx(self.connection, self._number)

    async def write(self, fn: Callable[[Tx], T]) -> T:
        tx = self.tx()
        value = fn(tx)
        tx.flush()
        for then in tx.then:
            then()
        self.ready += [each for each in tx.due if isinstance(each, Timer)]
        return value

    async def read(self, fn: Callable[[Any], T]) -> T:
        return fn(self.connection)


class Rules:
    """A bench on which an attempt takes as much virtual time as its answer says."""

    def __init__(self, database: Any, story: Story) -> None:
        self._database = database
        self._clock = Clock.virtual()
        self._begun_ms = self._clock.now_ms()
        self._seqs: list[int] = []
        self._answers: dict[int, Sequence[Answer]] = {}
        self._posts: dict[int, int] = defaultdict(int)
        self._under_way: list[tuple[int, int, int, Answer, Coroutine[Any, Outcome, None]]] = []
        nobody: Any = None
        accounts, faults = AccountCache([account(story)]), LiveFaults()
        self._accounts = {each.name: each for each in accounts.all()}
        runner = ScenarioRunner(self._database, self._clock, accounts, faults)
        self._network = Network(self._database, self._clock, accounts, runner, keeping=RetentionPolicy(), backlog=1000)
        self._control = Control(
            self._database, self._clock, accounts, faults, runner, nobody, self._network, Bus(), nobody
        )
        poster: Any = self
        self._dispatcher = Dispatcher(self._database, self._clock, accounts, faults, poster, rate_limit=lambda *_: None)

    async def post(self, url: str, body: bytes, authorization: str | None) -> Outcome:
        return await _Posted()

    async def switch(self, conversation: int, *, on: bool) -> bool:
        state = HandsetState.ON if on else HandsetState.OFF
        await self._network.change_handset(
            DEFAULT_ACCOUNT.name, msisdn(conversation), ChangeHandset(telco="mtn", state=state)
        )
        return True

    async def text(self, conversation: int, answers: Sequence[Answer]) -> bool:
        try:
            texted = await self._control.text(texting(conversation), wait_s=None)
        except Conflict:
            return False
        return await self._owed(texted.delivery, answers)

    async def _owed(self, delivery: WebhookDelivery | None, answers: Sequence[Answer]) -> bool:
        assert delivery is not None
        self._seqs.append(delivery.seq)
        self._answers[delivery.seq] = answers
        await self.advance(self._clock.now_ms() - self._begun_ms)
        return True

    async def attempt(self, number: int) -> bool:
        return await self._done(self._control.attempt(self._seqs[number], wait_s=None))

    async def cancel(self, number: int) -> bool:
        return await self._done(self._control.cancel(self._seqs[number]))

    async def _done(self, verb: Coroutine[Any, Any, Attempted]) -> bool:
        try:
            await verb
        except Conflict:
            return False
        await self.advance(self._clock.now_ms() - self._begun_ms)
        return True

    async def redeliver(self, number: int, answers: Sequence[Answer]) -> bool:
        try:
            made, _ = await self._control.redeliver(self._seqs[number], wait_s=None)
        except Conflict:
            return False
        return await self._owed(made, answers)

    async def restart(self, down_ms: int) -> bool:
        for *_, coroutine in self._under_way:
            coroutine.close()
        self._under_way.clear()
        self._clock.move_to(self._clock.now_ms() + down_ms)
        await self._database.write(partial(dispatcher.recover, accounts=self._accounts, at_ms=self._clock.now_ms()))
        await self.advance(self._clock.now_ms() - self._begun_ms)
        return True

    async def advance(self, to_ms: int) -> None:
        until_ms = self._begun_ms + to_ms
        connection = self._database.connection
        while True:
            now_ms = self._clock.now_ms()
            ends_ms = self._under_way[0][0] if self._under_way else NEVER
            due_ms = connection.execute("SELECT MIN(due_ms) FROM timers").fetchone()[0]
            begins_ms = now_ms if self._database.ready else NEVER if due_ms is None else max(now_ms, due_ms)
            if min(ends_ms, begins_ms) > until_ms:
                break
            self._clock.move_to(min(ends_ms, begins_ms))
            if ends_ms <= begins_ms:
                self._end()
            else:
                self._begin()
        self._clock.move_to(until_ms)

    def _begin(self) -> None:
        tx = self._database.tx()
        ready = self._database.ready
        timer = ready.pop(0) if ready else outbox.take_due(tx, QUEUE, self._clock.now_ms(), 1)[0]
        job = self._dispatcher.begin(tx, timer)
        if job is None:
            return
        coroutine: Any = job()
        coroutine.send(None)
        posts = self._posts[timer.subject]
        self._posts[timer.subject] += 1
        answers = self._answers[timer.subject]
        answer = answers[min(posts, len(answers) - 1)]
        ends_ms = self._clock.now_ms() + answer.takes_ms
        heapq.heappush(self._under_way, (ends_ms, timer.subject, posts, answer, coroutine))

    def _end(self) -> None:
        *_, answer, coroutine = heapq.heappop(self._under_way)
        with pytest.raises(StopIteration) as posted:
            coroutine.send(outcome_of(answer))
        with pytest.raises(StopIteration):
            posted.value.value().send(None)

    async def seen(self) -> list[Seen]:
        return [read(self._database.connection, seq, self._begun_ms) for seq in self._seqs]


@pytest.mark.proof("T4")
def test_the_rules_agree_with_the_model(
    sized: Callable[[int, int], int], record_property: Callable[[str, object], None]
) -> None:
    database = _Direct()
    seeds = range(sized(2_000, 1_000_000)) if SEED is None else [int(SEED)]
    attempts = 0
    for seed in seeds:
        story = Story(seed)
        model = Model(story.schedule_s, ordered=story.ordered)
        database.connection.execute("BEGIN")
        at_once(story.play(Rules(database, story), model))
        database.connection.execute("ROLLBACK")
        attempts += sum(len(it.tries) for it in model.owed)
    database.connection.close()
    record_property("figure", f"{len(seeds):,} stories with {attempts:,} attempts, 0 differences")


def test_what_was_cancelled_stays_so_when_an_attempt_by_hand_that_was_under_way_succeeds() -> None:
    database, story = _Direct(), Story(0)
    bench = Rules(database, story)

    async def play() -> list[Seen]:
        await bench.text(0, [Answer("answered", 503), Answer("answered", 200, takes_ms=1000)])
        await bench.attempt(0)
        await bench.cancel(0)
        await bench.advance(1000)
        return await bench.seen()

    (seen,) = at_once(play())
    database.connection.close()
    assert (seen.state, [each[4] for each in seen.attempts]) == ("cancelled", ["answered", "answered"])


# The whole sandbox but its sockets ---------------------------------------------------------------------------------


class Postman:
    """Stands where the HTTP client does: answers each attempt as the path of its webhook delivery says."""

    def __init__(self) -> None:
        self.answers: dict[str, Sequence[Answer]] = {}
        self.posts: dict[str, int] = defaultdict(int)
        self.hangs = asyncio.Event()

    async def post(self, url: str, body: bytes, authorization: str | None) -> Outcome:
        answers = self.answers[url]
        answer = answers[min(self.posts[url], len(answers) - 1)]
        self.posts[url] += 1
        if answer.takes_ms == NEVER:
            self.hangs.set()
            await asyncio.Event().wait()
        return outcome_of(answer)

    async def close(self) -> None:
        pass


class Whole:
    """A bench that is a whole sandbox; a restart needs a database file."""

    def __init__(self, story: Story, postman: Postman, db: str) -> None:
        self._settings = Settings(db=db, clock="virtual", accounts=(account(story),))
        self._postman = postman
        self._open = AsyncExitStack()
        self._house: Services
        self._begun_ms = 0
        self._seqs: list[int] = []

    async def __aenter__(self) -> "Whole":
        await self._start()
        self._begun_ms = self._house.clock.now_ms()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def _start(self) -> None:
        opened = server.open_services(self._settings, server.Address(host="127.0.0.1", port=2081), None)
        self._house = await self._open.enter_async_context(opened)

    async def switch(self, conversation: int, *, on: bool) -> bool:
        state = HandsetState.ON if on else HandsetState.OFF
        await self._house.network.change_handset(
            DEFAULT_ACCOUNT.name, msisdn(conversation), ChangeHandset(telco="mtn", state=state)
        )
        return True

    async def _expect(self, answers: Sequence[Answer]) -> None:
        """The next webhook delivery will be answered like this."""
        url = f"{PLACE}/{len(self._seqs)}"
        self._postman.answers[url] = answers
        await self._house.control.change_account(DEFAULT_ACCOUNT.name, partial(replace, client_url=url))

    async def text(self, conversation: int, answers: Sequence[Answer]) -> bool:
        await self._expect(answers)
        try:
            texted = await self._house.control.text(texting(conversation), wait_s=None)
        except Conflict:
            return False
        assert texted.delivery is not None
        self._seqs.append(texted.delivery.seq)
        if answers[0].takes_ms == NEVER:
            await self._postman.hangs.wait()
        else:
            await self._house.scheduler.settled()
        return True

    async def attempt(self, number: int) -> bool:
        return await self._done(self._house.control.attempt(self._seqs[number]))

    async def cancel(self, number: int) -> bool:
        return await self._done(self._house.control.cancel(self._seqs[number]))

    async def redeliver(self, number: int, answers: Sequence[Answer]) -> bool:
        await self._expect(answers)
        return await self._done(
            self._house.control.redeliver(self._seqs[number], wait_s=20 if self._postman.hangs.is_set() else None),
            is_new=True,
        )

    async def _done(self, verb: Coroutine[Any, Any, Attempted], *, is_new: bool = False) -> bool:
        try:
            delivery, _ = await verb
        except Conflict:
            return False
        if is_new:
            self._seqs.append(delivery.seq)
        if not self._postman.hangs.is_set():
            await self._house.scheduler.settled()
        return True

    async def restart(self, down_ms: int) -> bool:
        assert down_ms == 0
        await self._open.aclose()
        self._postman.hangs.clear()
        await self._start()
        await self._house.scheduler.settled()
        return True

    async def advance(self, to_ms: int) -> None:
        await self._house.control.advance(self._begun_ms + to_ms - self._house.clock.now_ms())

    async def seen(self) -> list[Seen]:
        return await self._house.database.read(lambda db: [read(db, seq, self._begun_ms) for seq in self._seqs])


@pytest.mark.proof("T4")
@pytest.mark.parametrize("restarts", [False, True])
def test_the_sandbox_agrees_with_the_model(
    restarts: bool,
    sized: Callable[[int, int], int],
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(server, "STOP_GRACE_S", 0.0)
    seeds = range(sized(15, 1_000) if restarts else sized(85, 9_000)) if SEED is None else [int(SEED)]

    async def play(seed: int) -> int:
        story, postman = Story(seed, whole=True, restarts=restarts), Postman()
        monkeypatch.setattr(server, "Poster", lambda **_: postman)
        model = Model(story.schedule_s, ordered=story.ordered)
        async with Whole(story, postman, str(tmp_path / f"{seed}.db") if restarts else ":memory:") as bench:
            async with asyncio.timeout(30):
                await story.play(bench, model)
        return sum(len(it.tries) for it in model.owed)

    attempts = sum(asyncio.run(play(seed)) for seed in seeds)
    kind = "with restarts" if restarts else "in memory"
    record_property("figure", f"{len(seeds):,} whole ones {kind} with {attempts:,} attempts, 0 differences")
