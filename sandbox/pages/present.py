"""The presenter's page: one large handset for a demonstration, scenarios to start on it, and their pace.

Handlers as in routes.py. Scenarios are played, and time is kept, elsewhere. To pause is to freeze the clock, so that a
step's time limit waits together with the texts and a scenario means what it meant; the next step is the clock moved to
what comes next.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.errors import Busy, Conflict, Invalid, NotFound
from sandbox.http.request import account_of, query_of, services_of
from sandbox.model import Account, DeliveryState, Handset, Message, Msisdn, RunState, Shortcode, Timer, TimerKind
from sandbox.pages import forms, scenario_views, views
from sandbox.pages.forms import Form, typed_by, with_errors
from sandbox.pages.render import is_looked_at, look, page, see_other
from sandbox.pages.transcripts import conversation_of
from sandbox.scenario import catalogue
from sandbox.scenario.steps import Expect, Scenario, Send
from sandbox.store import messages, outbox
from sandbox.store import scenarios as stored
from sandbox.store.database import Queries
from sandbox.store.scenarios import Run
from sandbox.wire.problems import quote

BUBBLES = 30
PLANNED = 200  # of the account, the earliest, among which the handset's own are looked for
USUAL_SHORTCODE = Shortcode("48974")  # for an account that may use any: the one of the shipped scenarios


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenterRows:
    """The rows that the page shows: the handset, its messages and run, and what is due."""

    handset: Handset
    messages: Sequence[Message]  # the newest, oldest first
    run: Run | None  # the latest that plays, or played, this handset
    planned: Sequence[Timer]  # what the handset does later, earliest first
    retries_ms: Sequence[int]  # when webhooks of these messages are tried again
    sources: Sequence[tuple[str, str, bool]]  # of all scenarios: name, source, whether it is the account's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A scenario that can be started here."""

    name: str
    description: str
    own: bool
    begins: bool  # whether it texts first; the others wait for the application


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenterView:
    """View model of the page, besides the rows."""

    chips: Sequence[Chip]
    description: str  # of the scenario that plays
    doing: str  # what goes on, in a few words
    texts_ms: int | None  # when the handset's next text is due
    next_ms: int | None  # when anything is due that is worth a jump


def gather(db: Queries, account: Account, shortcode: Shortcode, msisdn: Msisdn) -> PresenterRows:
    """Read the rows; runs inside `database.read`."""
    run = stored.latest_of(db, account.name, msisdn)
    found = messages.page(db, account=account.name, msisdn=msisdn, shortcode=shortcode, limit=BUBBLES)[::-1]
    waiting = (DeliveryState.PENDING, DeliveryState.RETRYING)
    carried = [outbox.get(db, each.delivery_seq) for each in found if each.delivery_seq and each.state in waiting]
    return PresenterRows(
        handset=messages.handset_of(db, account.name, msisdn),
        messages=found,
        run=run,
        planned=[each for each in outbox.planned(db, account.name, limit=PLANNED) if _is_of(each, msisdn, run)],
        retries_ms=[each.next_attempt_ms for each in carried if each is not None and each.next_attempt_ms is not None],
        sources=[(name, source, own) for name, (source, own) in scenario_views.known(db, account.name).items()],
    )


def _is_of(timer: Timer, msisdn: Msisdn, run: Run | None) -> bool:
    if timer.kind is TimerKind.ORIGINATE:  # a persona plays many handsets, so that its run does not tell whose it is
        return outbox.texting_of(timer).msisdn == msisdn
    return run is not None and timer.subject == run.seq


def scene(rows: PresenterRows, now_ms: int) -> PresenterView:
    """The rest of the page. It reads scenarios, which takes longer than a database or the event loop can wait."""
    found = None if rows.run is None else catalogue.read(rows.run.source)
    scenario = found if isinstance(found, Scenario) else None
    texts_ms = next((each.due_ms for each in rows.planned if each.kind is TimerKind.ORIGINATE), None)
    due = [*(each.due_ms for each in rows.planned if _is_worth_a_jump(each, scenario)), *rows.retries_ms]
    next_ms = min((each for each in due if each > now_ms), default=None)
    return PresenterView(
        chips=sorted(_chips(rows.sources), key=lambda each: (not each.own, each.name)),
        description="" if scenario is None else scenario.description,
        doing=_doing(rows, texts_ms, next_ms),
        texts_ms=texts_ms,
        next_ms=next_ms,
    )


def _is_worth_a_jump(timer: Timer, scenario: Scenario | None) -> bool:
    """Anything but the end of the time in which the application has to text: to jump there would be to fail the run."""
    if timer.kind is not TimerKind.WINDOW or scenario is None:
        return True
    step = int(timer.data)
    return step >= len(scenario.steps) or not isinstance(scenario.steps[step], Expect)


def _doing(rows: PresenterRows, texts_ms: int | None, next_ms: int | None) -> str:
    if texts_ms is not None:
        return "The handset is about to text."
    if next_ms is not None and next_ms in rows.retries_ms:
        return "The webhook was not taken. It is tried again."
    if rows.run is None or rows.run.state is not RunState.RUNNING:
        return ""
    return "Waits for your application." if next_ms is None else "Nothing should come now."


def _chips(sources: Sequence[tuple[str, str, bool]]) -> Iterator[Chip]:
    """Those that have steps: a persona has no beginning and no end that could be shown."""
    for name, source, own in sources:
        found = catalogue.read(source)
        if isinstance(found, Scenario) and found.steps:
            first = next((each for each in found.steps if isinstance(each, Send | Expect)), None)
            yield Chip(name=name, description=found.description, own=own, begins=isinstance(first, Send))


