"""Webhook deliveries: lists, and attempts, redeliveries and cancellation by hand.

See core/dispatcher.py for when an attempt is due, and rules/retry.py for what follows it.
"""

from functools import partial

from starlette.responses import Response

from sandbox.api import objects
from sandbox.api.messages import LIMIT, NEXT
from sandbox.api.operations import V1, ApiCall, answer, listed, operation
from sandbox.core.control import DEFAULT_WAIT_S
from sandbox.http.request import own_delivery, while_connected
from sandbox.model import DeliveryState
from sandbox.objects.schema import page
from sandbox.store import outbox
from sandbox.values.fields import optional, required, with_default
from sandbox.values.kinds import Choice, Flag, Identifier, Payload, TextKind, Wait

_ONE = f"{V1}/webhook-deliveries/{{id}}"
_GROUP = "Webhook deliveries"

DELIVERY_ID = required("id", Identifier("w"), "The webhook delivery.", "w15")
STATE = optional("state", Choice(tuple(DeliveryState)), "Only those in this state.", "exhausted")
WAIT = with_default(
    "wait",
    Wait(DEFAULT_WAIT_S),
    DEFAULT_WAIT_S,
    "Whether to answer only after the attempt has ended, or how many seconds at most.",
)
EDITED = optional(
    "body",
    Payload(),
    "Other bytes to post instead, as UTF-8: JSON or anything else. The new webhook delivery is then `edited`.",
)


@operation(
    "GET",
    f"{V1}/webhook-deliveries",
    group=_GROUP,
    query=(LIMIT, STATE, NEXT),
    answers={200: page("webhook_deliveries", objects.LISTED_DELIVERY)},
)
async def list_deliveries(call: ApiCall) -> Response:
    """What is or was owed to the application, newest first."""
    limit = call[LIMIT]
    found = await call.services.database.read(
        lambda db: outbox.page(db, account=call.account.name, state=call[STATE], before=call[NEXT], limit=limit)
    )
    return listed("webhook_deliveries", found, objects.delivery, limit)


@operation("GET", _ONE, group=_GROUP, places=(DELIVERY_ID,), answers={200: objects.DELIVERY})
async def get_delivery(call: ApiCall) -> Response:
    """One webhook delivery, with its attempts."""
    account, seq = call.account, call[DELIVERY_ID]
    found = await call.services.database.read(lambda db: (own_delivery(db, account, seq), outbox.attempts(db, seq)))
    return answer(objects.delivery(*found))


@operation(
    "POST",
    f"{_ONE}/attempt",
    group=_GROUP,
    places=(DELIVERY_ID,),
    body=(WAIT,),
    answers={200: objects.DELIVERY},
    errors={409: "It was delivered already, or an attempt is under way."},
)
async def attempt_delivery(call: ApiCall) -> Response:
    """Attempt it now, beside its schedule, which stays as it is."""
    return answer(objects.delivery(*await call.services.control.attempt(await _own(call), wait_s=call[WAIT])))


@operation(
    "POST",
    f"{_ONE}/redeliver",
    group=_GROUP,
    places=(DELIVERY_ID,),
    body=(WAIT, EDITED),
    answers={201: objects.DELIVERY},
    errors={409: "It is still owed: attempt it now, or cancel it first."},
)
async def redeliver(call: ApiCall) -> Response:
    """Owe the same bytes once more, as a new webhook delivery; or other bytes, to see what the application does."""
    edited = b"" if call.body.get("body") == "" else call[EDITED]  # no bytes at all are other bytes too
    made = await call.services.control.redeliver(await _own(call), edited=edited, wait_s=call[WAIT])
    return answer(objects.delivery(*made), 201)


@operation(
    "POST",
    f"{_ONE}/cancel",
    group=_GROUP,
    places=(DELIVERY_ID,),
    answers={200: objects.DELIVERY},
    errors={409: "It has ended already."},
)
async def cancel_delivery(call: ApiCall) -> Response:
    """Owe it no longer. An attempt under way is still recorded."""
    return answer(objects.delivery(*await call.services.control.cancel(await _own(call))))


URL = optional("url", TextKind(2048), "Where to look; without it, the account's client_url.")
POST = with_default(
    "post", Flag(), False, "Whether to post a sample reply, marked as one, and look at the answer.", True
)


@operation("POST", f"{V1}/doctor", group=_GROUP, body=(URL, POST), answers={200: objects.REPORT})
async def examine(call: ApiCall) -> Response:
    """Say what stands in the way of webhooks, and what to do about it.

    Looks at the URL, its name, the connection, TLS, and with `post` at the answer. Nothing is recorded, and unless a
    POST is asked for, nothing is sent beyond a TLS handshake.
    """
    from sandbox.webhooks import doctor  # brings TLS along, which a start can do without

    settings = call.services.settings
    own = (settings.host, call.request.scope["server"][1])
    found = await while_connected(
        call.request,
        doctor.examine(
            call[URL] or call.account.client_url,
            account=call.account,
            post=call[POST],
            deadline_s=settings.webhook_deadline_s,
            own_addresses=lambda: (own,),
        ),
    )
    return answer(objects.report(found))


async def _own(call: ApiCall) -> int:
    """The number of the webhook delivery that is named. Raises NotFound if it is not the account's."""
    return (await call.services.database.read(partial(own_delivery, account=call.account, seq=call[DELIVERY_ID]))).seq


OPERATIONS = (list_deliveries, get_delivery, attempt_delivery, redeliver, cancel_delivery, examine)
