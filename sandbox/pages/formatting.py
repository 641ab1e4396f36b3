"""Formatting of values for pages: states in words, times, sizes, text from the wire made visible, shell commands.

Pure functions of the model, without templates, HTTP or database; whatever a page says about a state is decided here.
"""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, assert_never
from unicodedata import name as name_of

from sandbox.model import (
    Attempt,
    DeliveryState,
    Direction,
    Message,
    MessageState,
    Outcome,
    OutcomeKind,
    RecordedRequest,
    WebhookDelivery,
)
from sandbox.settings import mask_url
from sandbox.wire.problems import fault_strikes

Tone = Literal["calm", "wait", "good", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Status:
    """A state as people read it: an icon's name, a few words, and how they are coloured."""

    icon: str
    words: str
    tone: Tone


# States ------------------------------------------------------------------------------------------------------------


def message_status(
    message: Message, delivery: WebhookDelivery | None, attempts: Sequence[Attempt], retries: int
) -> Status:
    """The state of a message. `attempts` are those of `delivery`; `retries` is how many the account allows."""
    if message.direction is Direction.MT:
        if message.state == MessageState.ACCEPTED:
            return Status("clock", "accepted, waits for the handset", "wait")
        return Status("ticks", "arrived", "calm")
    if delivery is None:
        return Status("alert", "not sent: no client_url", "warn")
    return delivery_status(delivery, attempts[-1] if attempts else None, retries)


def delivery_status(delivery: WebhookDelivery, last: Attempt | None, retries: int) -> Status:
    """The state of a webhook delivery, with what its last attempt has to say."""
    outcome = None if last is None else last.outcome
    match delivery.state:
        case DeliveryState.PENDING:
            return Status("clock", "pending", "wait")
        case DeliveryState.IN_FLIGHT:
            return Status("clock", f"attempt {delivery.attempts} under way", "wait")
        case DeliveryState.RETRYING:
            due = "" if delivery.next_attempt_ms is None else f" at {hms(delivery.next_attempt_ms)}"
            why = "" if outcome is None else f"{outcome_words(outcome)}, "
            return Status("retry", f"{why}retry {delivery.retries_used} of {retries}{due}", "warn")
        case DeliveryState.DELIVERED:
            if outcome is None:
                return Status("ticks", "delivered", "good")
            return Status("ticks", f"delivered {outcome.status_code} in {duration(outcome.duration_ms)}", "good")
        case DeliveryState.REJECTED:
            return Status("cross", f"rejected {'' if outcome is None else outcome_words(outcome)}".strip(), "bad")
        case DeliveryState.EXHAUSTED:
            why = "" if outcome is None else f", the last {outcome_words(outcome)}"
            return Status("cross", f"exhausted: {counted(delivery.attempts, 'attempt')}{why}", "bad")
        case DeliveryState.CANCELLED:
            return Status("stop", "cancelled", "calm")
        case _:
            assert_never(delivery.state)


_OUTCOMES = {
    OutcomeKind.TIMED_OUT: "timed out",
    OutcomeKind.UNRESOLVED: "host not found",
    OutcomeKind.UNREACHABLE: "no connection",
    OutcomeKind.TLS_FAILED: "TLS failed",
    OutcomeKind.BROKEN: "connection broke",
    OutcomeKind.FORBIDDEN: "address forbidden",
    OutcomeKind.INTERRUPTED: "interrupted",
}


def outcome_words(outcome: Outcome) -> str:
    """`503`, or why there is no status code."""
    return _OUTCOMES.get(outcome.kind) or f"{outcome.status_code}"


def outcome_tone(outcome: Outcome | None) -> Tone:
    if outcome is None:
        return "wait"
    if outcome.kind is not OutcomeKind.ANSWERED:
        return "bad"
    code = outcome.status_code or 0
    return "good" if 200 <= code < 300 else "warn" if code == 429 or code >= 500 else "bad"


def request_status(request: RecordedRequest) -> Status:
    if request.verdict == "accepted":
        return Status("ticks", f"{request.status_code} accepted", "good")
    if not request.status_code:  # a fault took the answer
        return Status("cross", "refused without an answer", "bad")
    return Status("cross", f"{request.status_code} refused", "bad")


def fault_words(said: Iterable[str]) -> list[str]:
    """`fault f17: the answer is lost`, of each sentence about a fault, once however often it is said."""
    return list(dict.fromkeys(f"fault f{each.fault_seq}: {each.effect}" for each in fault_strikes(said)))


_LIST_WORDS: dict[str, Status] = {
    MessageState.ACCEPTED: Status("clock", "waits for the handset", "wait"),
    MessageState.UNROUTED: Status("alert", "no client_url", "warn"),
    DeliveryState.PENDING: Status("clock", "pending", "wait"),
    DeliveryState.IN_FLIGHT: Status("clock", "under way", "wait"),
    DeliveryState.RETRYING: Status("retry", "retrying", "warn"),
    DeliveryState.DELIVERED: Status("ticks", "delivered", "good"),
    DeliveryState.REJECTED: Status("cross", "rejected", "bad"),
    DeliveryState.EXHAUSTED: Status("cross", "exhausted", "bad"),
    DeliveryState.CANCELLED: Status("stop", "cancelled", "calm"),
}


def state_icon(state: str) -> Status | None:
    """A state as an icon alone; None for what needs no mention."""
    return _LIST_WORDS.get(state)


# Times and sizes ---------------------------------------------------------------------------------------------------


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def hms(at_ms: int) -> str:
    return _utc(at_ms).strftime("%H:%M:%S")


def hm(at_ms: int) -> str:
    return _utc(at_ms).strftime("%H:%M")


def day(at_ms: int) -> str:
    """`2 Jan 2024`."""
    moment = _utc(at_ms)
    return f"{moment.day} {moment.strftime('%b %Y')}"


def brief_time(at_ms: int, now_ms: int) -> str:
    """`23:50` for today, `2 Jan` for this year, else with the year."""
    moment, now = _utc(at_ms), _utc(now_ms)
    if moment.date() == now.date():
        return hm(at_ms)
    return day(at_ms) if moment.year != now.year else day(at_ms)[:-5]


def duration(ms: float) -> str:
    if ms < 1000:
        return f"{ms:.0f} ms" if ms >= 1 else "1 ms"
    return f"{ms / 1000:.1f} s"


def span(ms: int) -> str:
    """`30 s`, `16 min`, `1 h 4 min`: a length of time in at most two units."""
    seconds, rest = divmod(ms, 1000)
    if seconds < 60:
        return f"{seconds}.{rest // 100} s" if rest >= 100 and seconds < 10 else f"{seconds} s"
    units = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    parts = []
    for size, unit in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def apart(ahead_ms: int, *, frozen: bool) -> str:
    """`1 min 30 s ahead of the system's`: where the sandbox's clock is; empty if it runs with the system's to a second.

    One that stands still is told to the minute, because a page that shows it is made anew once a minute.
    """
    apart_ms = abs(ahead_ms)
    if not frozen and apart_ms < 1000:
        return ""
    unit_ms = 60_000 if frozen else 1000
    far = span(apart_ms // unit_ms * unit_ms) if apart_ms >= unit_ms else "less than 1 min"
    return f"{far} {'ahead of' if ahead_ms > 0 else 'behind'} the system's"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def initials(label: str, msisdn: str) -> str:
    """The initials in the circle of a handset: two letters of its label, or its number's last two digits."""
    words = re.findall(r"\w+", label)
    if not words:
        return msisdn[-2:]
    letters: str = words[0][0] + words[1][0] if len(words) > 1 else words[0][:2]
    return letters.upper()


def grouped(msisdn: str) -> str:
    """`+234 802 000 0000`: digits in groups that an eye can hold."""
    if len(msisdn) == 13 and msisdn.startswith("234"):
        return f"+{msisdn[:3]} {msisdn[3:6]} {msisdn[6:9]} {msisdn[9:]}"
    return f"+{msisdn}"


# Text from the wire ------------------------------------------------------------------------------------------------

# Control characters but tab and line feed, everything that turns or hides its neighbours, and tags. The joiners U+200C
# and U+200D stay: scripts and emoji are written with them.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def sign_for(character: str) -> str:
    """The sign that replaces an invisible character: `␛`, or `⟨U+202E⟩`."""
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def title_for(character: str) -> str:
    return f"U+{ord(character):04X} {name_of(character, 'control character')}"


def decoded(body: bytes) -> str:
    """Bytes from the wire as text; what is no UTF-8 shows as �."""
    return body.decode("utf-8", "replace")


def spelled(body: bytes) -> str:
    """JSON from the wire with every character that hides or turns its neighbours as an escape: the same JSON, that can
    be copied. What is no JSON stays as it is."""
    text = decoded(body)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return HIDDEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


# Lines for a shell -------------------------------------------------------------------------------------------------


def shell_word(text: str | bytes) -> str:
    """One word of a shell: in plain quotes, or in `$'…'` if it holds anything that a terminal would act upon."""
    raw = text.encode() if isinstance(text, str) else text
    try:
        plain = raw.decode()
    except UnicodeDecodeError:
        plain = None
    if plain is not None and (plain.isprintable() or not plain):
        return shlex.quote(plain)
    escaped = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in (0x27, 0x5C) else f"\\x{byte:02x}" for byte in raw
    )
    return f"$'{escaped}'"


def curl(url: str, body: str | bytes, *, authorization: bool = True) -> str:
    """A POST of JSON as a command to paste; the token is the reader's own, in the variable TOKEN."""
    lines = [f"curl {url}"]
    if authorization:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    lines += ["-H 'Content-Type: application/json'", f"-d {shell_word(body)}"]
    return " \\\n  ".join(lines)


def curl_of_delivery(delivery: WebhookDelivery, *, bearer: bool) -> str:
    masked = mask_url(delivery.url)
    url = shell_word(masked) if masked == delivery.url else '"$CLIENT_URL"'  # its secrets are not for the clipboard
    return curl(url, delivery.body, authorization=bearer)
