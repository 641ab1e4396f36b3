"""The pretend mobile network, on which the handsets hang: MT messages arrive, MO messages are originated.

A reply typed in the browser, one asked for by the control API and a scripted one all come through `originate`. The
gateway's tokens and HTTP answers are no business of the network's.
"""

from dataclasses import dataclass, replace
from functools import partial

from sandbox.clock import Clock, us_to_iso
from sandbox.core import dispatcher
from sandbox.core.accounts import AccountCache
from sandbox.core.scenario_runner import ScenarioRunner
from sandbox.errors import Busy, Conflict, NotFound
from sandbox.model import (
    Account,
    Direction,
    EventType,
    Handset,
    HandsetState,
    Message,
    MessageState,
    Msisdn,
    Shortcode,
    TextRequest,
    Timer,
    WebhookDelivery,
)
from sandbox.scenario.steps import ChangeHandset
from sandbox.store import journal, messages, outbox, retention
from sandbox.store.database import Database, Tx
from sandbox.wire import payloads
from sandbox.wire.text import measure

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TRIM_EVERY = 127  # entries of the journal; a prime, so that no regular pattern of entries steps over it for ever
UNCOUNTED = 500  # texts that may come before the backlog is counted again, which others add to as well


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How much is kept: the newest messages, and none older than this."""

    messages: int = 10_000
    age_s: int = 7 * 24 * 3600


def new_session_id(seq: int, at_ms: int) -> str:
    """An opaque session_id for a dialogue that a handset starts [S]: unlike those of earlier runs, and in no need of
    luck. The moment and the journal's number, in base 36."""
    return _base36(at_ms) + _base36(seq)


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits


def trim_now_and_then(tx: Tx, seq: int, at_ms: int, keeping: RetentionPolicy) -> None:
    """Every so many entries, remove what is beyond the limits, in the transaction that is under way anyway."""
    if seq % _TRIM_EVERY == 0:
        retention.trim(tx, keep=keeping.messages, oldest_ms=at_ms - keeping.age_s * 1000)


