"""Plays scenarios: which run takes a message, and what becomes of the effects that the engine asks for.

All that a message causes is written in the transaction in which it arrives, and read from the rows there: a function
that has to be run again finds what it found before. What follows from what is decided in scenario/engine.py.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

from sandbox.clock import Clock
from sandbox.core.accounts import AccountCache
from sandbox.core.faults import LiveFaults
from sandbox.errors import Conflict, Invalid, NotFound
from sandbox.model import (
    EventType,
    Handset,
    HandsetState,
    Message,
    MessageState,
    Msisdn,
    RunState,
    Shortcode,
    TextRequest,
    Timer,
    TimerKind,
)
from sandbox.scenario import catalogue, engine
from sandbox.scenario.steps import (
    ChangeHandset,
    Cursor,
    Delayed,
    Effect,
    HandsetSpec,
    MakeFault,
    Miss,
    Reaction,
    Scenario,
    StepTimeout,
    Text,
)
from sandbox.store import faults as stored_faults
from sandbox.store import journal, messages, outbox, scenarios
from sandbox.store.database import Database, Queries, Tx
from sandbox.store.scenarios import Missed, OwnScenario, Run
from sandbox.values.kinds import nearest
from sandbox.wire.problems import quote

MINUTE_MS = 60_000
COUNTED = 4_096  # conversations whose texts are counted: those in which one was sent last

_Conversation = tuple[str, Msisdn, Shortcode]


def _scenario_of(source: str) -> Scenario:
    """Raises Invalid with every error about the source."""
    found = catalogue.read(source)
    if isinstance(found, Scenario):
        return found
    raise Invalid(*(("source", str(each)) for each in found))


class ScenarioRunner:
    """The scenarios of all accounts, and the runs in which they are played.

    Rules that answer an application which answers them would go on for ever. So a handset's run is paused when rules
    have sent `loop_limit` texts in one conversation within a minute of the clock; 0 lets them.
    """

    def __init__(
        self, database: Database, clock: Clock, accounts: AccountCache, faults: LiveFaults, *, loop_limit: int = 0
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._faults = faults
        self._loop_limit = loop_limit
        self._running: dict[str, set[int]] = {}  # account -> its runs; changed in the event loop alone, as is the next
        self._texted: dict[_Conversation, tuple[int, int]] = {}  # since when rules have sent how many texts

    async def open(self) -> None:
        """Go on with the runs that were under way when the sandbox stopped."""
        for run in await self._database.write(self._resume):
            self._began(run)

    def _resume(self, tx: Tx) -> Sequence[Run]:
        going_on = []
        for run in scenarios.listening(tx):
            try:
                _scenario_of(run.source)
            except Invalid as error:  # another version of the sandbox started it
                self._end(tx, run, RunState.FAILED, f"The scenario cannot be read any more. {error}")
            else:
                going_on.append(run)
        return going_on

    def playing(self, account: str) -> bool:
        """Whether the account has runs: from memory, for the path that every message takes."""
        return account in self._running

    def _began(self, run: Run) -> None:
        self._forget_texts(run.account)
        self._running.setdefault(run.account, set()).add(run.seq)

    def _ended(self, run: Run) -> None:
        left = self._running.get(run.account, set()) - {run.seq}
        if left:
            self._running[run.account] = left
        else:
            self._running.pop(run.account, None)

    def _deleted(self, account: str | None) -> None:
        self._forget_texts(account)
        if account is None:
            self._running.clear()
        else:
            self._running.pop(account, None)

    # Scenarios

    async def put(self, account: str, name: str, source: str) -> tuple[OwnScenario, bool]:
        """Write a scenario of the account's own down; True if there was none of that name. Its runs so far go on.

        Raises NotFound (account), or Invalid with every error about the source.
        """
        scenario = await asyncio.to_thread(_scenario_of, source)  # a large one takes longer than the loop can wait
        if scenario.name != name:
            raise Invalid(
                ("source", f"The scenario is called {scenario.name}. Write `scenario: {name}`, or put it there.")
            )
        own = OwnScenario(account=account, name=name, source=source, changed_ms=self._clock.now_ms())
        return own, await self._database.write(partial(self._put, own))

    def _put(self, own: OwnScenario, tx: Tx) -> bool:
        self._require_account(own.account)
        is_new = scenarios.get_own(tx, own.account, own.name) is None
        scenarios.put(tx, own)
        journal.record(tx, EventType.SCENARIO_CHANGED, at_ms=own.changed_ms, account=own.account)
        return is_new

    async def remove(self, account: str, name: str) -> None:
        """Remove a scenario of the account's own. Its runs go on.

        Raises NotFound, or Conflict for a built-in one.
        """
        await self._database.write(partial(self._remove, account, name))

    def _remove(self, account: str, name: str, tx: Tx) -> None:
        if scenarios.remove(tx, account, name):
            journal.record(tx, EventType.SCENARIO_CHANGED, at_ms=self._clock.now_ms(), account=account)
        elif name in catalogue.built_in():
            raise Conflict(f"{name} is built in and cannot be removed. Write one of your own under that name instead.")
        else:
            raise NotFound(f"There is no scenario {quote(name)}.")

    # Runs

    async def start(
        self, account: str, *, name: str | None = None, source: str | None = None, msisdn: Msisdn | None = None
    ) -> Run:
        """Play a scenario, known by its name or given as source: one of the account's own, else a built-in one.

        Without `msisdn` it is the scenario's handset that plays; if that may be any, a persona plays every handset, and
        a script the first one whose message fits, or if it has to text before, one that nobody has used yet.

        Raises NotFound (account, scenario), Invalid with every error about the source, or Conflict if a script is
        playing the handset.
        """
        self._require_account(account)
        if source is None:
            source = await self._database.read(partial(_source_of, account, name or ""))
        scenario = await asyncio.to_thread(_scenario_of, source)
        return await self._database.write(partial(self._start, account, source, scenario, msisdn))

    def _require_account(self, account: str) -> None:
        if self._accounts.get(account) is None:
            raise NotFound(f"There is no account {account}.")

    def _start(self, account: str, source: str, scenario: Scenario, msisdn: Msisdn | None, tx: Tx) -> Run:
        self._require_account(account)  # it may have been removed meanwhile
        theirs = scenario.handset.msisdn
        if theirs is not None and msisdn not in (None, theirs):
            raise Invalid(
                ("msisdn", f"{scenario.name} plays the handset {theirs}. Leave msisdn out, or let it play any.")
            )
        msisdn = theirs or msisdn
        if scenario.steps and msisdn is not None:
            for other in scenarios.listening(tx, account):
                if other.is_script and other.state is RunState.RUNNING and other.msisdn == msisdn:
                    raise Conflict(
                        f"{other.id} plays the handset {msisdn} already, with the script {other.scenario}. Stop that "
                        "run first, or play another handset."
                    )
        now_ms = self._clock.now_ms()
        run = Run(
            seq=journal.record(tx, EventType.RUN_STARTED, at_ms=now_ms, account=account, msisdn=msisdn),
            account=account,
            scenario=scenario.name,
            source=source,
            steps=len(scenario.steps),
            msisdn=msisdn,
            started_ms=now_ms,
        )
        scenarios.insert(tx, run)
        tx.then.append(partial(self._began, run))
        if msisdn is not None:
            self._set_up(tx, account, msisdn, scenario.handset)
        if run.is_script:
            cursor = Cursor()
            scenarios.put_cursor(tx, run, msisdn, cursor, moved=run.seq)
            switched_on = self._follow(tx, run, scenario, msisdn, cursor, engine.begin(scenario, cursor))
            if switched_on and msisdn is not None:
                self._let_in(tx, account, msisdn)
        return scenarios.get_whole(tx, run.seq) or run

    async def stop(self, account: str, seq: int) -> Run:
        """End a run. What it has planned does not happen, and its faults are removed.

        Raises NotFound, or Conflict if it has ended already.
        """
        return await self._database.write(partial(self._stop, account, seq))

    def _stop(self, account: str, seq: int, tx: Tx) -> Run:
        run = scenarios.get(tx, seq)
        if run is None or run.account != account:
            raise NotFound(f"There is no run s{seq}.")
        if not run.listening:
            raise Conflict(f"{run.id} has ended already: {run.state}.")
        self._end(tx, run, RunState.STOPPED)
        return scenarios.get_whole(tx, seq) or run

    def _end(self, tx: Tx, run: Run, state: RunState, reason: str = "") -> None:
        """A script that came to its end leaves behind what it asked for, and goes on with its rules if it has any; any
        other end takes everything back."""
        now_ms = self._clock.now_ms()
        goes_on = state is RunState.FINISHED and bool(_scenario_of(run.source).rules)
        scenarios.end(tx, run, state, reason, now_ms, listening=goes_on)
        scenarios.drop_planned(tx, run, TimerKind.WINDOW)
        if state is not RunState.FINISHED:
            scenarios.drop_planned(tx, run, TimerKind.ORIGINATE, TimerKind.LATER)
            for fault in stored_faults.page(tx, account=run.account, limit=stored_faults.KEPT):
                if fault.run_seq == run.seq:
                    self._faults.remove(tx, run.account, fault.seq, at_ms=now_ms)
        journal.record(tx, EventType.RUN_ENDED, at_ms=now_ms, account=run.account, subject=run.seq, msisdn=run.msisdn)
        if not goes_on:
            tx.then.append(partial(self._ended, run))

    def delete_runs(self, tx: Tx, account: str | None, *, removed: bool = False) -> None:
        """Delete the runs of an account, or of all, in a reset that announces itself and drops their timers.

        With `removed` the account goes for good, and so do the scenarios that it wrote.
        """
        scenarios.delete_runs(tx, account)
        if removed and account is not None:
            scenarios.delete_own(tx, account)
        tx.then.append(partial(self._deleted, account))

    # What happens

    def accepted(self, tx: Tx, seq: int) -> None:
        """The gateway accepted the MT message `seq` in this transaction; it has arrived unless its handset is off."""
        message = messages.get(tx, seq)
        if message is not None and message.state == MessageState.ARRIVED:
            self.arrived(tx, message)

    def arrived(self, tx: Tx, message: Message) -> None:
        """An MT message is on its handset: the first run that it fits takes it, the oldest first.

        If it fits none, those that play the handset remember why not.
        """
        runs = scenarios.listening(tx, message.account)
        scripted = {run.msisdn for run in runs if run.is_script and run.state is RunState.RUNNING}
        misses: list[tuple[Run, Miss]] = []
        for run in runs:
            if run.msisdn is None and run.is_script and message.msisdn in scripted:
                continue  # it waits for a handset that no other script plays
            if run.msisdn not in (None, message.msisdn):
                continue
            scenario = _scenario_of(run.source)
            before = scenarios.cursor(tx, run, run.msisdn if run.is_script else message.msisdn)
            known = before or Cursor()
            reaction = engine.arrived(scenario, known, message)
            if reaction.effects or reaction.cursor != known:
                texts = sum(isinstance(each, Text) for each in reaction.effects)
                if texts and reaction.cursor.step == known.step:  # by a rule; a script has an end
                    if self._loops(message):
                        self._pause(tx, self._given(tx, run, scenario, message.msisdn, before), message.msisdn, known)
                        return
                    tx.then.append(partial(self._count_texts, _conversation(message), self._clock.now_ms(), texts))
                self._follow(tx, run, scenario, message.msisdn, before, reaction)
                return
            if reaction.miss is not None:
                misses.append((run, reaction.miss))
        for run, miss in misses:
            seq = journal.record(
                tx,
                EventType.RUN_MISSED,
                at_ms=self._clock.now_ms(),
                account=run.account,
                subject=run.seq,
                msisdn=message.msisdn,
            )
            scenarios.insert_miss(tx, run, seq, Missed(message.seq, miss))

    def originated(self, tx: Tx, seq: int, message: Message) -> None:
        """A text that the run `seq` planned has left its handset as `message`."""
        run = scenarios.get(tx, seq)
        if run is None or not run.listening:
            return
        before = scenarios.cursor(tx, run, message.msisdn)
        scenario = _scenario_of(run.source)
        self._follow(
            tx, run, scenario, message.msisdn, before, engine.originated(scenario, before or Cursor(), message)
        )

    def typed(self, tx: Tx, message: Message) -> None:
        """A person, and no run, has sent a text: what was paused in its conversation goes on."""
        tx.then.append(partial(self._typed, _conversation(message)))
        for run in scenarios.listening(tx, message.account):
            if run.msisdn in (None, message.msisdn):
                cursor = scenarios.cursor(tx, run, message.msisdn)
                if cursor is not None and cursor.paused:
                    self._move(tx, run, message.msisdn, replace(cursor, paused=""))

    def change_handset(self, tx: Tx, account: str, msisdn: Msisdn, change: ChangeHandset) -> Handset:
        """Change what is named of a handset, as it stands in this transaction; one that nobody set up is set up.
        Switched on, it gets what waited for it. Returns how it stands then."""
        if not self._change(tx, account, msisdn, change) and messages.handset(tx, account, msisdn) is None:
            self._put_handset(tx, messages.handset_of(tx, account, msisdn))
        if change.state is HandsetState.ON:
            self._let_in(tx, account, msisdn)
        return messages.handset_of(tx, account, msisdn)

    def due(self, tx: Tx, timer: Timer) -> None:
        """The time of a step is over, or a fault or a change of a handset is due."""
        run = scenarios.get(tx, timer.subject)
        if run is None:
            return
        if timer.kind is TimerKind.LATER:
            msisdn, what = scenarios.later_of(timer)
            try:
                switched_on = self._do(tx, run, msisdn, what)
            except Conflict as error:  # more faults than an account may have
                if run.state is RunState.RUNNING:
                    self._end(tx, run, RunState.FAILED, str(error))
                return
        elif run.state is RunState.RUNNING:
            msisdn = run.msisdn
            scenario = _scenario_of(run.source)
            before = scenarios.cursor(tx, run, msisdn) or Cursor()
            reaction = engine.window_passed(scenario, before, int(timer.data))
            switched_on = self._follow(tx, run, scenario, msisdn, before, reaction)
        else:
            return
        if switched_on and msisdn is not None:
            self._let_in(tx, run.account, msisdn)

    # Inside

    def _let_in(self, tx: Tx, account: str, msisdn: Msisdn) -> None:
        """What waited for the handset arrives, until a run switches it off again."""
        # A loop, and what switches on within it lets nobody in: runs that switch off and on never go any deeper.
        for seq in messages.waiting(tx, account, msisdn):
            messages.set_arrived(tx, seq)
            journal.record(
                tx, EventType.MESSAGE_ARRIVED, at_ms=self._clock.now_ms(), account=account, subject=seq, msisdn=msisdn
            )
            message = messages.get(tx, seq)
            assert message is not None, "it was found in this transaction"
            self.arrived(tx, message)
            if messages.handset_of(tx, account, msisdn).state is HandsetState.OFF:
                break

    def _follow(
        self,
        tx: Tx,
        run: Run,
        scenario: Scenario,
        msisdn: Msisdn | None,
        before: Cursor | None,
        reaction: Reaction,
    ) -> bool:
        """Carry out what follows and write down where the run stands now. True if that switched the handset on.

        `before` is None when the run has not stood anywhere for this handset.
        """
        if msisdn is None and _need_a_handset(reaction.effects):
            msisdn = scenarios.unseen_number(tx, run.account)
        if msisdn is not None:
            run = self._given(tx, run, scenario, msisdn, before)
        cursor = reaction.cursor
        if before is not None and cursor.step != before.step:
            scenarios.drop_planned(tx, run, TimerKind.WINDOW)
        switched_on = texted = False
        try:
            for effect in reaction.effects:
                # A text goes by a timer, even at once. What follows it goes by one, too, so that it comes after it.
                switched_on |= self._carry_out(tx, run, msisdn, effect, at_once=effect.after_ms == 0 and not texted)
                texted |= isinstance(effect, Text)
        except Conflict as error:  # more faults than an account may have
            cursor = replace(cursor, state=RunState.FAILED, reason=str(error))
        if cursor != before:
            self._move(tx, run, msisdn, cursor)
        if cursor.state is not RunState.RUNNING and run.state is RunState.RUNNING:
            self._end(tx, run, cursor.state, cursor.reason)
        return switched_on

    def _given(self, tx: Tx, run: Run, scenario: Scenario, msisdn: Msisdn, before: Cursor | None) -> Run:
        """The run with a handset to play, set up if that is new to it; of a script it is then the only one."""
        if run.msisdn is not None:
            return run
        if run.is_script or before is None:
            self._set_up(tx, run.account, msisdn, scenario.handset)
        return scenarios.bind(tx, run, msisdn) if run.is_script else run

    def _move(
        self, tx: Tx, run: Run, msisdn: Msisdn | None, cursor: Cursor, kind: EventType = EventType.RUN_MOVED
    ) -> None:
        """Write down where the run stands now."""
        at_ms = self._clock.now_ms()
        seq = journal.record(tx, kind, at_ms=at_ms, account=run.account, subject=run.seq, msisdn=msisdn)
        scenarios.put_cursor(tx, run, msisdn, cursor, moved=seq)

    def _loops(self, message: Message) -> bool:
        """Whether rules have sent as many texts in the message's conversation as they may in a minute."""
        since_ms, texts = self._texted.get(_conversation(message), (0, 0))
        return 0 < self._loop_limit <= texts and abs(self._clock.now_ms() - since_ms) < MINUTE_MS

    def _pause(self, tx: Tx, run: Run, msisdn: Msisdn, cursor: Cursor) -> None:
        why = (
            f"paused: {self._loop_limit} automatic texts in a minute; is your application answering itself? To go on, "
            "text from the handset, or start the scenario anew."
        )
        self._move(tx, run, msisdn, replace(cursor, paused=why), EventType.RUN_PAUSED)

    def _count_texts(self, conversation: _Conversation, now_ms: int, texts: int) -> None:
        since_ms, before = self._texted.pop(conversation, (now_ms, 0))
        if abs(now_ms - since_ms) >= MINUTE_MS:  # a clock that was set back begins anew, too
            since_ms, before = now_ms, 0
        elif len(self._texted) >= COUNTED:
            del self._texted[next(iter(self._texted))]
        self._texted[conversation] = since_ms, before + texts

    def _typed(self, conversation: _Conversation) -> None:
        self._texted.pop(conversation, None)

    def _forget_texts(self, account: str | None) -> None:
        self._texted = {key: value for key, value in self._texted.items() if account not in (None, key[0])}

    def _carry_out(self, tx: Tx, run: Run, msisdn: Msisdn | None, effect: Effect, *, at_once: bool) -> bool:
        """True if that switched the handset on. Raises Conflict if the account has too many faults."""
        due_ms = self._clock.now_ms() + effect.after_ms
        match effect:
            case Text():
                assert msisdn is not None, "_follow has found one"
                texting = TextRequest(
                    account=run.account,
                    msisdn=msisdn,
                    text=effect.text,
                    shortcode=effect.to,
                    session_id=effect.session_id,
                    new=effect.new,
                    duplicates=effect.duplicates,
                    hold_ms=effect.hold_ms,
                    msisdn_format=effect.msisdn_format,
                    telco=effect.telco,
                )
                outbox.set_texting(tx, texting, due_ms=due_ms, subject=run.seq)
            case StepTimeout():
                scenarios.set_window(tx, run, effect.step, due_ms=due_ms)
            case Delayed() if at_once:
                return self._do(tx, run, msisdn, effect.what)
            case Delayed():
                scenarios.set_later(tx, run, msisdn, effect.what, due_ms=due_ms)
            case never:
                assert_never(never)
        return False

    def _do(self, tx: Tx, run: Run, msisdn: Msisdn | None, what: MakeFault | ChangeHandset) -> bool:
        """As `_carry_out`."""
        match what:
            case MakeFault():
                self._faults.add(tx, run.account, what, at_ms=self._clock.now_ms(), run_seq=run.seq)
                return False
            case ChangeHandset():
                assert msisdn is not None, "_follow has found one"
                was_off = messages.handset_of(tx, run.account, msisdn).state is HandsetState.OFF
                self._change(tx, run.account, msisdn, what)
                return was_off and what.state is HandsetState.ON
            case never:
                assert_never(never)

    def _set_up(self, tx: Tx, account: str, msisdn: Msisdn, spec: HandsetSpec) -> None:
        """Give a handset the telco and the label that its scenario names."""
        self._change(tx, account, msisdn, ChangeHandset(telco=spec.telco, label=spec.label))

    def _change(self, tx: Tx, account: str, msisdn: Msisdn, change: ChangeHandset) -> bool:
        """Change what is named, and keep the rest of the handset as it stands in this transaction. False if it is as
        wanted already."""
        old = messages.handset_of(tx, account, msisdn)
        new = change.of(old)
        if new != old:
            self._put_handset(tx, new)
        return new != old

    def _put_handset(self, tx: Tx, handset: Handset) -> None:
        messages.put_handset(tx, handset)
        journal.record(
            tx, EventType.HANDSET_CHANGED, at_ms=self._clock.now_ms(), account=handset.account, msisdn=handset.msisdn
        )


def _conversation(message: Message) -> _Conversation:
    return message.account, message.msisdn, message.shortcode


def _source_of(account: str, name: str, db: Queries) -> str:
    """The source of a scenario. Raises NotFound with the nearest name."""
    own = scenarios.get_own(db, account, name)
    if own is not None:
        return own.source
    built_in = catalogue.built_in()
    if name in built_in:
        return built_in[name]
    known = [*(each.name for each in scenarios.own(db, account)), *built_in]
    raise NotFound(f"There is no scenario {quote(name)}. {nearest(name, known, 'GET /scenarios lists them.')}")


def _need_a_handset(effects: Iterable[Effect]) -> bool:
    return any(
        isinstance(each, Text) or (isinstance(each, Delayed) and isinstance(each.what, ChangeHandset))
        for each in effects
    )
