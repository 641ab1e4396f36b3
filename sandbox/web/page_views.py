"""What each page shows, gathered from the store in one read: rows of the model with the words that go with them.

Every function runs inside `database.read`. Nothing is written, and no more is loaded than the page at hand shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log1p
from typing import TYPE_CHECKING

from sandbox.contract.numbers import parse_msisdn, parse_shortcode
from sandbox.contract.requests import decode_json
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
from sandbox.store import messages, outbox
from sandbox.store.database import Queries
from sandbox.web import page_words as words
from sandbox.web.page_words import Status

if TYPE_CHECKING:
    from sandbox.lint import Finding

CONVERSATIONS = 50
BUBBLES = 30
REFUSED = 30  # calls in which the refused messages of a conversation are looked for
LARGEST_REFUSED = 16 * 1024  # bytes of such a call
ROWS = 50
FINDINGS = 20
RECENT = 200  # messages of a conversation that a finding on its page may be about
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

    @property
    def seq(self) -> int:
        return self.message.seq

    @property
    def is_mt(self) -> bool:
        return self.message.direction is Direction.MT

    @property
    def warnings(self) -> int:
        """How many there are besides `faults`."""
        said = (*self.message.warnings, *(warning for each in self.posted for warning in each.warnings))
        return sum(words.fault_words(each) is None for each in said)

    @property
    def faults(self) -> Sequence[str]:
        """The failures that somebody asked for, in words, each once, however often it struck."""
        outcomes = (attempt.outcome for each in self.posted for attempt in each.attempts)
        said = (
            *self.message.warnings,
            *(warning for each in self.posted for warning in each.warnings),
            *(outcome.error for outcome in outcomes if outcome is not None),
        )
        return list(dict.fromkeys(told for each in said if (told := words.fault_words(each)) is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
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
        told = (words.fault_words(each.message) for each in self.request.problems)
        return next((each for each in told if each is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    handset: Handset
    shortcode: Shortcode
    bubbles: Sequence[Bubble | Refused]  # the oldest first
    older: int | None
    newest: bool  # whether the conversation's last message is on this page
    session_id: str | None  # that a reply carries; None until the application has sent something


def posted(db: Queries, delivery: WebhookDelivery, account: Account) -> Posted:
    made = outbox.attempts(db, delivery.seq)
    return Posted(
        delivery=delivery,
        attempts=made,
        status=words.delivery_status(delivery, made[-1] if made else None, len(account.retry_s)),
        curl=words.curl_of_delivery(delivery, bearer=account.callback_auth == "bearer"),
    )


def thread(db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn, *, before: int | None = None) -> Thread:
    found = messages.page(
        db, account=account.name, msisdn=msisdn, shortcode=shortcode, before=before, limit=BUBBLES + 1
    )
    shown, older = list(reversed(found[:BUBBLES])), len(found) > BUBBLES
    last = messages.last_session(db, account=account.name, msisdn=msisdn, shortcode=shortcode)
    return Thread(
        handset=messages.handset_of(db, account.name, msisdn),
        shortcode=shortcode,
        bubbles=sorted(
            [
                *(
                    _bubble(db, account, message, None if number == 0 else shown[number - 1])
                    for number, message in enumerate(shown)
                ),
                *_refused(db, account, shortcode, msisdn, after=shown[0].seq if older else None, before=before),
            ],
            key=lambda each: each.seq,
        ),
        older=shown[0].seq if older else None,
        newest=before is None,
        session_id=None if last is None else last[1],
    )


def _bubble(db: Queries, account: Account, message: Message, previous: Message | None) -> Bubble:
    is_mt = message.direction is Direction.MT
    deliveries = () if is_mt else [posted(db, each, account) for each in outbox.of_message(db, message.seq)][::-1]
    latest = deliveries[0] if deliveries else None
    return Bubble(
        message=message,
        status=words.message_status(
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
) -> Iterator[Refused]:
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
            yield Refused(
                request=request, text=text if isinstance(text, str) else "", status=words.request_status(request)
            )


def is_unread(db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn) -> bool:
    found = messages.conversation(db, account=account.name, msisdn=msisdn, shortcode=shortcode)
    return found is not None and found.unread > 0


# Requests ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to the gateway, with the message that it became."""

    request: RecordedRequest
    message: Message | None
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    rows: Sequence[Call]
    older: int | None


