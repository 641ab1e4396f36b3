"""The pages of scenarios: the list, one scenario with its runs, and the editor for those of one's own.

Handlers as in routes.py. See scenario/script.py for what a source may say, and core/scenario_runner.py for how it is
played.
"""

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.errors import Conflict, Invalid, NotFound
from sandbox.http.request import account_of, query_of, seq_of, services_of
from sandbox.pages import forms
from sandbox.pages import scenario_views as views
from sandbox.pages.forms import Form, typed_by, with_errors
from sandbox.pages.render import look, page, see_other
from sandbox.pages.transcripts import as_scenario, said
from sandbox.scenario import catalogue
from sandbox.scenario.steps import Scenario
from sandbox.store import scenarios as stored
from sandbox.store.database import Queries
from sandbox.store.scenarios import Run
from sandbox.values.fields import optional
from sandbox.values.numbers import Phone
from sandbox.wire.problems import quote

EDITOR = "/scenarios/_edit"  # no scenario's name begins with _


async def scenarios(request: Request) -> Response:
    account = account_of(request).name
    query_of(request).done()
    frame, (sources, running) = await look(
        request, lambda db: (views.known(db, account), stored.listening(db, account))
    )
    found = await asyncio.to_thread(views.listed, sources, running)
    return page(request, "scenarios.html", title="Scenarios", section="scenarios", frame=frame, scenarios=found)


async def one_scenario(request: Request, *, form: Form | None = None, status: int = 200) -> Response:
    account, name, given = account_of(request).name, request.path_params["name"], query_of(request)
    before = given.cursor("before")
    given.done()
    frame, rows = await look(request, lambda db: views.gather(db, account, name, before))
    if rows.source is None and not rows.runs:
        raise NotFound(f"There is no scenario {quote(name)} in the account {account}.")
    found = await asyncio.to_thread(views.shown, name, rows)
    return page(
        request,
        "scenario.html",
        title=name,
        section="scenarios",
        frame=frame,
        at=f"/scenarios/{name}" if form else None,
        status=status,
        it=found,
        newest=before is None,
        form=form or Form(),
    )


async def start(request: Request) -> Response:
    account, name, typed = account_of(request).name, request.path_params["name"], await typed_by(request)
    try:
        run = await services_of(request).runner.start(account, name=name, msisdn=forms.to_play(typed))
    except Invalid as error:
        return await one_scenario(request, form=with_errors(typed, _about(error, "msisdn")), status=400)
    except Conflict as error:
        return await one_scenario(request, form=Form(typed, {"msisdn": str(error)}), status=409)
    return see_other(request, f"/scenarios/{name}#{run.id}")


def _about(error: Invalid, field: str) -> Invalid:
    """All errors as one error about one field."""
    return Invalid((field, " ".join(reason for _, reason in error.fields)))


async def stop(request: Request) -> Response:
    await typed_by(request)
    run = await services_of(request).runner.stop(account_of(request).name, seq_of(request, "s"))
    return see_other(request, f"/scenarios/{run.scenario}#{run.id}")


async def one_run(request: Request) -> Response:
    """Redirect to a run on its scenario's page."""
    account, seq = account_of(request).name, seq_of(request, "s")

    def read(db: Queries) -> tuple[Run | None, bool]:
        run = stored.get(db, seq)
        if run is None or run.account != account:
            return None, False
        newest = stored.page(db, account=account, scenario=run.scenario, limit=views.RUNS)
        return run, any(each.seq == seq for each in newest)

    run, is_new = await services_of(request).database.read(read)
    if run is None:
        raise NotFound(f"There is no run s{seq} in the account {account}.")
    return see_other(request, f"/scenarios/{run.scenario}#{run.id}", before=None if is_new else seq + 1)


# The account's own -------------------------------------------------------------------------------------------------


async def edit(request: Request) -> Response:
    """The editor: with one of the account's own, a copy of any, what was said in a conversation, or an example."""
    account, given = account_of(request), query_of(request)
    name, copied = given.text("name"), given.text("copy")
    shortcode, msisdn = given.shortcode("shortcode"), given.take(optional("msisdn", Phone(), ""))
    given.done()
    known, messages = await services_of(request).database.read(
        lambda db: (
            views.known(db, account.name),
            () if shortcode is None or msisdn is None else said(db, account, shortcode, msisdn),
        )
    )
    for each in filter(None, (name, copied)):
        if each not in known:
            raise NotFound(f"There is no scenario {quote(each)} in the account {account.name}.")
    if name is not None:
        source, own = known[name]
        return _editor(request, source if own else views.copy_of(name, source, known), was=name if own else "")
    if copied is not None:
        return _editor(request, views.copy_of(copied, known[copied][0], known))
    if shortcode is not None and msisdn is not None:
        return _editor(request, views.copy_of("recorded", await as_scenario(messages), known))
    return _editor(request, views.NEW)


def _editor(
    request: Request,
    source: str,
    *,
    was: str = "",
    errors: Sequence[views.Marked] = (),
    wrong: str = "",
) -> Response:
    """`was` is the name under which the source is kept already; `wrong` is an error about no place of it."""
    return page(
        request,
        "scenario_edit.html",
        title=f"Edit {was}" if was else "New scenario",
        section="scenarios",
        status=400 if errors or wrong else 200,
        it=views.Draft(source=source, was=was, errors=errors),
        rows=min(max(source.count("\n") + 3, 16), 40),
        form=Form({}, {"source": wrong} if wrong else {}),
    )


async def save(request: Request) -> Response:
    services, account, typed = services_of(request), account_of(request).name, await typed_by(request)
    source, was = typed.get("source", ""), typed.get("was", "")
    found = await asyncio.to_thread(catalogue.read, source)
    if not isinstance(found, Scenario):
        return _editor(request, source, was=was, errors=views.marked(source, found))
    name = found.name
    if name != was and await services.database.read(lambda db: stored.get_own(db, account, name)) is not None:
        taken = f"You have a scenario called {name} already. Write another name after `scenario:`, or edit that one."
        return _editor(request, source, was=was, wrong=taken)
    await services.runner.put(account, name, source)
    return see_other(request, f"/scenarios/{name}")


async def delete(request: Request) -> Response:
    await typed_by(request)
    await services_of(request).runner.remove(account_of(request).name, request.path_params["name"])
    return see_other(request, "/scenarios")


def routes() -> Sequence[Route]:
    one, post = "/scenarios/{name}", ["POST"]
    return [
        Route("/scenarios", scenarios),
        Route(EDITOR, edit),
        Route(EDITOR, save, methods=post),
        Route(one, one_scenario),
        Route(f"{one}/runs", start, methods=post),
        Route(f"{one}/delete", delete, methods=post),
        Route("/runs/{id}", one_run),
        Route("/runs/{id}/stop", stop, methods=post),
    ]
