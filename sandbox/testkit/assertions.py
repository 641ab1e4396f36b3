"""Waits and assertions about messages, and the state that the objects of one account share.

Plans that the objects of handset.py and testing.py run; nothing of pytest. See failure_messages.py for the texts.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar
from weakref import WeakSet

from sandbox.client import Endpoints
from sandbox.errors import SandboxError
from sandbox.objects.derive import from_json
from sandbox.objects.messages import Message, NearMiss, Request, Waited
from sandbox.testkit import failure_messages
from sandbox.testkit.failure_messages import Situation
from sandbox.testkit.transport import Awaiting, Blocking, CallPlan, Json, PlanRunner, Refused
from sandbox.values.kinds import nearest

T = TypeVar("T")

CALLS = Endpoints()
CONVERSATIONS = 5  # that a failure shows, if it is about no handset in particular
MOST = 500  # objects of one list


class ExpectationFailed(AssertionError):
    """An expectation of a test was not met; the message says what happened instead."""


class Filters(TypedDict, total=False):
    """Filters for messages. Numbers and sessions match exactly; `pattern` is a regular expression that is
    looked for in the text."""

    pattern: str
    ignore_case: bool  # of the text's glob and of the pattern
    session_id: str
    from_: str
    segments: int
    encoding: str  # GSM-7 or UCS-2


class AccountFilters(Filters, total=False):
    """Filters for messages of the whole account: those of Filters, and the numbers and the direction."""

    to: str
    state: str
    direction: str  # mt, from the application, or mo, from a handset


@dataclass(slots=True, kw_only=True, weakref_slot=True, eq=False)
class AccountContext:
    """The state that the objects of one account share."""

    runner: PlanRunner
    name: str
    token: str
    shortcode: str  # that a handset texts if nothing else is said
    numbers: Callable[[str], str]  # telco -> a number that nobody has yet
    unowned: Callable[[], CallPlan[Sequence[Request]]]  # calls with a token of no account, since this one was opened
    hosted: ExitStack = field(default_factory=ExitStack)  # the application, if it is served here
    client_url: str | None = None
    cursor: int = 0  # up to which the account's own waits have gone
    looked_at: set[str] = field(default_factory=set)  # refused calls that the test has seen
    near_misses: list[NearMiss] = field(default_factory=list)  # of what was expected in vain
    objects: "WeakSet[LiveObject]" = field(default_factory=WeakSet)  # that an async test holds
    plays: bool = False  # whether a scenario was started

    @property
    def url(self) -> str:
        return self.runner.transport.url


def match_of(text: str | None, filters: Mapping[str, object], kind: type = Filters) -> dict[str, object]:
    """The filters as the control API knows them. Raises TypeError for one that it does not."""
    known = kind.__annotations__
    for name in filters:
        if name not in known:
            raise TypeError(f"{name!r} is no filter of messages. {nearest(name, ('text', *known))}")
    made = {"text": text, **{name.rstrip("_"): value for name, value in filters.items()}}
    return {name: value for name, value in made.items() if value is not None}


def found(match: Mapping[str, object], after: int = 0) -> CallPlan[list[Message]]:
    """The messages that fit now, oldest first."""
    answer = yield CALLS.wait(timeout=0, after=after, **match)
    return list(from_json(Waited, answer).messages)


def awaited(
    context: AccountContext,
    match: Mapping[str, object],
    *,
    asked: Mapping[str, object],
    count: int,
    timeout: float,
    after: int,
    who: str = "",
) -> CallPlan[list[Message]]:
    """The first `count` messages after a number that fit; ExpectationFailed if they do not come in `timeout` seconds.

    `asked` is the part of `match` that the test named, and `who` the handset's number if it is about one.
    """
    __tracebackhide__ = True
    answer = yield CALLS.wait(timeout=timeout, count=count, after=after, **match)
    waited = from_json(Waited, answer)
    if waited.satisfied:
        return list(waited.messages[:count])
    near = _near(waited)
    context.near_misses += near
    passed = [each for each in (yield from found(match)) if each.seq <= after]
    what = "No message came" if not waited.messages else f"{len(waited.messages)} of {count} messages came"
    scene = yield from scenery(context, who)
    raise ExpectationFailed(
        failure_messages.unmet(
            f"{what}{' to ' if who else ''}{who} within {timeout:g} s",
            match=asked,
            fits=waited.messages,
            near=near,
            passed=passed,
            scene=scene,
        )
    )


def verified(
    context: AccountContext,
    match: Mapping[str, object],
    *,
    exactly: int | None = None,
    at_least: int | None = None,
    at_most: int | None = None,
    within: float = 0.0,
    after: int | None = None,
) -> CallPlan[Waited]:
    answer = yield CALLS.verify(match, exactly=exactly, at_least=at_least, at_most=at_most, within=within, after=after)
    waited = from_json(Waited, answer)
    context.near_misses += _near(waited)
    return waited


def _near(waited: Waited) -> list[NearMiss]:
    """What came close. A text the other way did not: nobody takes one for the other."""
    return [each for each in waited.near_misses if all(one.field != "direction" for one in each.differences)]


def none_came(
    context: AccountContext,
    match: Mapping[str, object],
    *,
    asked: Mapping[str, object],
    within: float,
    after: int = 0,
    who: str = "",
) -> CallPlan[None]:
    """Nothing, if no message after a number fits, and none comes to within real seconds; else ExpectationFailed."""
    __tracebackhide__ = True
    waited = yield from verified(context, match, exactly=0, within=within, after=after)
    if not waited.satisfied:
        scene = yield from scenery(context, who)
        headline = f"{_messages(len(waited.messages))} came{' to ' if who else ''}{who}, and none should"
        raise ExpectationFailed(failure_messages.unmet(headline, match=asked, fits=waited.messages, scene=scene))


def as_often(
    context: AccountContext, match: Mapping[str, object], *, within: float, **times: int | None
) -> CallPlan[list[Message]]:
    """The messages that fit, if they are as many as they should be; else ExpectationFailed."""
    __tracebackhide__ = True
    waited = yield from verified(context, match, within=within, **times)
    if waited.satisfied:
        return list(waited.messages)
    wanted = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in times.items() if number is not None)
    scene = yield from scenery(context)
    headline = f"{_messages(len(waited.messages))} came; wanted {wanted or 'at least 1'}"
    raise ExpectationFailed(
        failure_messages.unmet(headline, match=match, fits=waited.messages, near=_near(waited), scene=scene)
    )


def _messages(number: int) -> str:
    return {0: "No message", 1: "1 message"}.get(number, f"{number} messages")


def scenery(context: AccountContext, who: str = "") -> CallPlan[Situation]:
    """The present state for a failure message, of one handset or of the account."""
    try:
        calls = yield from own_requests()
        unowned = yield from context.unowned()
        conversation = yield from transcript(who) if who else transcripts(CONVERSATIONS)
    except SandboxError as error:  # the reason for the failure counts more than its scenery
        return Situation(url=context.url, called=True, transcript=f"It could not be read: {error}")
    return Situation(
        url=context.url,
        called=bool(calls),
        refused=[each for each in calls if each.verdict == "refused"],
        unowned=unowned,
        transcript=conversation,
    )


def own_requests(**filters: str) -> CallPlan[list[Request]]:
    """Calls to the gateway with the account's token, oldest first."""
    answer = yield CALLS.list("requests", limit=MOST, **filters)
    return [from_json(Request, each) for each in reversed(answer["requests"])]


