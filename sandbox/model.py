"""The nouns of the sandbox as frozen values; whatever is built here cannot be invalid in shape.

No behaviour beyond what a value says about itself, and no import of the project. Times are integer milliseconds since
1970 in UTC and end in `_ms`. A thing's number (`seq`) is the number of the journal entry that announced it; its public
identifier is that number behind a letter: `m12` a message, `r12` the request it came in, `w15` a webhook delivery,
`f17` a fault, `s18` a scenario's run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, NewType

Msisdn = NewType("Msisdn", str)
"""A handset's number: 7 to 15 digits, international, without `+`."""

Shortcode = NewType("Shortcode", str)
"""The account's address in a conversation: digits."""


class Direction(StrEnum):
    MT = "mt"  # mobile-terminated: application -> handset
    MO = "mo"  # mobile-originated: handset -> application


class Encoding(StrEnum):
    GSM7 = "GSM-7"
    UCS2 = "UCS-2"


class CallbackAuth(StrEnum):
    BEARER = "bearer"  # Authorization: Bearer <api token> [D]
    BASIC = "basic"  # from user name and password in client_url [W]
    NONE = "none"  # [W]


class MsisdnFormat(StrEnum):
    PLAIN = "plain"  # 2348020000000
    PLUS = "plus"  # +2348020000000
    MIXED = "mixed"  # alternating, so that an application that copes with one only is caught


class Order(StrEnum):
    FREE = "free"  # each webhook delivery goes when it is due
    CONVERSATION = "conversation"  # a conversation's webhook deliveries wait for the one before


class HandsetState(StrEnum):
    ON = "on"
    OFF = "off"  # messages to it wait until it is on again


class MessageState(StrEnum):
    ACCEPTED = "accepted"  # MT: the gateway has it, the handset does not yet
    ARRIVED = "arrived"  # MT: it is on the handset
    UNROUTED = "unrouted"  # MO: the account has no client_url to post it to
    ROUTED = "routed"  # MO: its webhook delivery says more


class DeliveryState(StrEnum):
    PENDING = "pending"  # no attempt yet
    IN_FLIGHT = "in_flight"  # an attempt is being made
    RETRYING = "retrying"  # an attempt failed, another is due
    DELIVERED = "delivered"  # answered 2xx
    REJECTED = "rejected"  # answered with what is not retried: 3xx, or 4xx other than 429
    EXHAUSTED = "exhausted"  # the last retry failed
    CANCELLED = "cancelled"  # someone, or a reset, asked for it

    @property
    def open(self) -> bool:
        """Whether an attempt is still owed."""
        return self in OPEN_STATES


OPEN_STATES = frozenset({DeliveryState.PENDING, DeliveryState.IN_FLIGHT, DeliveryState.RETRYING})


class Trigger(StrEnum):
    SCHEDULED = "scheduled"
    MANUAL = "manual"


class OutcomeKind(StrEnum):
    """How one POST ended."""

    ANSWERED = "answered"  # a status line came; `status_code` says which
    TIMED_OUT = "timed_out"  # the total deadline passed
    UNRESOLVED = "unresolved"  # the host's name has no address
    UNREACHABLE = "unreachable"  # the connection was refused or could not be made
    TLS_FAILED = "tls_failed"  # no trusted, matching certificate, or no TLS at all
    BROKEN = "broken"  # the connection ended, or spoke something else than HTTP, before the answer was complete
    FORBIDDEN = "forbidden"  # the sandbox itself refuses the address
    INTERRUPTED = "interrupted"  # the sandbox stopped before the outcome was known


MAX_OPAQUE = 255
"""Characters of a session_id or a ref_id [S]."""

MAX_PAYLOAD = 64 * 1024
"""Bytes of a webhook's body that somebody edited."""

ANSWER_KEPT = 16 * 1024
"""Bytes of a webhook's answer that are read and kept."""


