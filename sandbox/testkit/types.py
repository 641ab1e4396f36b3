"""What the control API answers, as typed values for those who write tests.

Frozen values that know nothing of how they were asked for. Keys that a newer sandbox adds are left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

# A number that stands alone, or two of three digits: no part of a date, an amount or an international number.
_number = re.compile(r"(?<![\d+₦$€£])(?<!\d[.,-])(?:\d{3}[- ]\d{3}|\d+)(?![.,-]?\d)", re.ASCII)
_link = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_after_a_link = ".,;:!?'’”)]}"  # what ends a sentence rather than an address


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One SMS: `mt` from the application to a handset, `mo` from a handset to the application."""

    id: str
    seq: int
    direction: str
    from_: str  # MT: the shortcode; MO: the handset's number, digits only
    to: str
    text: str
    session_id: str
    ref_id: str | None
    sent_date: str
    at: str  # ISO 8601 in UTC, by the sandbox's clock
    telco: str
    encoding: str  # GSM-7 or UCS-2
    segments: int
    state: str  # of an MO with a webhook delivery: that one's
    webhook_delivery_id: str | None
    warnings: tuple[str, ...]

    @property
    def handset(self) -> str:
        """The handset's number, whatever the direction."""
        return self.to if self.direction == "mt" else self.from_

    @property
    def shortcode(self) -> str:
        return self.from_ if self.direction == "mt" else self.to

    def code(self, *, least: int = 4, most: int = 8) -> str:
        """The first number of `least` to `most` digits that stands alone, as one-time codes do; `123 456` is one too.

        Raises AssertionError if the text has none.
        """
        __tracebackhide__ = True
        for found in _number.findall(self.text):
            digits: str = found.replace(" ", "").replace("-", "")
            if least <= len(digits) <= most:
                return digits
        raise AssertionError(f"There is no code of {least} to {most} digits in {self.text!r}.")

    def links(self) -> list[str]:
        """The http and https addresses in the text, without the punctuation behind them."""
        return [found[0].rstrip(_after_a_link) for found in _link.finditer(self.text)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that was wrong with a call to the gateway."""

    field: str | None
    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call to the gateway. Tokens in `headers` are masked; `status_code` 0: a fault took the answer."""

    id: str
    seq: int
    at: str
    verdict: str  # accepted or refused
    status_code: int
    method: str
    path: str
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    message_id: str | None
    headers: tuple[Header, ...]
    body: str
    answer: str

    @property
    def by_fault(self) -> bool:
        """Whether somebody asked for this refusal, so that nothing is wrong with the call."""
        return any(problem.code == "fault" for problem in self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One POST of a webhook delivery; `offset_s` counts from the first failure."""

    number: int
    trigger: str  # scheduled or manual
    offset_s: float
    started_at: str
    duration_ms: float | None  # None, like what follows, while it is under way
    outcome: str | None  # answered, timed_out, unreachable …
    status_code: int | None
    error: str | None
    response_body: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    field: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A message that did not fit, and in what."""

    message: Message
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """What came of waiting or verifying; true if it was satisfied. `messages` fit, oldest first."""

    satisfied: bool
    messages: tuple[Message, ...]
    near_misses: tuple[NearMiss, ...]
    seq: int

    def __bool__(self) -> bool:
        return self.satisfied


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A message that a scenario's run had no use for: the step or rule that it came closest to, and why."""

    message_id: str
    about: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something suspicious in what the application did."""

    code: str
    message: str
    hint: str
    at: str
    message_ids: tuple[str, ...]
    webhook_delivery_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure that was asked for; `left` None: until it is removed."""

    id: str
    on: str  # sendsms or webhook
    match: Mapping[str, object]
    times: int | None
    used: int
    left: int | None
    effect: Mapping[str, object]


def read(kind: type[T], json: Mapping[str, Any]) -> T:
    """The value of a kind that a JSON object describes."""
    return kind(**{name: made(json.get(key)) for name, key, made in _fields(cast(Any, kind))})


@cache
def _fields(kind: type) -> list[tuple[str, str, Any]]:
    hints = get_type_hints(kind)
    return [(each.name, each.name.rstrip("_"), _maker(hints[each.name])) for each in fields(kind)]


def _maker(hint: Any) -> Any:
    """What turns a value of JSON into one of a field's type."""
    if get_origin(hint) is tuple:
        one = _maker(get_args(hint)[0])
        return lambda values: tuple(one(value) for value in values or ())
    if hasattr(hint, "__dataclass_fields__"):
        return lambda value: read(hint, value)
    return lambda value: value
