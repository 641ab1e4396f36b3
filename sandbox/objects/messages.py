"""SMS, calls to the gateway, and what came of waiting for messages."""

import re
from collections.abc import Mapping

from sandbox.model import DeliveryState, Direction, Encoding, MessageState
from sandbox.objects.derive import (
    account_name,
    api_object,
    base64_of,
    described,
    event_number,
    identifier,
    part,
    timestamp,
)

# A routed message has the state of its latest webhook delivery.
MESSAGE_STATES = (*(str(each) for each in MessageState if each is not MessageState.ROUTED), *map(str, DeliveryState))

# A number that stands alone, or two of three digits: no part of a date, an amount or an international number.
_number = re.compile(r"(?<![\d+₦$€£])(?<!\d[.,-])(?:\d{3}[- ]\d{3}|\d+)(?![.,-]?\d)", re.ASCII)
_link = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_after_a_link = ".,;:!?'’”)]}"  # what ends a sentence rather than an address


@api_object
class Message:
    """One SMS: `mt` from the application to a handset, or `mo` from a handset to the application."""

    id: str = identifier("m", "The message.")
    seq: int = event_number()
    account: str = account_name()
    direction: str = described(choices=Direction)
    from_: str = described("Shortcode of an MT message, MSISDN of an MO message.", "48974")
    to: str = described("MSISDN of an MT message, shortcode of an MO message; digits alone.", "2348020000000")
    text: str = described(example="When was the last time you went to the cinema?")
    session_id: str = described("Ties the messages of one dialogue together.", "67543uhn3")
    ref_id: str | None = described("As the application gave it, in the later revision.", None)
    sent_date: str = described("MT: as the application wrote it; MO: when it was sent.", "2024-01-02T23:50:37.000000Z")
    at: str = timestamp("When the sandbox got it.")
    telco: str = described("Operator of the handset.", "mtn")
    encoding: str = described(choices=Encoding)
    segments: int = described("How many SMS it takes.", 1, minimum=1)
    state: str = described(
        "MT: accepted or arrived; MO: unrouted, or the state of its latest webhook delivery.",
        "arrived",
        choices=MESSAGE_STATES,
    )
    webhook_delivery_id: str | None = identifier("w", "MO: its latest webhook delivery.", example=None)
    request_id: str | None = identifier("r", "MT: the call that it came in.")
    extra: Mapping[str, object] = described("MT: keys that the contract does not know.", hashed=False)
    warnings: tuple[str, ...] = described("What is accepted, but would better be otherwise.")

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


@part
class Difference:
    """In what a message is not as it should be."""

    field: str = described("What of it is different.", "text")
    wanted: str = described(example="*cinema?*")
    found: str = described(example="Which film?")


@part
class NearMiss:
    """A message that did not fit, and in what."""

    message: Message
    differences: tuple[Difference, ...]


@api_object
class Waited:
    """What came of waiting or verifying.

    It is true if it was satisfied.
    """

    satisfied: bool = described("Whether as many messages match as should.", True)
    messages: tuple[Message, ...] = described("Those that match, the oldest first.")
    near_misses: tuple[NearMiss, ...] = described(
        "If not satisfied: the messages that come closest, and in what they differ."
    )
    seq: int = described("Everything up to this number was looked at; another wait may go on `after` it.", 12)

    def __bool__(self) -> bool:
        return self.satisfied


@part
class Problem:
    """One thing that was wrong with a call to the gateway."""

    field: str | None = described("Null: the call as a whole.")
    code: str = described("Stable, for machines.", "missing")
    message: str = described("What was wrong, in words.")
    hint: str = described("What would be accepted.")


@part
class Header:
    name: str = described(example="content-type")
    value: str = described(example="application/json")


@api_object
class Request:
    """One call to the gateway, accepted or refused."""

    id: str = identifier("r", "The call.")
    seq: int = event_number()
    account: str | None = described("The account whose token it carried; null if no account owns the token.", "default")
    at: str = timestamp()
    verdict: str = described(choices=("accepted", "refused"))
    status_code: int = described("The status that it was answered with; 0: a fault took the answer.", 200)
    method: str = described(example="POST")
    path: str = described(example="/ng/v1/sendsms")
    client: str = described("Address of the caller.", "127.0.0.1")
    problems: tuple[Problem, ...] = described("Everything that was wrong with it.")
    warnings: tuple[str, ...] = described("What is accepted, but would better be otherwise.")
    message_id: str | None = identifier("m", "The message that came of it, if it was accepted.")
    headers: tuple[Header, ...] = described("Secrets are masked.")
    body: str = described("As it came.", "{}")
    body_base64: str | None = base64_of()
    answer: str = described("As it was given.", "{}")
    answer_base64: str | None = base64_of()

    @property
    def by_fault(self) -> bool:
        """Whether somebody asked for this refusal, so that nothing is wrong with the call."""
        return any(problem.code == "fault" for problem in self.problems)
