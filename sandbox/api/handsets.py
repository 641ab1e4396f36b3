"""Handsets: as they stand, and what they say.

A text goes out by `control.text`, whoever asks for it; here are only arguments and answers.
"""

from collections.abc import Iterable

from starlette.responses import Response

from sandbox.api import objects
from sandbox.api.messages import LIMIT
from sandbox.api.operations import V1, ApiCall, answer, operation
from sandbox.api.webhooks import WAIT
from sandbox.clock import to_iso
from sandbox.model import HandsetState, TextRequest
from sandbox.objects.derive import Json
from sandbox.objects.schema import page
from sandbox.scenario.steps import ChangeHandset
from sandbox.store import messages
from sandbox.values.fields import optional, required
from sandbox.values.kinds import MAX_TIME_S, Choice, Seconds, TextKind
from sandbox.values.numbers import Phone, Short
from sandbox.wire.numbers import TELCOS

MAX_LABEL = 80

MSISDN = required("msisdn", Phone(), "The handset's number, with or without `+` or `00`.", "2348020000000")
NEXT_HANDSET = optional("next", TextKind(), "Go on from here: what the page before has as `next`.")
LABEL = optional("label", TextKind(MAX_LABEL), "A name for people; empty takes it away.", "Ada")
TELCO = optional("telco", Choice(TELCOS), "Its operator.")
STATE = optional("state", Choice(tuple(HandsetState)), "On, or off: messages then wait, and it sends nothing.")


@operation(
    "GET",
    f"{V1}/handsets",
    group="Handsets",
    query=(LIMIT, NEXT_HANDSET),
    answers={200: page("handsets", objects.HANDSET)},
)
async def list_handsets(call: ApiCall) -> Response:
    """The handsets that somebody texted, or set up, by number."""
    name, limit, after = call.account.name, call[LIMIT], call[NEXT_HANDSET] or ""
    found = await call.services.database.read(
        lambda db: [
            messages.handset_of(db, name, msisdn)
            for msisdn in messages.handset_numbers(db, account=name, after=after, limit=limit)
        ]
    )
    following = found[-1].msisdn if len(found) == limit else None
    return answer({"handsets": [objects.handset(each) for each in found], "next": following})


@operation("GET", f"{V1}/handsets/{{msisdn}}", group="Handsets", places=(MSISDN,), answers={200: objects.HANDSET})
async def get_handset(call: ApiCall) -> Response:
    """One handset; every number has one."""
    found = await call.services.database.read(lambda db: messages.handset_of(db, call.account.name, call[MSISDN]))
    return answer(objects.handset(found))


@operation(
    "PATCH",
    f"{V1}/handsets/{{msisdn}}",
    group="Handsets",
    places=(MSISDN,),
    body=(LABEL, TELCO, STATE),
    answers={200: objects.HANDSET},
)
async def change_handset(call: ApiCall) -> Response:
    """Give a handset a label or an operator, or switch it on or off.

    What is not given stays. Switched on, it gets what waited for it.
    """
    label = (call[LABEL] or "") if "label" in call.body else None
    change = ChangeHandset(label=label, telco=call[TELCO], state=call[STATE])
    return answer(objects.handset(await call.services.network.change_handset(call.account.name, call[MSISDN], change)))


# Reply and send ----------------------------------------------------------------------------------------------------

TEXT = required(
    "text", TextKind(None), "What the handset says; 1,600 characters unless the settings say otherwise.", "yes"
)
TO_LAST = optional("to", Short(), "The shortcode; without it, the one that texted the handset last.")
TO = required("to", Short(), "The shortcode.", "48974")
SESSION_ID = optional("session_id", TextKind(), "The session to carry; without it, the last message's.")
NEW_SESSION_ID = optional("session_id", TextKind(), "The session to carry; without it, a new one.")
DELAY_S = optional("delay_s", Seconds(MAX_TIME_S), "Send it after so many seconds of the sandbox's clock.")


def _check_text(call: ApiCall) -> Iterable[tuple[str, str]]:
    text, longest = call[TEXT], call.services.settings.max_text
    if text is not None and len(text) > longest:
        yield "text", f"text has {len(text)} characters. At most {longest} are accepted."
    to, owned = call.body.get("to"), call.account.shortcodes
    if to and owned and to not in owned:
        yield "to", f"The shortcode is not one of the account's: {', '.join(owned)}."


_TEXTED = {201: objects.TEXTED, 202: objects.PLANNED}


@operation(
    "POST",
    f"{V1}/handsets/{{msisdn}}/reply",
    group="Handsets",
    places=(MSISDN,),
    body=(TEXT, TO_LAST, SESSION_ID, DELAY_S, WAIT),
    check=_check_text,
    answers=_TEXTED,
    errors={409: "The handset is off, or nobody has texted it: there is nothing to reply to."},
)
async def reply(call: ApiCall) -> Response:
    """Reply from a handset, and answer after the application has answered the webhook.

    The reply carries shortcode and session of the last message to the handset. With `delay_s` it is planned, and
    answered 202.
    """
    return await _text(
        call,
        TextRequest(
            account=call.account.name,
            msisdn=call[MSISDN],
            text=call[TEXT],
            shortcode=call[TO_LAST],
            session_id=call[SESSION_ID],
        ),
    )


@operation(
    "POST",
    f"{V1}/handsets/{{msisdn}}/send",
    group="Handsets",
    places=(MSISDN,),
    body=(TEXT, TO, NEW_SESSION_ID, DELAY_S, WAIT),
    check=_check_text,
    answers=_TEXTED,
    errors={409: "The handset is off."},
)
async def send(call: ApiCall) -> Response:
    """Send a text that the handset starts by itself, in a new session; otherwise as reply."""
    return await _text(
        call,
        TextRequest(
            account=call.account.name,
            msisdn=call[MSISDN],
            text=call[TEXT],
            shortcode=call[TO],
            session_id=call[NEW_SESSION_ID],
            new=True,
        ),
    )


async def _text(call: ApiCall, texting: TextRequest) -> Response:
    done = await call.services.control.text(texting, delay_ms=round((call[DELAY_S] or 0) * 1000), wait_s=call[WAIT])
    made: Json = {
        "message": None if done.message is None else objects.message(done.message),
        "webhook_delivery": None if done.delivery is None else objects.delivery(done.delivery, done.attempts),
    }
    if done.due_ms is not None:
        made["due_at"] = to_iso(done.due_ms)
    return answer(made, 202 if done.due_ms is not None else 201)


OPERATIONS = (list_handsets, get_handset, change_handset, reply, send)
