"""A reference model of the delivery rules, written from what is documented and not from the code that it checks.

It knows no database, no clock and no concurrency: deliveries in a list, and one loop that asks what happens next. The
sources are quoted beside the lines that obey them: [W] the webhook page of 9bits, [S] the table of the README about
what that page leaves open, and the promise of docs/reliability.md.

At one moment, first attempts end (of the earliest delivery first, the lowest number first), then attempts begin, until
neither happens any more; what somebody does comes after that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NEVER = 10**18


@dataclass(frozen=True, slots=True)
class Answer:
    """What the application does with an attempt: `outcome` "answered" with a status, or how it does not answer."""

    outcome: str
    status_code: int | None = None
    takes_ms: int = 0

    @property
    def succeeds(self) -> bool:
        """ "2xx: delivered" [W]."""
        return self.status_code is not None and 200 <= self.status_code <= 299

    @property
    def is_retried(self) -> bool:
        """ "5xx: retried", "429: retried", "other 4xx: not retried" [W]; 3xx is not retried, no answer is [S]."""
        if self.status_code is None:
            return True
        return self.status_code == 429 or 500 <= self.status_code <= 599


@dataclass(slots=True)
class Try:
    """An attempt. `offset_ms` counts from the first failure; `outcome` None: it is under way until `ends_ms`."""

    number: int
    trigger: str  # "scheduled" or "manual"
    started_ms: int
    offset_ms: int
    answer: Answer
    ends_ms: int
    state_before: str
    outcome: str | None = None


@dataclass(slots=True)
class Owed:
    """A webhook delivery."""

    conversation: int
    answers: Sequence[Answer]  # of its attempts in turn; the last one goes on for ever
    state: str = "pending"
    due_ms: int | None = None  # when the next scheduled attempt is due
    failed_ms: int | None = None  # when the first scheduled attempt was known to have failed
    retries: int = 0  # that were used up
    put_off_ms: int = 0  # how much later the retries come, because the sandbox did not run
    taken_up: bool = False  # the attempt that is due or under way uses up no retry
    tries: list[Try] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.state in ("pending", "in_flight", "retrying")

    @property
    def under_way(self) -> Iterator[Try]:
        return (each for each in self.tries if each.outcome is None)


class Model:
    """What becomes of every webhook delivery of one account."""

    def __init__(self, schedule_s: Sequence[int], *, ordered: bool, now_ms: int = 0) -> None:
        self.now_ms = now_ms
        self.owed: list[Owed] = []
        self._schedule_s = schedule_s
        self._ordered = ordered
        self._off: set[int] = set()  # conversations whose handset is off

    # What somebody does. Each verb says whether it was possible.

    def switch(self, conversation: int, *, on: bool) -> bool:
        (self._off.discard if on else self._off.add)(conversation)
        return True

    def text(self, conversation: int, answers: Sequence[Answer]) -> bool:
        """A handset texts the application: one webhook delivery, due at once. One that is off cannot."""
        if conversation in self._off:
            return False
        self.owed.append(Owed(conversation, answers, due_ms=self.now_ms))
        self.advance(self.now_ms)
        return True

    def attempt(self, number: int) -> bool:
        """One attempt beside the schedule: not of what was delivered, and not while another is under way."""
        it = self.owed[number]
        if it.state == "delivered" or any(it.under_way):
            return False
        self._begin(it, "manual")
        self.advance(self.now_ms)
        return True

    def cancel(self, number: int) -> bool:
        """Owe it no longer. An attempt under way goes on, and is still recorded."""
        it = self.owed[number]
        if not it.is_open:
            return False
        self._close(it, "cancelled")
        self.advance(self.now_ms)
        return True

    def redeliver(self, number: int, answers: Sequence[Answer]) -> bool:
        """The same bytes once more, as a delivery of its own, once the old one is owed no longer."""
        it = self.owed[number]
        if it.is_open:
            return False
        self.owed.append(Owed(it.conversation, answers, due_ms=self.now_ms))
        self.advance(self.now_ms)
        return True

    def restart(self, down_ms: int) -> bool:
        """The sandbox is killed, and started after a while: what was under way is marked `interrupted`. It, and
        whatever came due meanwhile, is attempted at once without using up a retry; the retries that are left keep
        their distances, the first of them from now [S]."""
        self.now_ms += down_ms
        for it in self.owed:
            is_late = it.due_ms is not None and it.due_ms < self.now_ms
            for attempt in it.under_way:
                attempt.outcome = "interrupted"
                if attempt.trigger == "scheduled" and it.state == "in_flight":
                    it.state = "pending" if it.failed_ms is None else "retrying"
                    it.due_ms = self.now_ms
                    is_late = True
            if is_late and it.failed_ms is not None:
                if not it.taken_up:
                    it.retries = max(0, it.retries - 1)
                it.taken_up = True
                earlier_s = self._schedule_s[it.retries - 1] if it.retries else 0
                it.put_off_ms = self.now_ms - it.failed_ms - earlier_s * 1000
        self.advance(self.now_ms)
        return True

    def advance(self, to_ms: int) -> None:
        """Let everything happen up to and including this moment."""
        while True:
            self.now_ms, happens = min(
                ((self._ending_ms(), self._end_one), (self._beginning_ms(), self._begin_due)), key=lambda pair: pair[0]
            )
            if self.now_ms > to_ms:
                self.now_ms = to_ms
                return
            happens()

    # What follows by itself

    def _ending_ms(self) -> int:
        return min((attempt.ends_ms for it in self.owed for attempt in it.under_way), default=NEVER)

    def _end_one(self) -> None:
        it, attempt = next(
            (it, attempt) for it in self.owed for attempt in it.under_way if attempt.ends_ms == self.now_ms
        )
        attempt.outcome = attempt.answer.outcome
        if attempt.trigger == "manual":  # it uses up no retry, and changes nothing unless it succeeds
            was_cancelled = it.state == "cancelled" and attempt.state_before != "cancelled"
            if attempt.answer.succeeds and not was_cancelled:
                self._close(it, "delivered")
        elif it.state == "in_flight":
            self._follow(it, attempt.answer)

    def _follow(self, it: Owed, answer: Answer) -> None:
        it.taken_up = False
        if answer.succeeds:
            return self._close(it, "delivered")
        if it.failed_ms is None:
            it.failed_ms = self.now_ms
        if not answer.is_retried:
            return self._close(it, "rejected")
        if it.retries == len(self._schedule_s):  # "The last retry …" [W]: none is left
            return self._close(it, "exhausted")
        # "The first initial retry will happen 30 seconds after the first try …" [W], read as offsets from the moment at
        # which attempt 1 was known to have failed [S]. One whose moment has passed is due at once.
        it.due_ms = max(self.now_ms, it.failed_ms + it.put_off_ms + self._schedule_s[it.retries] * 1000)
        it.state = "retrying"
        it.retries += 1
        return None

    def _close(self, it: Owed, state: str) -> None:
        it.state = state
        it.due_ms = None

    def _beginning_ms(self) -> int:
        return min(
            (max(self.now_ms, it.due_ms) for it in self.owed if it.due_ms is not None and self._turn(it)), default=NEVER
        )

    def _turn(self, it: Owed) -> bool:
        """ "Each goes when it is due", or with `order = "conversation"` "a later one waits for the one before" [S]."""
        if not self._ordered:
            return True
        return next(each for each in self.owed if each.is_open and each.conversation == it.conversation) is it

    def _begin_due(self) -> None:
        it = next(
            each for each in self.owed if each.due_ms is not None and each.due_ms <= self.now_ms and self._turn(each)
        )
        self._begin(it, "scheduled")
        it.state = "in_flight"
        it.due_ms = None

    def _begin(self, it: Owed, trigger: str) -> None:
        number = len(it.tries)
        answer = it.answers[min(number, len(it.answers) - 1)]
        it.tries.append(
            Try(
                number=number + 1,
                trigger=trigger,
                started_ms=self.now_ms,
                offset_ms=0 if it.failed_ms is None else self.now_ms - it.failed_ms,
                answer=answer,
                ends_ms=self.now_ms + answer.takes_ms,
                state_before=it.state,
            )
        )
