"""What the record says of cause and effect: which attempts an application may have read, and what it sent upon a text.

Pure. That one thing came after another is not yet its effect: whoever asks here is told only what nothing contradicts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from sandbox.model import Attempt, Direction, Message, OutcomeKind


class Numbered(Protocol):
    @property
    def seq(self) -> int: ...


N = TypeVar("N", bound=Numbered)

Begun = Callable[[int, int], int]
"""(webhook delivery, moment in ms) -> how many of its attempts of that moment had begun when the message came."""


def sent_upon(text: Numbered, sent: Iterable[N], texts: Iterable[Numbered]) -> list[N]:
    """Of what an application sent, what came after a handset's text and before its next one, of `texts`."""
    following = min((each.seq for each in texts if each.seq > text.seq), default=None)
    return [each for each in sent if each.seq > text.seq and (following is None or each.seq < following)]


def followers(conversation: Iterable[Message]) -> Mapping[int, Sequence[Message]]:
    """By the number of each text of the handset, what the application sent after it and before the next one, looking at
    each session for itself: another session's messages are no answer."""
    sent: dict[str, list[Message]] = defaultdict(list)
    texts: dict[str, list[Message]] = defaultdict(list)
    for message in conversation:
        (sent if message.direction is Direction.MT else texts)[message.session_id].append(message)
    return {
        text.seq: sent_upon(text, sent[session], texts[session]) for session in list(texts) for text in texts[session]
    }


def may_have_reached(attempt: Attempt) -> bool:
    """Whether the application may have read the webhook, whatever became of its answer."""
    if attempt.outcome is None:
        return True
    return not attempt.outcome.withheld and attempt.outcome.kind in (
        OutcomeKind.ANSWERED,
        OutcomeKind.TIMED_OUT,
        OutcomeKind.BROKEN,
        OutcomeKind.INTERRUPTED,
    )


def last_read(message: Message, attempts: Sequence[Attempt], begun: Begun) -> Attempt | None:
    """Of a text's attempts, in their order, the last by which the application may have read it before it sent the
    message; None if there is none. `begun` is asked where the times alone, on a clock that stands still, do not say."""
    before = [each for each in attempts if each.started_ms < message.at_ms]
    ties: dict[int, list[Attempt]] = defaultdict(list)
    for each in attempts:
        if each.started_ms == message.at_ms:
            ties[each.delivery_seq].append(each)
    for delivery_seq, those in ties.items():
        before += those[: begun(delivery_seq, message.at_ms)]
    return next((each for each in reversed(before) if may_have_reached(each)), None)
