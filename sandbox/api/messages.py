"""Messages and the calls to the gateway: listed, waited for, verified.

Which messages are meant is matching.py's to say, and how long to wait core/waits.py's; here are arguments and answers.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from starlette.responses import Response

from sandbox.api import objects
from sandbox.api.operations import V1, ApiCall, answer, listed, operation
from sandbox.clock import stopwatch
from sandbox.core.services import Services
from sandbox.core.waits import Times
from sandbox.errors import NotFound
from sandbox.http.request import while_connected
from sandbox.model import Account, Message
from sandbox.objects.schema import page
from sandbox.rules import matching
from sandbox.rules.matching import FILTERS, Match, match_of
from sandbox.store import messages
from sandbox.store.database import Queries
from sandbox.values.fields import Given, ObjectKind, optional, required, with_default
from sandbox.values.kinds import MAX_WAIT_S, Choice, Flag, Identifier, PageCursor, Seconds, Whole

MAX_PAGE = 500
LOOKED_AT = 10_000  # messages that one call goes through; it is then answered with a cursor to go on from
LOOKED_FOR_S = 2.0  # real seconds, after which it does the same
CHUNK = 500

LIMIT = with_default("limit", Whole(1, MAX_PAGE), 50, "How many at most.")
NEXT = optional("next", PageCursor(), "Go on from here: what the page before has as `next`.")
AFTER = optional("after", PageCursor(), "Only what came after this: an identifier, or a `seq`.")


def _check_filters(call: ApiCall) -> Iterable[tuple[str, str]]:
    return matching.check(match_of(call.given))


# Messages ----------------------------------------------------------------------------------------------------------


@operation(
    "GET",
    f"{V1}/messages",
    group="Messages",
    query=(LIMIT, *FILTERS, AFTER, NEXT),
    check=_check_filters,
    answers={200: page("messages", objects.MESSAGE, last="null when all were looked at")},
)
async def list_messages(call: ApiCall) -> Response:
    """The messages that match all filters, newest first.

    One call goes through 10,000 messages at most. Where there are more, it may answer fewer than `limit` with a `next`
    to go on from.
    """
    found, following = await _find(
        call.services, call.account, match_of(call.given), after=call[AFTER], before=call[NEXT], limit=call[LIMIT]
    )
    return answer(
        {
            "messages": [objects.message(each) for each in found],
            "next": None if following is None else f"{following}",
        }
    )


async def _find(
    services: Services, account: Account, match: Match, *, after: int | None, before: int | None, limit: int
) -> tuple[Sequence[Message], int | None]:
    """A page of messages, newest first, and the number that the next one begins below."""
    # What the store cannot tell is the matcher's: outside the database, whose one thread in memory all others share.
    fine = match.pattern or match.ignore_case or match.segments or match.encoding
    likely = partial(
        messages.page,
        account=account.name,
        to=match.to,
        from_=match.from_,
        session_id=match.session_id,
        direction=match.direction,
        state=match.state,
        text=None if match.ignore_case else match.text,
    )

    def read(db: Queries) -> tuple[int, Sequence[Message]]:
        # without filters the newest are found at once
        edge = 0 if match == Match() else messages.beyond(db, account.name, most=LOOKED_AT, before=before)
        return edge, () if fine else likely(db, after=max(after or 0, edge), before=before, limit=limit)

    edge, found = await services.database.read(read)
    bottom = edge + 1 if edge > (after or 0) else None  # from where the next one goes on, if this one ends there
    if fine:
        likely = partial(likely, after=max(after or 0, edge))
        return await _sift(services, match, likely, before, bottom, limit)
    return found, found[-1].seq if len(found) == limit else bottom


async def _sift(
    services: Services,
    match: Match,
    likely: Callable[..., Sequence[Message]],
    before: int | None,
    bottom: int | None,
    limit: int,
) -> tuple[Sequence[Message], int | None]:
    """The same, of messages that are likely to match."""
    end = stopwatch() + LOOKED_FOR_S
    found: list[Message] = []
    while True:
        rows = await services.database.read(partial(likely, before=before, limit=CHUNK))
        fitting, looked_at = await asyncio.to_thread(_fitting, match, rows, end)
        found += fitting
        if len(found) >= limit:
            return found[:limit], found[limit - 1].seq
        if looked_at == len(rows) < CHUNK:
            return found, bottom
        before = rows[looked_at - 1].seq
        if stopwatch() > end:
            return found, before


def _fitting(match: Match, rows: Sequence[Message], end: float) -> tuple[Sequence[Message], int]:
    """Those that fit, and how many were looked at before the time was over: at least one."""
    found = []
    for number, each in enumerate(rows, start=1):
        if not matching.differences(match, each):
            found.append(each)
        if stopwatch() > end:
            return found, number
    return found, len(rows)


COUNT = with_default("count", Whole(1, LOOKED_AT), 1, "How many have to match.")
TIMEOUT = with_default("timeout", Seconds(MAX_WAIT_S), 5.0, "Real seconds after which it is answered all the same.")


@operation(
    "GET",
    f"{V1}/messages/wait",
    group="Messages",
    query=(*FILTERS, AFTER, COUNT, TIMEOUT),
    check=_check_filters,
    answers={200: objects.WAITED},
)
async def wait_for_messages(call: ApiCall) -> Response:
    """Wait until so many messages match, and answer them, oldest first.

    Messages that are there already count, unless `after` excludes them. Answered 200 also when the time is over: then
    `satisfied` is false, and `near_misses` says what came closest. While the clock stands still and nothing else can
    happen, it jumps to the account's next timer.
    """
    done = await while_connected(
        call.request,
        call.services.watch.wait_for(
            call.account.name,
            match_of(call.given),
            count=call[COUNT],
            timeout_s=call[TIMEOUT],
            after=call[AFTER] or 0,
        ),
    )
    return answer(objects.waited(done))


MESSAGE_ID = required("id", Identifier("m"), "The message.", "m12")


@operation("GET", f"{V1}/messages/{{id}}", group="Messages", places=(MESSAGE_ID,), answers={200: objects.MESSAGE})
async def get_message(call: ApiCall) -> Response:
    """One message."""
    seq = call[MESSAGE_ID]
    found = await call.services.database.read(lambda db: messages.get(db, seq))
    if found is None or found.account != call.account.name:
        raise NotFound(f"There is no message m{seq} in the account {call.account.name}.")
    return answer(objects.message(found))


EXACTLY = optional("exactly", Whole(0, LOOKED_AT), "No more and no fewer.")
AT_LEAST = optional("at_least", Whole(0, LOOKED_AT), "This many or more; 1 if nothing else is said.")
AT_MOST = optional("at_most", Whole(0, LOOKED_AT), "This many or fewer.")
MATCH = optional(
    "match",
    ObjectKind(FILTERS),
    "What a message has to be like; without it, any message counts.",
    {"text": "*cinema?*"},
)
TIMES = optional("times", ObjectKind((EXACTLY, AT_LEAST, AT_MOST)), "How many have to match.", {"at_least": 1})
WITHIN = with_default("within", Seconds(MAX_WAIT_S), 0.0, "Real seconds that messages have to come, or not to come.")


def _check_verification(call: ApiCall) -> Iterable[tuple[str, str]]:
    if (wanted := call[MATCH]) is not None:
        yield from ((f"match.{name}", reason) for name, reason in matching.check(match_of(wanted)))
    if (times := call[TIMES]) is not None:
        exactly, least, most = times[EXACTLY], times[AT_LEAST], times[AT_MOST]
        if exactly is not None and not (least is None and most is None):
            yield "times.exactly", "exactly stands alone. Leave out at_least and at_most, or exactly."
        elif least is not None and most is not None and least > most:
            yield "times.at_most", f"at_most is {most}, which is less than at_least, {least}."


def _times(given: Given | None) -> Times:
    if given is None:
        return Times()
    exactly, least, most = given[EXACTLY], given[AT_LEAST], given[AT_MOST]
    if exactly is not None:
        return Times(at_least=exactly, at_most=exactly)
    if least is None:
        least = 1 if most is None else 0
    return Times(at_least=least, at_most=most)


@operation(
    "POST",
    f"{V1}/verify",
    group="Messages",
    body=(MATCH, TIMES, WITHIN, AFTER),
    check=_check_verification,
    answers={200: objects.WAITED},
)
async def verify_messages(call: ApiCall) -> Response:
    """Say whether as many messages match as should.

    At once, or with `within` as soon as it is decided: what has an upper bound has to stay below it until the time is
    over.
    """
    wanted = call[MATCH]
    done = await while_connected(
        call.request,
        call.services.watch.verify(
            call.account.name,
            Match() if wanted is None else match_of(wanted),
            _times(call[TIMES]),
            within_s=call[WITHIN],
            after=call[AFTER] or 0,
        ),
    )
    return answer(objects.waited(done))


# Requests ----------------------------------------------------------------------------------------------------------

VERDICT = optional("verdict", Choice(("accepted", "refused")), "What became of them.", "refused")
UNOWNED = with_default("unowned", Flag(), False, "True: instead of the account's, those whose token no account owns.")


@operation(
    "GET",
    f"{V1}/requests",
    group="Requests",
    query=(LIMIT, VERDICT, UNOWNED, AFTER, NEXT),
    answers={200: page("requests", objects.REQUEST)},
)
async def list_requests(call: ApiCall) -> Response:
    """The calls to the gateway, accepted and refused, newest first."""
    limit, unowned = call[LIMIT], call[UNOWNED]
    found = await call.services.database.read(
        lambda db: messages.requests_page(
            db,
            account=None if unowned else call.account.name,
            unowned=unowned,
            verdict=call[VERDICT],
            after=call[AFTER],
            before=call[NEXT],
            limit=limit,
        )
    )
    return listed("requests", found, objects.request, limit)


REQUEST_ID = required("id", Identifier("r"), "The call.", "r12")


@operation("GET", f"{V1}/requests/{{id}}", group="Requests", places=(REQUEST_ID,), answers={200: objects.REQUEST})
async def get_request(call: ApiCall) -> Response:
    """One call to the gateway: the account's own, or one whose token no account owns."""
    seq = call[REQUEST_ID]
    found = await call.services.database.read(lambda db: messages.get_request(db, seq))
    if found is None or found.account not in (None, call.account.name):
        raise NotFound(f"There is no request r{seq} in the account {call.account.name}.")
    return answer(objects.request(found))


OPERATIONS = (list_messages, wait_for_messages, get_message, verify_messages, list_requests, get_request)
