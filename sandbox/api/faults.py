"""Faults: failures that someone asks for, of calls to the gateway and of webhooks.

See scenario/fault_spec.py for what a fault may be, core/gateway.py and core/dispatcher.py for what it does; here are
only arguments and answers.
"""

from starlette.responses import Response

from sandbox.api import objects
from sandbox.api.messages import LIMIT, NEXT
from sandbox.api.operations import V1, ApiCall, answer, listed, operation
from sandbox.errors import NotFound
from sandbox.objects import schema
from sandbox.scenario import fault_spec
from sandbox.store import faults
from sandbox.values.fields import body_schema, required
from sandbox.values.kinds import Identifier

FAULT_ID = required("id", Identifier("f"), "The fault.", "f17")

NEW_FAULT = body_schema(fault_spec.FAULT)


@operation(
    "GET",
    f"{V1}/faults",
    group="Faults",
    query=(LIMIT, NEXT),
    answers={200: schema.page("faults", objects.FAULT)},
)
async def list_faults(call: ApiCall) -> Response:
    """The faults of the account, newest first; those that are used up as well."""
    limit, account = call[LIMIT], call.account.name
    found = await call.services.database.read(
        lambda db: faults.page(db, account=account, before=call[NEXT], limit=limit)
    )
    return listed("faults", found, objects.fault, limit)


@operation(
    "POST",
    f"{V1}/faults",
    group="Faults",
    body=NEW_FAULT,
    answers={201: objects.FAULT},
    errors={409: "The account has 1,000 faults that are not used up."},
)
async def add_fault(call: ApiCall) -> Response:
    """Let calls fail from now on: counted, in the order in which they come.

    The first fault that fits a call strikes it.
    """
    made = await call.services.control.add_fault(call.account.name, fault_spec.fault_from(call.body))
    return answer(objects.fault(made), 201)


@operation("DELETE", f"{V1}/faults", group="Faults", answers={204: None})
async def remove_faults(call: ApiCall) -> Response:
    """Remove all faults of the account. Calls that they keep waiting are let go."""
    await call.services.control.remove_fault(None, call.account.name)
    return Response(status_code=204)


@operation("GET", f"{V1}/faults/{{id}}", group="Faults", places=(FAULT_ID,), answers={200: objects.FAULT})
async def get_fault(call: ApiCall) -> Response:
    """One fault, and how often it struck."""
    seq = call[FAULT_ID]
    found = await call.services.database.read(lambda db: faults.get(db, seq))
    if found is None or found.account != call.account.name:
        raise NotFound(f"There is no fault f{seq} in the account {call.account.name}.")
    return answer(objects.fault(found))


@operation("DELETE", f"{V1}/faults/{{id}}", group="Faults", places=(FAULT_ID,), answers={204: None})
async def remove_fault(call: ApiCall) -> Response:
    """Remove a fault. Calls that it keeps waiting are let go."""
    await call.services.control.remove_fault(call[FAULT_ID], call.account.name)
    return Response(status_code=204)


OPERATIONS = (list_faults, add_fault, remove_faults, get_fault, remove_fault)
