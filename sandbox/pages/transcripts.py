"""Export of a conversation as a scenario, a test or a transcript, on a page with a button that copies it.

See scenario/record.py for how they are written.
"""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from sandbox.errors import NotFound
from sandbox.http.request import account_of, query_of
from sandbox.model import Account, Attempt, Message, Msisdn, Shortcode
from sandbox.pages import formatting
from sandbox.pages.render import look, page
from sandbox.store import messages, outbox
from sandbox.store.database import Queries
from sandbox.wire.numbers import NumberFault, parse_msisdn, parse_shortcode

MOST = 200  # messages on the page, the newest; the control API writes down as many as a scenario can hold
_FORMS = {
    "scenario": ("As a scenario", "Plays the handset's half again. Save it here, or as a file of your own."),
    "pytest": ("As a test", "For the fixtures of the pytest plugin; the rest of the test is yours."),
    "text": ("As a transcript", "For people, and for a report of what went wrong."),
}


def conversation_of(request: Request) -> tuple[Shortcode, Msisdn]:
    """The two numbers in the path."""
    shortcode = parse_shortcode(request.path_params["shortcode"])
    msisdn = parse_msisdn(request.path_params["msisdn"])
    if isinstance(shortcode, NumberFault) or isinstance(msisdn, NumberFault):
        raise NotFound("A conversation's address is /c/, a shortcode, and a phone number in international form.")
    return shortcode, msisdn


def said(
    db: Queries,
    account: Account,
    shortcode: Shortcode,
    msisdn: Msisdn,
    *,
    until: int | None = None,
    most: int | None = None,
) -> Sequence[Message]:
    """The newest messages of a conversation, or the last up to a number, oldest first: `most`, or as many as a scenario
    can hold."""
    from sandbox.scenario import record  # which a start can do without

    before = None if until is None else until + 1
    found = messages.page(
        db, account=account.name, msisdn=msisdn, shortcode=shortcode, before=before, limit=most or record.MOST
    )
    return found[::-1]


def attempts_of(db: Queries, found: Sequence[Message]) -> Mapping[int, Sequence[Attempt]]:
    """The attempts of the messages' webhook deliveries, by the number of the delivery."""
    deliveries = [each.delivery_seq for each in found if each.delivery_seq is not None]
    return {seq: outbox.attempts(db, seq) for seq in deliveries}


async def as_scenario(found: Sequence[Message]) -> str:
    """YAML. A long conversation takes longer to write down than the loop can wait."""
    from sandbox.scenario import record, script

    return await asyncio.to_thread(lambda: script.write(record.as_scenario(found)))


async def transcript(request: Request) -> Response:
    from sandbox.scenario import record

    account, (shortcode, msisdn), form = account_of(request), conversation_of(request), request.path_params["form"]
    given = query_of(request)
    until = given.cursor("until")
    given.done()
    if form not in _FORMS:
        raise NotFound(f"A conversation can be had as {', '.join(_FORMS)}.")

    def read(db: Queries) -> tuple[Sequence[Message], Mapping[int, Sequence[Attempt]]]:
        found = said(db, account, shortcode, msisdn, until=until, most=MOST)
        return found, attempts_of(db, found) if form == "text" else {}

    _, (found, attempts) = await look(request, read)
    match form:
        case "text":
            written = record.as_text(found, attempts)
        case "pytest":
            written = await asyncio.to_thread(record.as_pytest, found)
        case _:
            written = await as_scenario(found)
    title, about = _FORMS[form]
    return page(
        request,
        "transcript.html",
        title=f"{formatting.grouped(msisdn)}, {shortcode}: {title.lower()}",
        section="conversations",
        forms={each: name for each, (name, _) in _FORMS.items()},
        form=form,
        about=about,
        written=written,
        count=len(found),
        most=MOST,
        all_most=record.MOST,
        until=until,
        shortcode=shortcode,
        msisdn=msisdn,
    )