def call(db: Queries, request: RecordedRequest) -> Call:
    accepted = request.verdict == "accepted"
    return Call(
        request=request,
        message=messages.get(db, request.seq) if accepted else None,
        status=words.request_status(request),
    )


def calls(db: Queries, account: Account, *, verdict: str | None, before: int | None) -> Calls:
    found = messages.requests_page(db, account=account.name, verdict=verdict, before=before, limit=ROWS)
    return Calls(rows=[call(db, each) for each in found], older=found[-1].seq if len(found) == ROWS else None)


def one_call(db: Queries, account: Account, seq: int) -> Call | None:
    found = messages.get_request(db, seq)
    return call(db, found) if found is not None and found.account in (None, account.name) else None


# Webhooks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A webhook delivery with the message that it carries."""

    posted: Posted
    message: Message | None
    redelivered_as: Sequence[WebhookDelivery] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOwed:
    rows: Sequence[Owed]
    older: int | None


def webhooks(db: Queries, account: Account, *, state: str | None, before: int | None) -> AllOwed:
    found = outbox.page(db, account=account.name, state=state, before=before, limit=ROWS)
    return AllOwed(
        rows=[Owed(posted=posted(db, each, account), message=messages.get(db, each.message_seq)) for each in found],
        older=found[-1].seq if len(found) == ROWS else None,
    )


def webhook(db: Queries, account: Account, seq: int) -> Owed | None:
    found = outbox.get(db, seq)
    if found is None or found.account != account.name:
        return None
    return Owed(
        posted=posted(db, found, account),
        message=messages.get(db, found.message_seq),
        redelivered_as=[each for each in outbox.of_message(db, found.message_seq) if each.redelivery_of == seq],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One point of an attempts' timeline, from 0 (the first failure) to 1 (the last retry)."""

    at: float
    offset_ms: int
    tone: str  # of the outcome; "plan" for a retry that is still to come
    label: str


def timeline(it: Posted, account: Account) -> Sequence[Mark]:
    """The attempts made and the retries planned, on a scale that shows seconds and an hour alike."""
    planned = account.retry_s[max(0, it.delivery.retries_used - 1) :] if it.delivery.state.open else ()
    if it.delivery.state.open and not it.delivery.retries_used:
        planned = account.retry_s
    points: list[tuple[int, str, str]] = [
        (each.offset_ms, words.outcome_tone(each.outcome), f"attempt {each.number}, {_outcome(each)}")
        for each in it.attempts
    ]
    points += [(offset * 1000, "plan", "planned") for offset in planned]
    longest = max([*(offset for offset, _, _ in points), *(each * 1000 for each in account.retry_s), 1000])
    return [
        Mark(at=log1p(offset / 10_000) / log1p(longest / 10_000), offset_ms=offset, tone=tone, label=label)
        for offset, tone, label in points
    ]


def _outcome(attempt: Attempt) -> str:
    return "under way" if attempt.outcome is None else words.outcome_words(attempt.outcome)


# Findings ----------------------------------------------------------------------------------------------------------


def findings(db: Queries, account: Account, *, deadline_ms: int, again: bool) -> "Sequence[Finding] | None":
    """What is suspicious about the account's application; None if that was not looked for: `again`, with an event, in
    a record so long that looking would keep others waiting."""
    if again and messages.are_more_than(db, account.name, LIVE):
        return None
    from sandbox.store import findings  # which a start can do without

    return findings.findings(db, account.name, deadline_ms=deadline_ms)


def findings_of_thread(
    found: "Sequence[Finding] | None", db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn
) -> "Sequence[Finding] | None":
    """Those about a conversation."""
    if not found:
        return found
    newest = messages.page(db, account=account.name, msisdn=msisdn, shortcode=shortcode, limit=RECENT)
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
