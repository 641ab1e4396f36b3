"""What a person or a test does to the sandbox: the verbs behind control API and pages.

Accounts, handsets' texts with a wait for the application's answer, attempts by hand, the clock, reset. Reading needs no
verb and goes straight to the store.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sandbox.clock import LAST_MS, Clock
from sandbox.core import dispatcher
from sandbox.core.accounts import AccountCache
from sandbox.core.bus import Bus, Subscription
from sandbox.core.faults import LiveFaults
from sandbox.core.network import Network
from sandbox.core.scenario_runner import ScenarioRunner
from sandbox.core.scheduler import Scheduler
from sandbox.core.waits import Watch
from sandbox.errors import Conflict, Invalid, NotFound, StorageError
from sandbox.model import (
    Account,
    Attempt,
    Event,
    EventType,
    Fault,
    Message,
    Msisdn,
    Order,
    Shortcode,
    TextRequest,
    WebhookDelivery,
)
from sandbox.scenario.steps import MakeFault
from sandbox.store import accounts as stored_accounts
from sandbox.store import journal, messages, outbox, retention
from sandbox.store.database import Database, Queries, Tx

if TYPE_CHECKING:
    from sandbox.transfer.imports import Import, Progress

T = TypeVar("T")

DEFAULT_WAIT_S = 30.0

_GONE = (EventType.RESET, EventType.ACCOUNT_REMOVED)  # of everything, or of one account
_ENDINGS = (EventType.ATTEMPT_MADE, EventType.DELIVERY_CANCELLED, *_GONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextResult:
    """What became of a handset's text, in one snapshot: the message and its webhook delivery with the attempts so far,
    or the moment for which it is planned."""

    message: Message | None
    delivery: WebhookDelivery | None
    attempts: Sequence[Attempt] = ()
    due_ms: int | None = None


Attempted = tuple[WebhookDelivery, Sequence[Attempt]]
"""A webhook delivery and its attempts so far, in one snapshot."""


class Control:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        accounts: AccountCache,
        faults: LiveFaults,
        runner: ScenarioRunner,
        scheduler: Scheduler,
        network: Network,
        bus: Bus,
        watch: Watch,
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._faults = faults
        self._runner = runner
        self._scheduler = scheduler
        self._network = network
        self._bus = bus
        self._watch = watch

    # Texts and webhook deliveries

    async def text(
        self, texting: TextRequest, *, delay_ms: int = 0, wait_s: float | None = DEFAULT_WAIT_S
    ) -> TextResult:
        """Send a text from a handset and wait, at most `wait_s` real seconds, until its first attempt has ended.

        `wait_s` None does not wait, and nor does a text with a delay. Raises as `Network.originate`.
        """
        if delay_ms:
            due_ms = await self._network.originate_later(texting, delay_ms)
            return TextResult(message=None, delivery=None, due_ms=due_ms)
        with self._bus.subscribe(partial(_concerns, texting.account, texting.msisdn)) as events:
            message, delivery = await self._network.originate(texting)
            written = TextResult(message=message, delivery=delivery)
            if delivery is None:
                return written
            return await self._after_attempt(delivery, events, wait_s, partial(_texted, message, delivery), written)

    async def _after_attempt(
        self,
        delivery: WebhookDelivery,
        events: Subscription,
        wait_s: float | None,
        read: Callable[[Queries], T],
        written: T,
    ) -> T:
        """What `read` finds once an attempt of the webhook delivery has ended. Without a wait it is what was `written`,
        and so it is when the store cannot be read: what was asked for is done all the same."""
        if wait_s is not None:
            with suppress(StorageError):
                await self._watch.hear(delivery.account, events, partial(_ends_attempt, delivery), wait_s)
                return await self._database.read(read)
        return written

    async def attempt(self, seq: int, *, wait_s: float | None = DEFAULT_WAIT_S) -> Attempted:
        """Attempt a webhook delivery now, beside its schedule, and wait until that attempt has ended.

        Raises NotFound; Conflict if it was delivered already (redeliver instead) or an attempt is under way.
        """
        with self._bus.subscribe(lambda event: event.subject == seq or event.kind in _GONE) as events:
            written = await self._database.write(partial(self._attempt, seq))
            return await self._after_attempt(written[0], events, wait_s, partial(_attempted, written[0]), written)

    def _attempt(self, seq: int, tx: Tx) -> Attempted:
        delivery = self._existing(tx, seq)
        if delivery.state == "delivered":
            raise Conflict(f"{delivery.id} was delivered. Redeliver it to send the same bytes once more.")
        if outbox.is_under_way(tx, seq):
            raise Conflict(f"An attempt of {delivery.id} is under way. Wait until it has ended.")
        dispatcher.attempt_now(tx, delivery, self._clock.now_ms())
        return _attempted(delivery, tx)

    async def redeliver(
        self, seq: int, *, edited: bytes | None = None, wait_s: float | None = DEFAULT_WAIT_S
    ) -> Attempted:
        """Create a webhook delivery of the same bytes, or of `edited` ones instead, and wait until its first attempt
        has ended.

        Raises NotFound; Conflict if the old one is still open.
        """
        with self._bus.subscribe(lambda event: event.kind in _ENDINGS) as events:
            made = await self._database.write(partial(self._redeliver, seq, edited))
            return await self._after_attempt(made, events, wait_s, partial(_attempted, made), (made, ()))

    def _redeliver(self, seq: int, edited: bytes | None, tx: Tx) -> WebhookDelivery:
        delivery = self._existing(tx, seq)
        message = messages.get(tx, delivery.message_seq)
        account = self._accounts.get(delivery.account)
        if message is None or account is None:
            raise NotFound(f"The message of {delivery.id} is no longer kept.")
        if delivery.state.open:
            raise Conflict(f"{delivery.id} is still owed. Attempt it now, or cancel it first.")
        if edited == delivery.body:  # sent back as it was
            edited = None
        return dispatcher.redeliver(tx, delivery, message, account, self._clock.now_ms(), edited)

    async def cancel(self, seq: int) -> Attempted:
        """Attempt a webhook delivery no more. Raises NotFound, or Conflict if it has ended already."""
        return await self._database.write(partial(self._cancel, seq))

    def _cancel(self, seq: int, tx: Tx) -> Attempted:
        delivery = self._existing(tx, seq)
        if not delivery.state.open:
            raise Conflict(f"{delivery.id} has ended already: {delivery.state}.")
        dispatcher.cancel(tx, delivery, self._accounts.get(delivery.account), self._clock.now_ms())
        return _attempted(delivery, tx)

    def _existing(self, db: Queries, seq: int) -> WebhookDelivery:
        delivery = outbox.get(db, seq)
        if delivery is None:
            raise NotFound(f"There is no webhook delivery w{seq}.")
        return delivery

    async def mark_read(self, account: str, msisdn: Msisdn, shortcode: Shortcode) -> None:
        """Somebody looked at a conversation."""
        await self._database.write(partial(self._mark_read, account, msisdn, shortcode))

    def _mark_read(self, account: str, msisdn: Msisdn, shortcode: Shortcode, tx: Tx) -> None:
        if messages.mark_read(tx, account=account, msisdn=msisdn, shortcode=shortcode):
            journal.record(tx, EventType.CONVERSATION_READ, at_ms=self._clock.now_ms(), account=account, msisdn=msisdn)

    # Accounts

    async def add_account(self, account: Account) -> Account:
        """Add an account. Raises Conflict if there is one of its name, Invalid if another has its token."""
        return await self._database.write(partial(self._add_account, account))

    def _add_account(self, account: Account, tx: Tx) -> Account:
        if stored_accounts.get(tx, account.name) is not None:
            raise Conflict(f"There is an account {account.name} already. Change that one, or choose another name.")
        return self._put_account(tx, account)

    async def change_account(self, name: str, change: Callable[[Account], Account]) -> Account:
        """Replace an account by what `change` makes of it as it stands inside the write, where `change` is called: in
        another thread, and maybe again. Raises NotFound, Invalid, or what `change` raises."""
        return await self._database.write(partial(self._change_account, name, change))

    def _change_account(self, name: str, change: Callable[[Account], Account], tx: Tx) -> Account:
        old = stored_accounts.get(tx, name)
        if old is None:
            raise NotFound(f"There is no account {name}.")
        new = self._put_account(tx, change(old))
        if new.order is Order.FREE is not old.order:
            dispatcher.release_all(tx, name, self._clock.now_ms())
        return new

    def _put_account(self, tx: Tx, account: Account) -> Account:
        if stored_accounts.owner_of(tx, account.token) not in (None, account.name):
            raise Invalid(("token", "Another account has this token. Tokens tell accounts apart; choose another."))
        stored_accounts.put(tx, account)
        journal.record(tx, EventType.ACCOUNT_CHANGED, at_ms=self._clock.now_ms(), account=account.name)
        tx.then.append(partial(self._accounts.put, account))
        return account

    async def remove_account(self, name: str) -> None:
        """Remove an account and everything recorded under its name. Raises NotFound, or Conflict for the last one."""
        if self._accounts.get(name) is None:
            raise NotFound(f"There is no account {name}.")
        if len(self._accounts.all()) == 1:
            raise Conflict("The last account cannot be removed. Add another one first, or reset this one.")
        with self._accounts.hidden(name):  # so that nothing new is recorded under its name
            await self._database.write(partial(self._remove_account, name))

    def _remove_account(self, name: str, tx: Tx) -> None:
        retention.delete_all(tx, name)
        self._faults.delete_all(tx, name)
        self._runner.delete_runs(tx, name, removed=True)
        stored_accounts.remove(tx, name)
        tx.then.append(partial(self._accounts.remove, name))
        journal.record(tx, EventType.ACCOUNT_REMOVED, at_ms=self._clock.now_ms(), account=name)

    async def reset(self, account: str | None = None) -> None:
        """Delete messages, requests, handsets, webhook deliveries, timers, faults and scenarios' runs, of one account
        or of all.

        Calls that a fault holds are let go. With everything deleted, the clock goes back to the system's time.
        """
        if account is not None and self._accounts.get(account) is None:
            raise NotFound(f"There is no account {account}.")
        if account is not None:
            await self._database.write(partial(self._reset, account))
            return
        await self._database.write(partial(self._reset, None), alone=True)

    def _reset(self, account: str | None, tx: Tx) -> None:
        retention.delete_all(tx, account)
        self._faults.delete_all(tx, account)
        self._runner.delete_runs(tx, account)
        at_ms = self._clock.now_ms()
        if account is None:  # what is written from here on belongs to the system's time again
            at_ms = self._clock.system_ms()
            tx.then.append(self._clock.reset)
            tx.then.append(self._scheduler.forget)
        journal.record(tx, EventType.RESET, at_ms=at_ms, account=account)

    # Faults

    async def add_fault(self, account: str, wanted: MakeFault) -> Fault:
        """Let calls of an account fail from now on, as `scenario.asking.fault_from` reads it.

        Raises NotFound, or Conflict if the account has too many faults.
        """
        return await self._database.write(partial(self._add_fault, account, wanted))

    def _add_fault(self, account: str, wanted: MakeFault, tx: Tx) -> Fault:
        if self._accounts.get(account) is None:
            raise NotFound(f"There is no account {account}.")
        return self._faults.add(tx, account, wanted, at_ms=self._clock.now_ms())

    async def remove_fault(self, seq: int | None, account: str) -> int:
        """Remove a fault of the account, or all of them; calls that they hold are let go. Returns how many went.

        Raises NotFound if the account has no such fault.
        """
        removed = await self._database.write(partial(self._remove_fault, seq, account))
        if seq is not None and not removed:
            raise NotFound(f"There is no fault f{seq} in the account {account}.")
        return removed

    def _remove_fault(self, seq: int | None, account: str, tx: Tx) -> int:
        return self._faults.remove(tx, account, seq, at_ms=self._clock.now_ms())

    # Files

    async def take_in(self, account: str, found: "Import") -> AsyncIterator["Progress"]:
        """Write down what an exported file says, and an account has not yet; yields how far it has come after each
        commit.

        Raises StorageError, after which what was yielded last is there; NotFound or Conflict if the account was
        removed or reset, after which nothing of the file is.
        """
        from sandbox.transfer import identity, rows  # which a start can do without

        known, is_all = await asyncio.to_thread(found.known), False
        while not is_all:
            seen = await self._database.read(partial(identity.look, account=account, known=known))
            known.note(seen)
            is_all = seen.is_all
        progress = found.start
        for batch in found.batches():
            write = partial(rows.write, account=account, batch=batch, known=known, at_ms=self._clock.now_ms())
            written = await self._database.write(write)
            known.note(written.seen)
            progress = progress.after(batch, written.counts)
            yield progress

    # Time

    async def freeze(self) -> None:
        """Let the clock stand still. Raises StorageError; then it goes on."""
        await self._clock_changed(self._clock.freeze)

    async def resume(self) -> None:
        """Let the clock run on from where it stands. Raises StorageError; then it stands still."""
        await self._clock_changed(self._clock.resume)

    async def to_system(self) -> None:
        """Let the clock run and show the system's time again. What is planned keeps its distance, so that nothing comes
        due by it. Raises StorageError; then it stays as it was."""
        await self._database.write(self._to_system, alone=True)

    def _to_system(self, tx: Tx) -> None:
        self._scheduler.shift(tx, -self._clock.ahead_ms, lambda _: self._run_with_system())
        journal.record(tx, EventType.CLOCK_CHANGED, at_ms=self._clock.system_ms(), account=None)

    def _run_with_system(self) -> None:
        self._clock.resume()
        self._clock.reset()

    async def advance(self, by_ms: int) -> int:
        """Move the clock on and return after everything that came due has run to its end.

        Raises Conflict if that were beyond the year 9999. It has moved even if nobody can be told of it.
        """
        if self._clock.now_ms() + by_ms > LAST_MS:
            raise Conflict("The clock would go beyond the year 9999. Bring it back to the system's time first.")
        moments = await self._scheduler.advance(by_ms)
        with suppress(StorageError):
            await self._database.write(self._tell_clock)
        return moments

    async def _clock_changed(self, change: Callable[[], None]) -> None:
        """`change` the clock once it is written that it has changed."""
        await self._database.write(partial(self._change_clock, change))
        self._scheduler.wake()

    def _change_clock(self, change: Callable[[], None], tx: Tx) -> None:
        self._tell_clock(tx)
        tx.then.append(change)

    def _tell_clock(self, tx: Tx) -> None:
        journal.record(tx, EventType.CLOCK_CHANGED, at_ms=self._clock.now_ms(), account=None)


def _concerns(account: str, msisdn: str, event: Event) -> bool:
    return event.kind in _GONE or (event.account == account and event.msisdn == msisdn)


def _ends_attempt(delivery: WebhookDelivery, event: Event) -> bool:
    """Whether there is nothing left to wait for: the attempt has ended, or the webhook delivery is gone."""
    if event.kind in _GONE:  # what is gone of another account is no business of ours
        return event.account in (None, delivery.account)
    return event.subject == delivery.seq and event.kind in _ENDINGS


def _attempted(delivery: WebhookDelivery, db: Queries) -> Attempted:
    """How it stands now; as it was, if it is gone."""
    return outbox.get(db, delivery.seq) or delivery, outbox.attempts(db, delivery.seq)


def _texted(message: Message, delivery: WebhookDelivery, db: Queries) -> TextResult:
    delivery, attempts = _attempted(delivery, db)
    return TextResult(message=messages.get(db, message.seq) or message, delivery=delivery, attempts=attempts)
