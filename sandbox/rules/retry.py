"""Retry policy: what follows an attempt, decided from its outcome; and the rate limit per host.

No clock, no store, no HTTP. The table in `decide` is the documented one [W]; what the page leaves open is ours [S].
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from sandbox.model import ANSWER_KEPT, DeliveryState, Outcome, OutcomeKind

FULL_RATE = 32.0  # webhooks a second to one host and port: where halving starts, and beyond which nothing is held back
FLOOR_RATE = 1.0
RECOVERY = 1.1  # each answer other than 429 raises a lowered rate by a tenth [S]


@dataclass(frozen=True, slots=True)
class Decision:
    """The delivery's next state, and for `retrying` the moment of the next attempt."""

    state: DeliveryState
    next_attempt_ms: int | None = None


def is_success(outcome: Outcome) -> bool:
    """2xx: delivered [W]."""
    return outcome.kind is OutcomeKind.ANSWERED and 200 <= (outcome.status_code or 0) < 300


def is_retried(outcome: Outcome) -> bool:
    """Whether a failed attempt is followed by another."""
    match outcome.kind:
        case OutcomeKind.ANSWERED:
            # "5xx: retried", "429: retried", "other 4xx: not retried" [W]; 3xx is not followed and not retried [S]
            return outcome.status_code == 429 or (outcome.status_code or 0) >= 500
        case OutcomeKind.FORBIDDEN:  # the sandbox's own rule, which the same address breaks every time
            return False
        case _:  # no answer, time-out, connection or TLS failure: not documented, retried like 5xx [S]
            return True


def decide(
    outcome: Outcome,
    *,
    schedule_s: Sequence[int],
    retries_used: int,
    first_failed_ms: int,
    now_ms: int,
    put_off_ms: int = 0,
) -> Decision:
    """Decide what follows a scheduled attempt that ended as `outcome`.

    `schedule_s`: offsets of the retries in seconds after attempt 1 was known to have failed, which is
    `first_failed_ms`; `retries_used` of them are used up, the others come `put_off_ms` later. A retry whose moment has
    passed is due at once.
    """
    if is_success(outcome):
        return Decision(DeliveryState.DELIVERED)
    if not is_retried(outcome):
        return Decision(DeliveryState.REJECTED)
    if retries_used >= len(schedule_s):
        return Decision(DeliveryState.EXHAUSTED)
    due_ms = first_failed_ms + put_off_ms + schedule_s[retries_used] * 1000
    return Decision(DeliveryState.RETRYING, max(due_ms, now_ms))


def taken_up(
    *, schedule_s: Sequence[int], retries_used: int, first_failed_ms: int, now_ms: int, again: bool = False
) -> tuple[int, int]:
    """`retries_used` and `put_off_ms` of a webhook whose retry came due while the sandbox did not run [S].

    It is attempted at once, which uses up no retry; those that are left follow at their distances from now. So an
    application that comes up after the sandbox still gets its webhooks, and no two attempts come in a burst.
    `again`: an earlier start asked for that attempt already, and it did not come to its end.
    """
    left = retries_used if again else max(0, retries_used - 1)  # the retry that is due now is still to come
    left = min(left, len(schedule_s))
    last_s = schedule_s[left - 1] if left else 0
    return left, now_ms - first_failed_ms - last_s * 1000


def throttle(rate: float | None, outcome: Outcome) -> float | None:
    """The webhooks a second that a host and port may get after this outcome; None: as many as come.

    "429: retried, and the throughput to that URL is lowered" [W]: halved, floor 1/s, slow recovery [S].
    """
    if outcome.status_code == 429:
        return max(FLOOR_RATE, (rate or FULL_RATE) / 2)
    if rate is None or outcome.kind is not OutcomeKind.ANSWERED:
        return rate
    raised = rate * RECOVERY
    return None if raised >= FULL_RATE else raised


def warnings(outcome: Outcome) -> tuple[str, ...]:
    """Warnings about an answer that counts as delivered.

    "Your response to our POST request should be a valid JSON" [D]: another 2xx answer still counts as delivered [S].
    """
    found: list[str] = []
    cut_off = len(outcome.body) >= ANSWER_KEPT  # then nobody knows what the rest was
    if is_success(outcome) and not cut_off and not is_json(outcome.body):
        found.append(
            "The answer is not valid JSON. 9bits asks for JSON in answer to its POST; answer for example "
            '{"status": "ok"} with Content-Type: application/json.'
        )
    if any(name.lower() == "retry-after" for name, _ in outcome.headers):
        found.append("The answer carries Retry-After. 9bits does not document it, so it is shown and not followed.")
    return tuple(found)


def is_json(body: bytes) -> bool:
    """JSON as RFC 8259 has it: in UTF-8, without the NaN and Infinity that Python knows besides."""
    try:
        json.loads(body.decode(), parse_constant=_no_constant, parse_int=float)  # an int of any length
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