def requests(context: AccountContext, **filters: str) -> CallPlan[list[Request]]:
    """Calls to the gateway that count as the test's, oldest first, which the test has seen with this."""
    made = [*(yield from own_requests(**filters)), *(yield from context.unowned())]
    context.looked_at.update(each.id for each in made)
    return sorted(made, key=lambda each: each.seq)


def transcript(number: str, as_: str = "text") -> CallPlan[str]:
    text: str = yield CALLS.transcript(number, as_)
    return text


def transcripts(most: int = MOST) -> CallPlan[str]:
    """The conversations of all handsets, or of those that had something to say last."""
    answer = yield CALLS.list("messages", limit=MOST)
    numbers = dict.fromkeys(from_json(Message, each).handset for each in answer["messages"])
    texts = []
    for number in reversed(list(numbers)[:most]):
        texts.append((yield from transcript(number)))
    return "\n".join(texts)


# Objects -----------------------------------------------------------------------------------------------------------


class OfAccount:
    """Base of the objects of an account."""

    _context: AccountContext
    _runner: PlanRunner

    def __init__(self, context: AccountContext) -> None:
        self._context = context
        self._runner = context.runner

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._context.name} at {self._context.url}>"


class Sync(OfAccount, Blocking):
    """Base of the blocking objects of an account."""


class Async(OfAccount, Awaiting):
    """Base of the async objects of an account. After each awaited method every object that the test holds is fetched
    anew: their attributes cannot be awaited."""

    async def _drive(self, plan: CallPlan[T]) -> T:
        __tracebackhide__ = True
        result = await super()._drive(plan)
        for each in tuple(self._context.objects):
            if not each.settled:
                try:
                    each.shape = await self._runner.run_async(each.fetched())
                except Refused as error:
                    if error.status != 404:
                        raise
                    self._context.objects.discard(each)  # a reset forgot it, which is no failure of the method
        return result


class LiveObject(OfAccount):
    """Base of objects whose values change while a test holds them."""

    def __init__(self, context: AccountContext, shape: Json) -> None:
        super().__init__(context)
        self.shape = shape

    @property
    def id(self) -> str:
        identifier: str = self.shape["id"]
        return identifier

    @property
    def settled(self) -> bool:
        """Whether its values will not change by themselves any more."""
        raise NotImplementedError

    def fetched(self) -> CallPlan[Json]:
        raise NotImplementedError

    def _now(self) -> Json:
        return self.shape

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.shape['state']}>"


class SyncLiveObject(LiveObject, Sync):
    """Fetches its values whenever they are read."""

    def _now(self) -> Json:
        if not self.settled:
            self.shape = self._runner.run(self.fetched())
        return self.shape


class AsyncLiveObject(LiveObject, Async):
    """Has its values as of the account's last awaited method."""

    def __init__(self, context: AccountContext, shape: Json) -> None:
        super().__init__(context, shape)
        context.objects.add(self)
