"""The pages that list calls to the gateway and webhook deliveries, with charts and a search.

Handlers as in routes.py. See store/newest.py for what a search looks at, and how far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.core.gateway import PATH
from sandbox.http.request import account_of, query_of, services_of
from sandbox.model import Account, DeliveryState, Message, WebhookDelivery
from sandbox.pages import formatting, views
from sandbox.pages import list_charts as charts
from sandbox.pages.formatting import Status
from sandbox.pages.render import look, page
from sandbox.store import messages, newest, outbox
from sandbox.store.database import Queries
from sandbox.store.newest import AttemptPoint, CallPoint, SearchPage
from sandbox.wire.requests import EXAMPLE

ROWS = 50
VERDICTS = {"": "All", "refused": "Refused", "accepted": "Accepted", "unowned": "Unknown token"}
LONGEST = 200  # characters of a search


@dataclass(frozen=True, slots=True, kw_only=True)
class CallList:
    """A page of calls, with the points of a chart if nothing was chosen. `until_ms` is how far back a search has
    looked, if it has not seen everything."""

    rows: Sequence[views.CallView]
    older: int | None
    until_ms: int | None
    points: Sequence[CallPoint]


def calls(db: Queries, account: Account, *, search: str, verdict: str, before: int | None) -> CallList:
    if search or verdict == "unowned":
        found = newest.calls(db, account=account.name, search=search, verdict=verdict, before=before, limit=ROWS)
        rows = [each for seq in found.seqs if (each := messages.get_request(db, seq)) is not None]
    else:
        rows = list(
            messages.requests_page(db, account=account.name, verdict=verdict or None, before=before, limit=ROWS)
        )
        found = SearchPage([each.seq for each in rows], rows[-1].seq if len(rows) == ROWS else None)
    return CallList(
        rows=[views.call(db, each) for each in rows],
        older=found.older,
        until_ms=found.until_ms,
        points=() if search or verdict or before else newest.call_points(db, account.name),
    )


async def requests(request: Request) -> Response:
    services, account, given = services_of(request), account_of(request), query_of(request)
    verdict = given.choice("verdict", tuple(each for each in VERDICTS if each)) or ""
    search, before = (given.text("q", longest=LONGEST) or "").strip(), given.cursor("before")
    given.done()
    read = partial(calls, account=account, search=search, verdict=verdict, before=before)
    frame, found = await look(request, read)
    base = str(request.base_url).rstrip("/")
    return page(
        request,
        "requests.html",
        title="Requests",
        section="requests",
        frame=frame,
        calls=found,
        verdict=verdict,
        verdicts=VERDICTS,
        search=search,
        chart=charts.of_calls(found.points, services.clock.now_ms()),
        base_url=base,
        gateway_path=PATH,
        example=formatting.curl(base + PATH, EXAMPLE),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A webhook delivery with its state in words, and the message that it carries."""

    delivery: WebhookDelivery
    status: Status
    message: Message | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryList:
    """A page of webhook deliveries; `counts` as in newest.states."""

    rows: Sequence[DeliveryRow]
    older: int | None
    until_ms: int | None
    counts: Mapping[str, int]
    points: Sequence[AttemptPoint]


def webhooks(db: Queries, account: Account, *, search: str, state: str, before: int | None) -> DeliveryList:
    if search or state:
        found = newest.deliveries(db, account=account.name, search=search, state=state, before=before, limit=ROWS)
        rows = [each for seq in found.seqs if (each := outbox.get(db, seq)) is not None]
    else:
        rows = list(outbox.page(db, account=account.name, before=before, limit=ROWS))
        found = SearchPage([each.seq for each in rows], rows[-1].seq if len(rows) == ROWS else None)
    return DeliveryList(
        rows=[_delivery_row(db, each, account) for each in rows],
        older=found.older,
        until_ms=found.until_ms,
        counts=newest.states(db, account.name),
        points=() if search or state or before else newest.attempt_points(db, account.name),
    )


def _delivery_row(db: Queries, delivery: WebhookDelivery, account: Account) -> DeliveryRow:
    made = outbox.attempts(db, delivery.seq)
    return DeliveryRow(
        delivery=delivery,
        status=formatting.delivery_status(delivery, made[-1] if made else None, len(account.retry_s)),
        message=messages.get(db, delivery.message_seq),
    )


async def webhooks_page(request: Request) -> Response:
    services, account, given = services_of(request), account_of(request), query_of(request)
    state = given.choice("state", tuple(DeliveryState)) or ""
    search, before = (given.text("q", longest=LONGEST) or "").strip(), given.cursor("before")
    given.done()
    read = partial(webhooks, account=account, search=search, state=state, before=before)
    frame, found = await look(request, read)
    now_ms, deadline_ms = services.clock.now_ms(), round(services.settings.webhook_deadline_s * 1000)
    return page(
        request,
        "webhooks.html",
        title="Webhooks",
        section="webhooks",
        frame=frame,
        deliveries=found,
        state=state,
        states=list(DeliveryState),
        most=newest.COUNTED,
        search=search,
        before=before,
        attempts=charts.of_attempts(found.points, now_ms),
        times=charts.of_answer_times(found.points, now_ms, deadline_ms),
    )


def routes() -> Sequence[Route]:
    return [Route("/requests", requests), Route("/webhooks", webhooks_page)]