EXPORTED = ("handsets", "scenarios", "messages", "refusals", "webhook_deliveries", "attempts")
"""What an export carries, as it is counted by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one POST to a `client_url`."""

    kind: OutcomeKind
    duration_ms: float
    status_code: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""  # the first ANSWER_KEPT bytes of the answer, as they came
    error: str = ""  # for people: what went wrong, in words
    fault_seq: int | None = None  # the fault that struck the attempt
    withheld: bool = False  # that fault kept it from being posted


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The unit of isolation: a token, its shortcodes, where replies go, and everything recorded under its name."""

    name: str
    token: str = field(repr=False)
    shortcodes: tuple[Shortcode, ...] = ()  # none listed means any
    client_url: str | None = field(default=None, repr=False)  # may hold a password
    callback_auth: CallbackAuth = CallbackAuth.BEARER
    msisdn_format: MsisdnFormat = MsisdnFormat.PLAIN
    revision: str = "2024"  # "2025" adds ref_id as the last key of an MO payload [R]
    strict: bool = True
    success_body: str | None = None  # JSON with {placeholders}; None is the default body
    retry_s: tuple[int, ...] = ()  # offsets of the retries, in seconds after attempt 1 was known to have failed
    order: Order = Order.FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One SMS, either way. `msisdn` is the handset's number and `shortcode` the account's, whatever the direction."""

    seq: int
    account: str
    direction: Direction
    msisdn: Msisdn
    shortcode: Shortcode
    text: str
    session_id: str
    ref_id: str | None
    sent_date: str  # MT: as the application wrote it; MO: when it was originated
    at_ms: int
    telco: str
    encoding: Encoding
    segments: int
    state: str  # MessageState, or for a routed MO the state of its latest webhook delivery
    extra: Mapping[str, object] = field(default_factory=dict)  # MT: keys the contract does not know
    warnings: tuple[str, ...] = ()
    delivery_seq: int | None = None  # MO: its latest webhook delivery

    @property
    def id(self) -> str:
        return f"m{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handset:
    account: str
    msisdn: Msisdn
    label: str = ""
    telco: str
    state: HandsetState = HandsetState.ON


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Account x shortcode x MSISDN, with what a list of conversations shows."""

    account: str
    msisdn: Msisdn
    shortcode: Shortcode
    session_id: str  # of the last MT, or of the last MO if no MT came yet
    unread: int  # MT messages that nobody has looked at
    last_seq: int
    last_at_ms: int
    last_text: str
    last_direction: Direction
    last_state: str
    label: str
    telco: str
    handset_state: HandsetState


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a request: a stable code, what was wrong in words, and what would be accepted."""

    field: str | None  # None: the request as a whole
    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One call to the gateway, accepted or refused. Tokens in `headers` are masked before they get here."""

    seq: int
    account: str | None  # None: no account owns the call's token
    at_ms: int
    method: str
    path: str
    client: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status_code: int  # 0: there was no answer
    answer: bytes
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"r{self.seq}"

    @property
    def verdict(self) -> str:
        return "accepted" if self.status_code == 200 else "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """One payload owed to one `client_url`. `body` never changes: every attempt repeats it byte for byte."""

    seq: int
    message_seq: int
    account: str
    msisdn: Msisdn
    shortcode: Shortcode
    url: str = field(repr=False)  # may hold a password
    body: bytes
    state: DeliveryState
    created_ms: int
    attempts: int = 0  # begun so far
    retries_used: int = 0
    first_failed_ms: int | None = None
    next_attempt_ms: int | None = None
    redelivery_of: int | None = None
    edited: bool = False  # a redelivery whose body somebody wrote: any bytes that are UTF-8
    put_off_ms: int = 0  # how much later than at their offsets the retries come: see rules.retry.taken_up
    taken_up: bool = False  # the attempt that is planned or under way uses up no retry: a start asked for it

    @property
    def id(self) -> str:
        return f"w{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One POST of a webhook delivery, numbered from 1. `outcome` is None while it is under way."""

    delivery_seq: int
    number: int
    trigger: Trigger
    started_ms: int
    offset_ms: int  # from the first failure; 0 for the attempts before it
    outcome: Outcome | None = None
    warnings: tuple[str, ...] = ()


