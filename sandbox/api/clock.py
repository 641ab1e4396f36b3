"""The clock, and the reset of an account or of everything. See core/control.py for what happens."""

from collections.abc import Iterable

from starlette.responses import Response

from sandbox.api import objects
from sandbox.api.operations import V1, ApiCall, answer, operation
from sandbox.core.services import Services
from sandbox.objects import schema
from sandbox.objects.derive import Json
from sandbox.values.fields import optional, required
from sandbox.values.kinds import MAX_TIME_S, Choice, Seconds, TextKind

ACTION = required("action", Choice(("freeze", "advance", "resume", "system")), "What the clock is to do.", "advance")
SECONDS = optional("seconds", Seconds(MAX_TIME_S), "How far to advance.", 3600)


async def _clock(services: Services) -> Json:
    return objects.clock(services.clock, await services.database.read(services.scheduler.next_timers(limit=10)))


@operation("GET", f"{V1}/clock", group="Clock", account="none", answers={200: objects.CLOCK})
async def get_clock(call: ApiCall) -> Response:
    """The sandbox's time, and what is due next."""
    return answer(await _clock(call.services))


def _check_clock(call: ApiCall) -> Iterable[tuple[str, str]]:
    if call[ACTION] is not None and (call[ACTION] == "advance") is (call[SECONDS] is None):
        yield "seconds", "seconds goes with advance, and advance needs it."


@operation(
    "PUT",
    f"{V1}/clock",
    group="Clock",
    account="none",
    body=(ACTION, SECONDS),
    check=_check_clock,
    answers={200: objects.MOVED_CLOCK},
)
async def set_clock(call: ApiCall) -> Response:
    """Freeze the clock, let it run again, advance it, or bring it back to the system's time.

    `advance` answers after everything that came due on the way has run to its end. `resume` lets the clock run from
    where it stands. With `system` it runs at the system's time, and what is planned keeps its distance: nothing comes
    due at once because of it.
    """
    control, moments = call.services.control, 0
    match call[ACTION]:
        case "freeze":
            await control.freeze()
        case "resume":
            await control.resume()
        case "system":
            await control.to_system()
        case _:
            moments = await control.advance(round((call[SECONDS] or 0) * 1000))
    return answer({**await _clock(call.services), "moments": moments})


SCOPE = optional("scope", TextKind(), "An account's name; `all`, or nothing, is everything.", "default")


@operation(
    "POST",
    f"{V1}/reset",
    group="Bench",
    account="any",
    body=(SCOPE,),
    answers={200: schema.obj({"reset": schema.text("The account's name, or `all`.", "default")})},
    errors={404: "There is no such account."},
)
async def reset(call: ApiCall) -> Response:
    """Forget messages, requests, handsets, webhook deliveries and everything that is due. Accounts stay.

    Of one account if `?account=` or `scope` names it, else of all; then the clock goes back to the system's time.
    """
    name = None if call[SCOPE] == "all" else call[SCOPE]
    if call.owner is not None:
        name = call.owner.name
    await call.services.control.reset(name)
    return answer({"reset": name or "all"})


OPERATIONS = (get_clock, set_clock, reset)