def trim_by_age(keeping: RetentionPolicy, tx: Tx, now_ms: int) -> int:
    """Remove what is too old, though nothing else happens. Returns when to look again: when the next entry is too old,
    give or take a hundredth of the age, so that a stream of messages does not go one by one."""
    age_ms = keeping.age_s * 1000
    if retention.trim(tx, keep=keeping.messages, oldest_ms=now_ms - age_ms) >= retention.AT_ONCE:
        return now_ms
    oldest_ms = retention.oldest_ms(tx)
    return max((now_ms if oldest_ms is None else oldest_ms) + age_ms, now_ms + max(1000, age_ms // 100))


class _Backlog:
    """How many webhook deliveries and planned texts may wait. To count them takes the longer the more there are, so
    they are counted again only after half of the room that was found, or `UNCOUNTED` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = 0  # so many may come before they are counted again; a write that runs twice only counts earlier
        self._counted_in: Tx | None = None  # the transaction that counted them last, until it is committed

    def require_room(self, tx: Tx, more: int) -> None:
        """Raise Busy if no more can wait, of which there will be so many `more`."""
        if self._counted_in not in (None, tx):  # it failed, and with it what may have made room
            self._left = 0
        self._left -= more
        if self._left < 0:
            self._counted_in = tx
            tx.then.append(partial(self._committed, tx))
            room = self._limit - outbox.backlog(tx, self._limit)
            if room <= 0:
                raise Busy(
                    f"{self._limit} webhook deliveries are waiting, which is the limit. Let the application answer "
                    "what is pending, cancel it, or reset the sandbox."
                )
            self._left = min(room // 2, UNCOUNTED) - more

    def _committed(self, tx: Tx) -> None:
        if self._counted_in is tx:
            self._counted_in = None


class Network:
    """The handsets of all accounts."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        accounts: AccountCache,
        runner: ScenarioRunner,
        *,
        keeping: RetentionPolicy,
        backlog: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._runner = runner
        self._keeping = keeping
        self._backlog = _Backlog(backlog)

    async def originate(self, texting: TextRequest) -> tuple[Message, WebhookDelivery | None]:
        """Send a text from a handset; its webhook delivery is None if the account has no client_url.

        Raises NotFound (account), Conflict (handset is off; nothing to reply to) or Busy (backlog is full).
        """
        return await self._database.write(partial(self._typed, texting))

    def _typed(self, texting: TextRequest, tx: Tx) -> tuple[Message, WebhookDelivery | None]:
        message, delivery = self._originate(texting, tx)
        if self._runner.playing(texting.account):
            self._runner.typed(tx, message)
        return message, delivery

    async def originate_later(self, texting: TextRequest, delay_ms: int) -> int:
        """Send a text from a handset after a delay. Returns the moment in `_ms`."""
        return await self._database.write(partial(self._plan, texting, delay_ms))

    def _plan(self, texting: TextRequest, delay_ms: int, tx: Tx) -> int:
        self._require(tx, texting)
        due_ms = self._clock.now_ms() + delay_ms
        outbox.set_texting(tx, texting, due_ms=due_ms)
        return due_ms

    def due(self, tx: Tx, timer: Timer) -> None:
        """A planned text is due."""
        texting = outbox.texting_of(timer)
        try:
            message, _ = self._originate(texting, tx) if timer.subject else self._typed(texting, tx)
        except (NotFound, Conflict):  # the account or the handset is gone or off meanwhile: a text that nobody sends
            return
        except Busy:  # never a silent drop: the same text is due again when the backlog may have room
            outbox.set_texting(tx, texting, due_ms=self._clock.now_ms() + 1000, subject=timer.subject)
        else:
            if timer.subject:
                self._runner.originated(tx, timer.subject, message)

    def _require(self, tx: Tx, texting: TextRequest) -> tuple[Account, Handset, Shortcode, str | None, str | None]:
        """Everything an MO message needs to exist: account, handset, shortcode, session_id and ref_id to carry."""
        account = self._accounts.get(texting.account)
        if account is None:
            raise NotFound(f"There is no account {texting.account}.")
        handset = messages.handset_of(tx, account.name, texting.msisdn)
        if handset.state is HandsetState.OFF:
            raise Conflict(f"The handset {handset.msisdn} is off. Switch it on first.")
        self._backlog.require_room(tx, 1 + texting.duplicates)
        last = messages.last_session(tx, account=account.name, msisdn=texting.msisdn, shortcode=texting.shortcode)
        if last is None or texting.new:
            if texting.shortcode is None:
                raise Conflict(
                    f"Nobody has texted {handset.msisdn} yet, so there is nothing to reply to. Name the shortcode to "
                    "text, or let the application send first."
                )
            return account, handset, texting.shortcode, texting.session_id, None
        shortcode, session_id, ref_id = last
        return account, handset, Shortcode(shortcode), texting.session_id or session_id, ref_id

    def _originate(self, texting: TextRequest, tx: Tx) -> tuple[Message, WebhookDelivery | None]:
        account, handset, shortcode, session_id, ref_id = self._require(tx, texting)
        now_ms = self._clock.now_ms()
        seq = journal.announce(
            tx, EventType.MESSAGE_ORIGINATED, at_ms=now_ms, account=account.name, msisdn=handset.msisdn
        )
        measured = measure(texting.text)
        url = account.client_url
        message = Message(
            seq=seq,
            account=account.name,
            direction=Direction.MO,
            msisdn=handset.msisdn,
            shortcode=shortcode,
            text=texting.text,
            session_id=session_id or new_session_id(seq, now_ms),
            ref_id=(ref_id or f"m{seq}") if account.revision == "2025" else None,
            sent_date=us_to_iso(messages.next_sent_us(tx, account.name, now_ms)),
            at_ms=now_ms,
            telco=texting.telco or handset.telco,
            encoding=measured.encoding,
            segments=measured.segments,
            state=MessageState.UNROUTED if url is None else MessageState.ROUTED,
            delivery_seq=None if url is None else seq,
        )
        messages.insert_mo(tx, message)
        turn = messages.touch_mo(tx, account=account.name, msisdn=handset.msisdn, shortcode=shortcode, seq=seq)
        trim_now_and_then(tx, seq, now_ms, self._keeping)
        if url is None:
            return message, None
        body = payloads.two_way_sms(
            telco=message.telco,
            msisdn=message.msisdn,
            shortcode=shortcode,
            text=message.text,
            session_id=message.session_id,
            sent_date=message.sent_date,
            ref_id=message.ref_id or "",
            revision=account.revision,
            form=texting.msisdn_format or account.msisdn_format,
            turn=turn,
        )
        delivery = dispatcher.create_delivery(
            tx, message, seq=seq, url=url, body=body, at_ms=now_ms, hold_ms=texting.hold_ms
        )
        for _ in range(texting.duplicates):
            dispatcher.duplicate(tx, delivery, message, now_ms)
        return replace(message, state=delivery.state), delivery

    async def change_handset(self, account: str, msisdn: Msisdn, change: ChangeHandset) -> Handset:
        """Change what is named of a handset, and nothing else, whoever changes it at the same moment. Switched on, it
        gets what waited for it. Returns how it stands then.

        Raises NotFound (account)."""
        return await self._database.write(partial(self._change_handset, account, msisdn, change))

    def _change_handset(self, account: str, msisdn: Msisdn, change: ChangeHandset, tx: Tx) -> Handset:
        if self._accounts.get(account) is None:  # it was removed in the meantime
            raise NotFound(f"There is no account {account}.")
        return self._runner.change_handset(tx, account, msisdn, change)