class TimerKind(StrEnum):
    WEBHOOK = "webhook"  # a webhook delivery's next scheduled attempt
    WEBHOOK_MANUAL = "webhook_manual"  # an attempt that somebody asked for
    ORIGINATE = "originate"  # a reply that was asked for with a delay
    WINDOW = "window"  # the end of the time that a scenario's step gives the application
    LATER = "later"  # a fault or a change of a handset that a scenario asked for with a delay


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """Something that is due. Timers of one `queue` share a limit on how many run at once."""

    due_ms: int
    kind: TimerKind
    queue: str
    account: str
    subject: int  # the seq of what it is about
    data: str = ""  # JSON, for kinds that carry more than a subject
    id: int = 0  # of its row, if it has one


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A text that a handset is to send. Without a `session_id` a reply carries the last MT's; `new` starts one."""

    account: str
    msisdn: Msisdn
    text: str
    shortcode: Shortcode | None = None  # None: the one that texted the handset last
    session_id: str | None = None
    new: bool = False
    duplicates: int = 0  # how many times more the webhook comes, with the same bytes
    hold_ms: int = 0  # how much later than the text the webhook comes, so that a later text may overtake it
    msisdn_format: MsisdnFormat | None = None  # None: the account's
    telco: str | None = None  # None: the handset's


class FaultOn(StrEnum):
    SENDSMS = "sendsms"  # a call to the gateway
    WEBHOOK = "webhook"  # an attempt to post to client_url


class Drop(StrEnum):
    """Where a connection ends. The names say what the application can see, and what happened all the same."""

    REFUSED = "refused"  # closed without an answer; nothing was accepted, or posted
    ACCEPTED = "accepted"  # the message was accepted, or the webhook posted, but the answer is lost
    BODY = "body"  # sendsms only: accepted, and the answer is cut off in the middle of its body


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEffect:
    """What a fault does. At least one of these is set; a delay may go with any other."""

    status: int | None = None  # answered instead: 400 to 599
    body: str | None = None  # of that answer; None is the surface's own failure
    delay_s: float = 0  # real seconds: the application's own clock is real
    drop: Drop | None = None
    hold: bool = False  # no answer until the fault is removed, the account is reset, or the client leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure that someone asked for: counted, and in the order in which calls come."""

    seq: int
    account: str
    on: FaultOn
    match: Mapping[str, object] = field(default_factory=dict)  # as matching.Match; empty matches every call
    times: int | None = 1  # None: until it is removed
    used: int = 0
    effect: FaultEffect
    run_seq: int | None = None  # the scenario's run that asked for it

    @property
    def id(self) -> str:
        return f"f{self.seq}"

    @property
    def left(self) -> int | None:
        return None if self.times is None else max(0, self.times - self.used)


class RunState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"  # every step was done
    FAILED = "failed"  # a step's time passed, or what must not come came
    STOPPED = "stopped"  # someone, or a reset, asked for it


# Events: the journal numbers them, the bus spreads them. No listener of these changes state. --------------------------


class EventType(StrEnum):
    MESSAGE_SUBMITTED = "message_submitted"  # subject: the MT message, and the request it came in
    MESSAGE_REFUSED = "message_refused"  # subject: the refused request
    MESSAGE_ARRIVED = "message_arrived"  # subject: an MT message that had waited for its handset
    MESSAGE_ORIGINATED = "message_originated"  # subject: the MO message, and its first webhook delivery
    ATTEMPT_BEGUN = "attempt_begun"  # subject: the webhook delivery
    ATTEMPT_MADE = "attempt_made"  # subject: the webhook delivery, whose state may have changed
    DELIVERY_REDELIVERED = "delivery_redelivered"  # subject: the new webhook delivery
    DELIVERY_CANCELLED = "delivery_cancelled"  # subject: the webhook delivery
    HANDSET_CHANGED = "handset_changed"
    CONVERSATION_READ = "conversation_read"
    FAULT_CHANGED = "fault_changed"  # subject: the fault, that was added, used up or removed
    SCENARIO_CHANGED = "scenario_changed"  # one of the account's own was written or removed
    RUN_STARTED = "run_started"  # subject: the scenario's run
    RUN_MOVED = "run_moved"  # subject: the run, whose cursor or state changed
    RUN_MISSED = "run_missed"  # subject: the run, that a message did not fit
    RUN_PAUSED = "run_paused"  # subject: the run, that answers this handset no more: an application answers itself
    RUN_ENDED = "run_ended"  # subject: the run
    ACCOUNT_CHANGED = "account_changed"
    ACCOUNT_REMOVED = "account_removed"
    CLOCK_CHANGED = "clock_changed"
    RESET = "reset"


class Event(NamedTuple):
    """One line of the journal. Its `seq` is the number of whatever it announced."""

    seq: int
    at_ms: int
    kind: EventType
    account: str | None
    subject: int
    msisdn: str | None
