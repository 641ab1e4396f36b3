"""View models of the pages, each read from the store in one go: rows of the model with the words that go with them.

Every function runs inside `database.read`. Nothing is written, and no more is loaded than the page at hand shows.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log1p
from typing import TYPE_CHECKING

from sandbox.errors import Invalid
from sandbox.model import (
    Account,
    Attempt,
    Conversation,
    Direction,
    Handset,
    Message,
    Msisdn,
    RecordedRequest,
    Shortcode,
    WebhookDelivery,
)
from sandbox.pages import details, formatting
from sandbox.pages.details import Effect, Ending
from sandbox.pages.formatting import Status
from sandbox.rules.quick_replies import Offer, lately, offered
from sandbox.store import messages, outbox
from sandbox.store.database import Queries
from sandbox.wire.numbers import parse_msisdn, parse_shortcode
from sandbox.wire.problems import fault_strikes
from sandbox.wire.requests import decode_json

if TYPE_CHECKING:
    from sandbox.rules.findings import Finding

CONVERSATIONS = 40
BUBBLES = 20
CONTEXT = 10  # newer messages around the one that a link leads to
BESIDE = 8  # messages on either side of a page that may be cause or effect of one on it
CHIPS = 6  # quick replies, STOP among them
REFUSED = 30  # calls in which the refused messages of a conversation are looked for
LARGEST_REFUSED = 16 * 1024  # bytes of such a call
ROWS = 50
FINDINGS = 20
LOOKED_AT = 100  # newest messages of the account in which findings are looked for; the control API looks at more
LIVE = 500  # messages that the account may have for findings to be looked for again with every event


# Conversations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidebar:
    conversations: Sequence[Conversation]
    silent: Sequence[Handset]  # handsets that nobody has texted and that have texted nobody
    search: str
    older: int | None  # the cursor of the next page


def sidebar(db: Queries, account: Account, *, search: str = "", before: int | None = None) -> Sidebar:
    digits = "".join(search.split()).lstrip("+")
    wanted = digits if digits.isdecimal() else search  # a number may be typed the way it is shown
    found = messages.conversations(db, account=account.name, before=before, search=wanted, limit=CONVERSATIONS)
    silent = messages.silent_handsets(db, account=account.name, limit=ROWS) if not search and before is None else ()
    return Sidebar(
        conversations=found,
        silent=silent,
        search=search,
        older=found[-1].last_seq if len(found) == CONVERSATIONS else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A webhook delivery with its attempts and its state in words."""

    delivery: WebhookDelivery
    attempts: Sequence[Attempt]
    status: Status
    curl: str
    ending: Ending | None  # what follows the attempts
    oddities: Sequence[str]  # of a payload that somebody wrote

    @property
    def warnings(self) -> Sequence[str]:
        return [warning for attempt in self.attempts for warning in attempt.warnings]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubble:
    """A message with everything that went over the wire for it."""

    message: Message
    status: Status
    request: RecordedRequest | None  # MT: the call it came in
    posted: Sequence[Posted]  # MO: its webhook deliveries, the latest first
    opens_session: bool  # whether it is the first of its session on this page
    sent_upon: Effect | None = None  # MT: the text that the application had read before it sent this
    effects: Sequence[Effect] = ()  # MO: what the application sent upon it

    @property
    def seq(self) -> int:
        return self.message.seq

    @property
    def is_mt(self) -> bool:
        return self.message.direction is Direction.MT

    @property
    def warnings(self) -> int:
        """The number of warnings besides `faults`."""
        said = (*self.message.warnings, *(warning for each in self.posted for warning in each.warnings))
        return len(said) - len(fault_strikes(said))

    @property
    def faults(self) -> Sequence[str]:
        """The failures that somebody asked for, in words, each once, however often it struck."""
        outcomes = (attempt.outcome for each in self.posted for attempt in each.attempts)
        said = (
            *self.message.warnings,
            *(warning for each in self.posted for warning in each.warnings),
            *(outcome.error for outcome in outcomes if outcome is not None),
        )
        return formatting.fault_words(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalView:
    """A call that would have become a message of the conversation; its own number, as there is no message."""

    request: RecordedRequest
    text: str
    status: Status

    @property
    def seq(self) -> int:
        return self.request.seq

    @property
    def asked(self) -> str | None:
        """In words, if it was a fault that refused it."""
        return next(iter(formatting.fault_words(each.message for each in self.request.problems)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    handset: Handset
    shortcode: Shortcode
    bubbles: Sequence[Bubble | RefusalView]  # the oldest first
    older: int | None
    newest: bool  # whether the conversation's last message is on this page
    session_id: str | None  # that a reply carries; None until the application has sent something
    sessions: Sequence[tuple[str, int, int]]  # the newest, as `messages.sessions`
    chips: Sequence[Offer]  # quick replies
    before: int | None  # where the page ends, or what it is around: its address
    at: int | None

    def shows(self, message: Message) -> bool:
        return any(isinstance(each, Bubble) and each.seq == message.seq for each in self.bubbles)


def posted(db: Queries, delivery: WebhookDelivery, account: Account) -> Posted:
    made = outbox.attempts(db, delivery.seq)
    return Posted(
        delivery=delivery,
        attempts=made,
        status=formatting.delivery_status(delivery, made[-1] if made else None, len(account.retry_s)),
        curl=formatting.curl_of_delivery(delivery, bearer=account.callback_auth == "bearer"),
        ending=details.ending(
            delivery,
            made[-1] if made else None,
            account,
            waits=details.waits_for_another(db, delivery, account),
        ),
        oddities=details.oddities(delivery),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _VisibleRows:
    """A part of a conversation, the oldest message first, and those beside it."""

    earlier: Sequence[Message]
    shown: Sequence[Message]
    later: Sequence[Message]


def _window(
    db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn, *, before: int | None, at: int | None
) -> _VisibleRows:
    """The newest messages, or those before a number, or those around one; by keyset, however long ago they came."""
    beyond: Sequence[Message] = ()
    edge = before if at is None else at
    if edge is not None:
        more = BESIDE if at is None else CONTEXT + 1 + BESIDE
        beyond = messages.page(
            db,
            account=account.name,
            msisdn=msisdn,
            shortcode=shortcode,
            after=edge - 1,
            limit=more,
            newest_first=False,
        )
    newer = () if at is None else beyond[: CONTEXT + 1]
    room = BUBBLES - len(newer)
    found = messages.page(
        db, account=account.name, msisdn=msisdn, shortcode=shortcode, before=edge, limit=room + BESIDE
    )
    older = found[::-1]
    return _VisibleRows(
        earlier=older[: max(0, len(older) - room)],
        shown=[*older[max(0, len(older) - room) :], *newer],
        later=beyond[len(newer) :],
    )


def thread(
    db: Queries,
    account: Account,
    shortcode: Shortcode,
    msisdn: Msisdn,
    *,
    before: int | None = None,
    at: int | None = None,
) -> Thread:
    """The newest page of a conversation, or the one before a number, or the one around it (`at`)."""
    part = _window(db, account, shortcode, msisdn, before=before, at=at)
    shown, older = part.shown, bool(part.earlier)
    last = messages.last_session(db, account=account.name, msisdn=msisdn, shortcode=shortcode)
    session_id = None if last is None else last[1]
    bubbles = [
        _bubble(db, account, message, None if number == 0 else shown[number - 1])
        for number, message in enumerate(shown)
    ]
    newest = shown
    if part.later:
        newest = messages.page(db, account=account.name, msisdn=msisdn, shortcode=shortcode, limit=BUBBLES)[::-1]
    return Thread(
        handset=messages.handset_of(db, account.name, msisdn),
        shortcode=shortcode,
        bubbles=sorted(
            [
                *_with_effects(db, [*part.earlier, *shown, *part.later], bubbles),
                *_refused(
                    db,
                    account,
                    shortcode,
                    msisdn,
                    after=shown[0].seq if older else None,
                    before=part.later[0].seq if part.later else before,
                ),
            ],
            key=lambda each: each.seq,
        ),
        older=shown[0].seq if older else None,
        newest=not part.later,
        session_id=session_id,
        sessions=messages.sessions(db, account=account.name, msisdn=msisdn, shortcode=shortcode),
        chips=_chips(newest),
        before=before if at is None else None,
        at=at,
    )


def _with_effects(db: Queries, conversation: Sequence[Message], bubbles: Sequence[Bubble]) -> Iterator[Bubble]:
    known = {
        each.seq: details.in_order(attempt for it in each.posted for attempt in it.attempts)
        for each in bubbles
        if not each.is_mt
    }
    effects: dict[int, list[Effect]] = defaultdict(list)
    sent_upon: dict[int, Effect] = {}
    for effect in details.effects(db, conversation, known, [each.message for each in bubbles]):
        effects[effect.text.seq].append(effect)
        sent_upon[effect.message.seq] = effect
    for each in bubbles:
        yield replace(each, effects=effects.get(each.seq, ()), sent_upon=sent_upon.get(each.seq))


def _chips(newest: Sequence[Message]) -> Sequence[Offer]:
    """Quick replies: what the last MT offers, what the handset said lately, and STOP. Oldest message first."""
    asked = next((each.text for each in reversed(newest) if each.direction is Direction.MT), None)
    if asked is None and not newest:
        return ()
    stop = Offer("STOP")
    found = [each for each in offered(asked or "") if each.text != stop.text]
    said = (each.text for each in reversed(newest) if each.direction is Direction.MO)
    found += lately(said, [*found, stop], CHIPS - 1 - len(found))
    return [*found, stop]


def _bubble(db: Queries, account: Account, message: Message, previous: Message | None) -> Bubble:
    is_mt = message.direction is Direction.MT
    deliveries = () if is_mt else [posted(db, each, account) for each in outbox.of_message(db, message.seq)][::-1]
    latest = deliveries[0] if deliveries else None
    return Bubble(
        message=message,
        status=formatting.message_status(
            message,
            None if latest is None else latest.delivery,
            () if latest is None else latest.attempts,
            len(account.retry_s),
        ),
        request=messages.get_request(db, message.seq) if is_mt else None,
        posted=deliveries,
        opens_session=previous is None or previous.session_id != message.session_id,
    )


def _refused(
    db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn, *, after: int | None, before: int | None
) -> Iterator[RefusalView]:
    """Of the account's newest refused calls, those that were meant for the conversation."""
    for request in messages.requests_page(
        db, account=account.name, unowned=False, verdict="refused", after=after, before=before, limit=REFUSED
    ):
        try:
            body = decode_json(request.body) if len(request.body) <= LARGEST_REFUSED else None
        except ValueError:
            continue
        if not isinstance(body, dict):
            continue
        sender, to, text = body.get("from"), body.get("to"), body.get("message")
        if not (isinstance(sender, str) and isinstance(to, str)):
            continue
        if (parse_shortcode(sender), parse_msisdn(to)) == (shortcode, msisdn):
            yield RefusalView(
                request=request, text=text if isinstance(text, str) else "", status=formatting.request_status(request)
            )


def session_of(db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn, seq: int) -> str:
    """The session of one of a conversation's messages. Raises Invalid if it has no such message."""
    found = messages.get(db, seq)
    if found is None or (found.account, found.shortcode, found.msisdn) != (account.name, shortcode, msisdn):
        raise Invalid(("text", "That session is no longer kept. Choose another one."))
    return found.session_id


def is_unread(db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn) -> bool:
    found = messages.conversation(db, account=account.name, msisdn=msisdn, shortcode=shortcode)
    return found is not None and found.unread > 0


# Requests ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A call to the gateway, with the message that it became."""

    request: RecordedRequest
    message: Message | None
    status: Status


def call(db: Queries, request: RecordedRequest) -> CallView:
    accepted = request.verdict == "accepted"
    return CallView(
        request=request,
        message=messages.get(db, request.seq) if accepted else None,
        status=formatting.request_status(request),
    )


def one_call(db: Queries, account: Account, seq: int) -> CallView | None:
    found = messages.get_request(db, seq)
    return call(db, found) if found is not None and found.account in (None, account.name) else None


# Webhooks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """A webhook delivery with the message that it carries."""

    posted: Posted
    message: Message | None
    redelivered_as: Sequence[WebhookDelivery] = ()


def webhook(db: Queries, account: Account, seq: int) -> DeliveryView | None:
    found = outbox.get(db, seq)
    if found is None or found.account != account.name:
        return None
    return DeliveryView(
        posted=posted(db, found, account),
        message=messages.get(db, found.message_seq),
        redelivered_as=[each for each in outbox.of_message(db, found.message_seq) if each.redelivery_of == seq],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptMark:
    """One point of an attempts' timeline, from 0 (the first failure) to 1 (the last retry)."""

    at: float
    offset_ms: int
    tone: str  # of the outcome; "plan" for a retry that is still to come
    label: str


def timeline(it: Posted, account: Account) -> Sequence[AttemptMark]:
    """The attempts made and the retries planned, on a scale that shows seconds and an hour alike."""
    planned = account.retry_s[max(0, it.delivery.retries_used - 1) :] if it.delivery.state.open else ()
    if it.delivery.state.open and not it.delivery.retries_used:
        planned = account.retry_s
    points: list[tuple[int, str, str]] = [
        (each.offset_ms, formatting.outcome_tone(each.outcome), f"attempt {each.number}, {_outcome(each)}")
        for each in it.attempts
    ]
    points += [(offset * 1000, "plan", "planned") for offset in planned]
    longest = max([*(offset for offset, _, _ in points), *(each * 1000 for each in account.retry_s), 1000])
    return [
        AttemptMark(at=log1p(offset / 10_000) / log1p(longest / 10_000), offset_ms=offset, tone=tone, label=label)
        for offset, tone, label in points
    ]


def _outcome(attempt: Attempt) -> str:
    return "under way" if attempt.outcome is None else formatting.outcome_words(attempt.outcome)


# Findings ----------------------------------------------------------------------------------------------------------


def findings(db: Queries, account: Account, *, deadline_ms: int, again: bool) -> "Sequence[Finding] | None":
    """Findings about the account's application; None if none were looked for: `again`, with an event, in
    a record so long that looking would keep others waiting."""
    if again and messages.are_more_than(db, account.name, LIVE):
        return None
    from sandbox.core import findings  # which a start can do without

    return findings.findings(db, account.name, deadline_ms=deadline_ms, looked_at=LOOKED_AT)


def findings_of_thread(
    found: "Sequence[Finding] | None", db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn
) -> "Sequence[Finding] | None":
    """Those about a conversation."""
    if not found:
        return found
    oldest = min(seq for each in found for seq in each.message_seqs)
    newest = messages.page(
        db, account=account.name, msisdn=msisdn, shortcode=shortcode, after=oldest - 1, limit=LOOKED_AT
    )
    mine = {each.seq for each in newest}
    return [each for each in found if not mine.isdisjoint(each.message_seqs)][:FINDINGS]


def findings_of_webhook(found: "Sequence[Finding] | None", db: Queries, seq: int) -> "Sequence[Finding] | None":
    """Those about a webhook delivery of the account, or about what the application did upon it."""
    it = outbox.get(db, seq)
    if not found or it is None:
        return found
    return [
        each
        for each in found
        if seq == each.delivery_seq or (each.delivery_seq is None and it.message_seq in each.message_seqs)
    ][:FINDINGS]
