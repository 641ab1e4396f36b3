"""The news of the sandbox, in the past tense: what the journal numbers and the bus spreads.

News, never orders: no listener of these changes state. An entry names the thing that it is about by number; whoever
wants the thing itself reads it from the store.
"""

from enum import StrEnum
from typing import NamedTuple


class News(StrEnum):
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


class Entry(NamedTuple):
    """One line of the journal. Its `seq` is the number of whatever it announced."""

    seq: int
    at_ms: int
    kind: News
    account: str | None
    subject: int
    msisdn: str | None