# The page ----------------------------------------------------------------------------------------------------------


def _at(shortcode: Shortcode, msisdn: Msisdn) -> str:
    return f"/present/{shortcode}/{msisdn}"


async def enter(request: Request) -> Response:
    """Redirect to a handset with a new number, so that a conversation begins at its beginning."""
    account, given = account_of(request), query_of(request)
    shortcode = given.shortcode("shortcode")
    given.done()
    return await _to_a_fresh_handset(request, account, shortcode)


async def _to_a_fresh_handset(request: Request, account: Account, shortcode: Shortcode | None) -> Response:
    msisdn = await services_of(request).database.read(partial(stored.unseen_number, account=account.name))
    usual = account.shortcodes[0] if account.shortcodes else USUAL_SHORTCODE
    return see_other(request, _at(shortcode or usual, msisdn))


async def present(request: Request, *, form: Form | None = None, status: int = 200) -> Response:
    services, account = services_of(request), account_of(request)
    shortcode, msisdn = conversation_of(request)
    query_of(request).done()
    unread = partial(views.is_unread, account=account, shortcode=shortcode, msisdn=msisdn)
    if is_looked_at(request) and await services.database.read(unread):
        await services.control.mark_read(account.name, msisdn, shortcode)
    frame, rows = await look(request, partial(gather, account=account, shortcode=shortcode, msisdn=msisdn))
    return page(
        request,
        "present.html",
        title="Presenter",
        frame=frame,
        at=_at(shortcode, msisdn),
        status=status,
        rows=rows,
        scene=await asyncio.to_thread(scene, rows, services.clock.now_ms()),
        shortcode=shortcode,
        form=form or Form(),
        base_url=str(request.base_url).rstrip("/"),
    )


async def reply(request: Request) -> Response:
    services, account, typed = services_of(request), account_of(request), await typed_by(request)
    shortcode, msisdn = conversation_of(request)
    try:
        texting = forms.to_text(typed, account, shortcode, msisdn, max_text=services.settings.max_text)
        await services.control.text(texting, wait_s=None)
    except Invalid as error:
        return await present(request, form=with_errors(typed, error), status=400)
    except Conflict as error:
        return await present(request, form=Form(typed, {"text": str(error)}), status=409)
    except Busy as error:
        return await present(request, form=Form(typed, {"text": str(error)}), status=503)
    return see_other(request, _at(shortcode, msisdn))


async def play(request: Request) -> Response:
    """Start a scenario on this handset, or on the one that it names; a script that plays there is stopped first."""
    services, account, typed = services_of(request), account_of(request), await typed_by(request)
    shortcode, msisdn = conversation_of(request)
    name = typed.get("scenario", "")
    known = await services.database.read(partial(scenario_views.known, account=account.name))
    found = await asyncio.to_thread(catalogue.read, known[name][0]) if name in known else None
    if not isinstance(found, Scenario):
        raise NotFound(f"There is no scenario {quote(name)} that could be played.")
    msisdn = found.handset.msisdn or msisdn
    shortcode = next((each.to for each in found.steps if isinstance(each, Send) and each.to), shortcode)
    await _stop(request, account, msisdn)
    try:
        await services.runner.start(account.name, name=name, msisdn=msisdn)
    except (Conflict, Invalid) as error:  # somebody else was quicker
        return await present(request, form=Form(typed, {"scenario": str(error)}), status=409)
    return see_other(request, _at(shortcode, msisdn))


async def _stop(request: Request, account: Account, msisdn: Msisdn) -> None:
    services = services_of(request)
    run: Run | None = await services.database.read(partial(stored.latest_of, account=account.name, msisdn=msisdn))
    if run is not None and run.listening:
        try:
            await services.runner.stop(account.name, run.seq)
        except Conflict:  # it has ended meanwhile, which is as good
            return


async def pace(request: Request) -> Response:
    """Pause, go on, do at once what is next, or leave a clock behind that runs with the system's. It is that of all
    accounts, as the page says."""
    services, account, typed = services_of(request), account_of(request), await typed_by(request)
    shortcode, msisdn = conversation_of(request)
    match forms.known(typed.get("wanted", ""), ("pause", "go", "next", "leave"), "wanted"):
        case "pause":
            await services.control.freeze()
        case "go":
            await services.control.resume()
        case "leave":
            await services.control.to_system()
            return see_other(request, f"/c/{shortcode}/{msisdn}")
        case _:
            rows = await services.database.read(partial(gather, account=account, shortcode=shortcode, msisdn=msisdn))
            next_ms = (await asyncio.to_thread(scene, rows, services.clock.now_ms())).next_ms
            if next_ms is not None:
                await services.control.advance(max(0, next_ms - services.clock.now_ms()))
    return see_other(request, _at(shortcode, msisdn))


async def start_over(request: Request) -> Response:
    """An empty conversation, on another number: the one that was shown stays as it is, and its script ends."""
    account, _ = account_of(request), await typed_by(request)
    shortcode, msisdn = conversation_of(request)
    await _stop(request, account, msisdn)
    return await _to_a_fresh_handset(request, account, shortcode)


def routes() -> Sequence[Route]:
    here, post = "/present/{shortcode}/{msisdn}", ["POST"]
    return [
        Route("/present", enter),
        Route(here, present),
        Route(here, reply, methods=post),
        Route(f"{here}/play", play, methods=post),
        Route(f"{here}/pace", pace, methods=post),
        Route(f"{here}/start-over", start_over, methods=post),
    ]
