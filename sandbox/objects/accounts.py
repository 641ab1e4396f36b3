"""Accounts, handsets and the clock."""

from sandbox.model import CallbackAuth, HandsetState, MsisdnFormat, Order, TimerKind
from sandbox.objects.derive import account_name, api_object, described, timestamp
from sandbox.settings import RETRY_PRESETS


@api_object
class AccountObject:
    """The unit of isolation: a token, its shortcodes, where replies go, and everything recorded under its name."""

    id: str = described(example="default")
    name: str = described(example="default")
    token: str = described("Its API token, masked.", "sand…")
    shortcodes: tuple[str, ...] = described("Those it may send from; none means any.")
    client_url: str | None = described("Where replies are posted; user, password and query are masked.", None)
    callback_auth: str = described(choices=CallbackAuth)
    msisdn_format: str = described(choices=MsisdnFormat)
    revision: str = described(choices=("2024", "2025"))
    strict: bool = described("Whether a message needs session_id and sent_date.", True)
    success_body: str | None = described("JSON that an accepted message is answered with, with {placeholders}.", None)
    retry: tuple[int, ...] = described(
        "Offsets of the retries, in seconds after the first failure.", list(RETRY_PRESETS["documented"])
    )
    order: str = described(choices=Order)


@api_object
class HandsetObject:
    """One handset. Every number has one; it need not be made."""

    id: str = described("Its number.", "2348020000000")
    account: str = account_name()
    msisdn: str = described("Its number, digits alone.", "2348020000000")
    label: str = described("A name for people; empty without one.", "")
    telco: str = described("Its operator.", "mtn")
    state: str = described("Messages wait for a handset that is off, and it sends nothing.", choices=HandsetState)


@api_object
class TimerObject:
    """Something that is due later."""

    due_at: str = timestamp()
    kind: str = described(choices=TimerKind)
    account: str = account_name()
    subject: int = described("The number of what it is about.", 15)


@api_object
class ClockObject:
    """The sandbox's time."""

    now: str = timestamp()
    frozen: bool = described("Whether it stands still until it is advanced.", True)
    ahead_s: float = described("How far it is ahead of the system's clock; negative if it is behind.", 0)
    due: tuple[TimerObject, ...] = described("What is due next, of all accounts; ten at most.")


@api_object
class MovedClock(ClockObject):
    """The sandbox's time, after it was changed."""

    moments: int = described("At how many moments something came due on the way.", 9)
