"""Scenarios, built-in and own, and the runs in which they are played.

Only arguments and answers: see scenario/script.py for what a scenario's file may say, and core/scenario_runner.py for
how it is played.
"""

import asyncio
from collections.abc import Iterator

from starlette.responses import Response

from sandbox.api import objects
from sandbox.api.messages import LIMIT, NEXT
from sandbox.api.operations import V1, ApiCall, InvalidDetailed, answer, listed, operation
from sandbox.errors import NotFound
from sandbox.model import RunState
from sandbox.objects.derive import Json
from sandbox.objects.schema import page
from sandbox.scenario import catalogue
from sandbox.scenario.steps import Scenario
from sandbox.store import scenarios
from sandbox.store.database import Queries
from sandbox.store.scenarios import Run
from sandbox.values.fields import optional, required
from sandbox.values.kinds import Choice, Identifier, Name, TextKind
from sandbox.values.numbers import Phone
from sandbox.wire.problems import quote

_ONE = f"{V1}/scenarios/{{name}}"
_RUNS = f"{_ONE}/runs"
_RUN = f"{_RUNS}/{{id}}"
_GROUP = "Scenarios"

NAME = required("name", Name(), "The scenario's name.", "happy-survey")
OWN_NAME = required("name", Name(), "The scenario's name, which its file says as well.", "cinema")
SOURCE = required(
    "source",
    TextKind(None),
    "YAML; what it may say, `/_sandbox/scenario-schema.json` says.",
    'scenario: cinema\nsteps:\n  - expect: {text: "*cinema?*"}\n  - reply: {text: yesterday}\n',
)


def _listed(name: str, source: str, *, own: bool) -> Json:
    found = catalogue.read(source)
    scenario = found if isinstance(found, Scenario) else None  # None: another version of the sandbox understood it
    return objects.scenario(name, scenario, own=own)


def _known(account: str, db: Queries) -> dict[str, tuple[str, bool]]:
    """Name -> source, and whether it is the account's own; an own one stands in place of a built-in one."""
    own = {each.name: (each.source, True) for each in scenarios.own(db, account)}
    return dict(sorted(({name: (source, False) for name, source in catalogue.built_in().items()} | own).items()))


@operation(
    "GET",
    f"{V1}/scenarios",
    group=_GROUP,
    answers={200: page("scenarios", objects.SCENARIO, last="always null: they come all at once")},
)
async def list_scenarios(call: ApiCall) -> Response:
    """The scenarios that can be played, by name: built-in ones and the account's own."""
    name = call.account.name
    known = await call.services.database.read(lambda db: _known(name, db))

    def shaped() -> Iterator[Json]:
        return (_listed(each, source, own=own) for each, (source, own) in known.items())

    return answer({"scenarios": await asyncio.to_thread(lambda: list(shaped())), "next": None})


async def _source_of(call: ApiCall, name: str) -> tuple[str, bool]:
    account = call.account.name
    known = await call.services.database.read(lambda db: _known(account, db))
    if name not in known:
        raise NotFound(f"There is no scenario {quote(name)} in the account {account}.")
    return known[name]


@operation("GET", _ONE, group=_GROUP, places=(NAME,), answers={200: objects.SCENARIO_WITH_SOURCE})
async def get_scenario(call: ApiCall) -> Response:
    """One scenario, with its source."""
    source, own = await _source_of(call, call[NAME])
    shape = await asyncio.to_thread(lambda: _listed(call[NAME], source, own=own))
    return answer({**shape, "source": source})


@operation(
    "PUT",
    _ONE,
    group=_GROUP,
    places=(OWN_NAME,),
    body=(SOURCE,),
    answers={200: objects.SCENARIO_WITH_SOURCE, 201: objects.SCENARIO_WITH_SOURCE},
)
async def put_scenario(call: ApiCall) -> Response:
    """Write a scenario of the account's own, or write it anew. Runs under way go on as they began.

    One that has the name of a built-in scenario is played in its place. Every error about the source is among the
    `errors`, with its `line` and `column`.
    """
    name, source = call[OWN_NAME], call[SOURCE]
    found = await asyncio.to_thread(catalogue.read, source)
    if not isinstance(found, Scenario):
        raise InvalidDetailed(*(objects.error_in_source(each) for each in found))
    _, is_new = await call.services.runner.put(call.account.name, name, source)
    return answer({**objects.scenario(name, found, own=True), "source": source}, 201 if is_new else 200)


