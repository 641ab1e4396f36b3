"""Details of a message on its page: cause and effect, what follows the last attempt, and oddities of an edited payload.

Functions of the model, and of what is read in `database.read`; no templates, and nothing is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from sandbox.model import (
    Account,
    Attempt,
    DeliveryState,
    Message,
    Order,
    OutcomeKind,
    WebhookDelivery,
)
from sandbox.pages import formatting
from sandbox.rules import correlation
from sandbox.store import journal, outbox
from sandbox.store.database import Queries
from sandbox.wire.requests import decode_json

DOCUMENTED = ("type", "telco", "from", "to", "message", "session_id", "sent_date")
"""The keys of a webhook's payload [D]."""


# Cause and effect --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A message that the application sent upon a text of the handset, as far as the record shows."""

    text: Message
    message: Message
    attempt: Attempt  # by which it had last read the text
    first: bool  # whether that was the first attempt of all

    @property
    def after(self) -> str:
        """`48 ms after`: how long after the text it came; just `after` on a clock that stood still."""
        late_ms = self.message.at_ms - self.text.at_ms
        if late_ms <= 0:
            return "after"
        return f"{formatting.duration(late_ms) if late_ms < 60_000 else formatting.span(late_ms // 1000 * 1000)} after"

    @property
    def answer(self) -> str:
        """The application's answer to that attempt in words; empty while it is under way."""
        outcome = self.attempt.outcome
        if outcome is None:
            return ""
        again = "" if self.attempt.delivery_seq == self.text.seq else f"w{self.attempt.delivery_seq}, "
        which = "" if self.first else f" ({again}attempt {self.attempt.number})"
        if outcome.kind is OutcomeKind.ANSWERED:
            return f"answered {outcome.status_code} after {formatting.duration(outcome.duration_ms)}{which} and "
        return f"did not answer ({formatting.outcome_words(outcome)}){which} but "


def in_order(attempts: Iterable[Attempt]) -> Sequence[Attempt]:
    """The attempts of all webhook deliveries of a message, as they began."""
    return sorted(attempts, key=lambda each: (each.started_ms, each.delivery_seq, each.number))


def effects(
    db: Queries,
    conversation: Sequence[Message],
    known: Mapping[int, Sequence[Attempt]],
    shown: Iterable[Message],
) -> Sequence[Effect]:
    """The effects in a part of a conversation, oldest first, of which at least one side is shown.

    `known` are the attempts by the number of the message that they carry, in their order; others are read.
    """
    seen = {each.seq for each in shown}
    found: list[Effect] = []
    sent_upon = correlation.followers(conversation)
    for text in conversation:
        sent = [each for each in sent_upon.get(text.seq, ()) if each.seq in seen or text.seq in seen]
        if not sent:
            continue
        attempts = known[text.seq] if text.seq in known else _attempts(db, text)
        for message in sent:
            attempt = correlation.last_read(message, attempts, partial(_begun, db, message.seq))
            if attempt is not None:
                found.append(Effect(text=text, message=message, attempt=attempt, first=attempt is attempts[0]))
    return found


def _attempts(db: Queries, text: Message) -> Sequence[Attempt]:
    return in_order(each for it in outbox.of_message(db, text.seq) for each in outbox.attempts(db, it.seq))


def _begun(db: Queries, before: int, delivery_seq: int, at_ms: int) -> int:
    return journal.begun_before(db, delivery_seq, at_ms=at_ms, before=before)


# What follows the attempts ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The last point of a timeline: the next attempt and its moment, or why there is none."""

    words: str
    due_ms: int | None = None


def ending(it: WebhookDelivery, last: Attempt | None, account: Account, *, waits: bool) -> Ending | None:
    """The point after the attempts of a webhook delivery; None while one is under way. `waits`: for an earlier one."""
    match it.state:
        case DeliveryState.IN_FLIGHT:
            return None
        case DeliveryState.PENDING if waits:
            return Ending(words="waits until the webhook delivery before it in this conversation has ended")
        case DeliveryState.PENDING:
            return Ending(words="first attempt", due_ms=it.next_attempt_ms)
        case DeliveryState.RETRYING:
            return Ending(
                words=f"retry {it.retries_used} of {max(it.retries_used, len(account.retry_s))}",
                due_ms=it.next_attempt_ms,
            )
        case DeliveryState.DELIVERED:
            return Ending(words="delivered: nothing more follows")
        case DeliveryState.REJECTED:
            return Ending(words=f"{_why_rejected(last)}: nothing more follows by itself")
        case DeliveryState.EXHAUSTED if it.retries_used:
            return Ending(words="that was the last retry: nothing more follows by itself")
        case DeliveryState.EXHAUSTED:
            return Ending(words="the account has no retries: nothing more follows by itself")
        case DeliveryState.CANCELLED:
            return Ending(words="cancelled: nothing more follows")
        case _:
            assert_never(it.state)


def _why_rejected(last: Attempt | None) -> str:
    outcome = None if last is None else last.outcome
    if outcome is None:
        return "rejected"
    if outcome.kind is OutcomeKind.FORBIDDEN:
        return "the sandbox does not post to that address"
    if 300 <= (outcome.status_code or 0) < 400:
        return "a redirect is not followed, and not retried"
    return f"{formatting.outcome_words(outcome)} is not retried, only 429, 5xx and no answer are"


def waits_for_another(db: Queries, it: WebhookDelivery, account: Account) -> bool:
    """Whether an earlier webhook delivery of the same conversation has to end first."""
    return it.state is DeliveryState.PENDING and account.order is Order.CONVERSATION and outbox.open_before(db, it)


# Edited payloads ----------------------------------------------------------------------------------------------------


def oddities(it: WebhookDelivery) -> Sequence[str]:
    """In what an edited payload differs in kind from what 9bits posts; other payloads have nothing odd."""
    if not it.edited:
        return ()
    try:
        value = decode_json(it.body)
    except ValueError as error:
        return (f"This is not JSON: {error}. 9bits always posts a JSON object.",)
    if not isinstance(value, dict):
        return ("This is JSON, but not an object. 9bits always posts an object.",)
    missing = [key for key in DOCUMENTED if key not in value]
    strange = [key for key in DOCUMENTED if key in value and not isinstance(value[key], str)]
    found = []
    if missing:
        found.append(f"Without {_listed(missing)}, which 9bits always sends.")
    if strange:
        found.append(f"Not a string: {_listed(strange)}. 9bits sends these keys as strings.")
    return found


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