@operation(
    "DELETE",
    _ONE,
    group=_GROUP,
    places=(OWN_NAME,),
    answers={204: None},
    errors={409: "It is a built-in one."},
)
async def remove_scenario(call: ApiCall) -> Response:
    """Remove a scenario of the account's own. Runs under way go on."""
    await call.services.runner.remove(call.account.name, call[OWN_NAME])
    return Response(status_code=204)


# Runs --------------------------------------------------------------------------------------------------------------

MSISDN = optional("msisdn", Phone(), "The handset that it plays; without it, the one that the scenario says, or any.")
STATE = optional("state", Choice(tuple(RunState)), "Only those in this state.", "running")
RUN_ID = required("id", Identifier("s"), "The run.", "s18")


@operation(
    "POST",
    _RUNS,
    group=_GROUP,
    places=(NAME,),
    body=(MSISDN,),
    answers={201: objects.RUN},
    errors={409: "A script is playing the handset."},
)
async def start_run(call: ApiCall) -> Response:
    """Play a scenario from now on."""
    run = await call.services.runner.start(call.account.name, name=call[NAME], msisdn=call[MSISDN])
    return answer(objects.run(run), 201)


@operation(
    "GET",
    _RUNS,
    group=_GROUP,
    places=(NAME,),
    query=(LIMIT, STATE, NEXT),
    answers={200: page("runs", objects.RUN)},
)
async def list_runs_of_scenario(call: ApiCall) -> Response:
    """The runs of one scenario, newest first."""
    return await _list_runs(call, call[NAME])


@operation("GET", f"{V1}/runs", group=_GROUP, query=(LIMIT, STATE, NEXT), answers={200: page("runs", objects.RUN)})
async def list_runs(call: ApiCall) -> Response:
    """The runs of all scenarios, newest first."""
    return await _list_runs(call, None)


async def _list_runs(call: ApiCall, scenario: str | None) -> Response:
    limit, account = call[LIMIT], call.account.name
    found = await call.services.database.read(
        lambda db: scenarios.page(
            db, account=account, scenario=scenario, state=call[STATE], before=call[NEXT], limit=limit
        )
    )
    return listed("runs", found, objects.run, limit)


async def _own_run(call: ApiCall) -> Run:
    seq, scenario, account = call[RUN_ID], call[NAME], call.account.name
    found = await call.services.database.read(lambda db: scenarios.get_whole(db, seq))
    if found is None or (found.account, found.scenario) != (account, scenario):
        raise NotFound(f"There is no run s{seq} of the scenario {quote(scenario)} in the account {account}.")
    return found


@operation("GET", _RUN, group=_GROUP, places=(NAME, RUN_ID), answers={200: objects.RUN})
async def get_run(call: ApiCall) -> Response:
    """One run: where it stands, and which messages it did not know what to do with."""
    return answer(objects.run(await _own_run(call)))


@operation(
    "POST",
    f"{_RUN}/stop",
    group=_GROUP,
    places=(NAME, RUN_ID),
    answers={200: objects.RUN},
    errors={409: "It has ended already."},
)
async def stop_run(call: ApiCall) -> Response:
    """End a run. What it had planned does not happen, and its faults are removed."""
    run = await _own_run(call)
    return answer(objects.run(await call.services.runner.stop(run.account, run.seq)))


OPERATIONS = (
    list_scenarios,
    get_scenario,
    put_scenario,
    remove_scenario,
    start_run,
    list_runs_of_scenario,
    get_run,
    stop_run,
    list_runs,
)
