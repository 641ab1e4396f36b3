"""What is made of the record: findings about the application, transcripts of a conversation, files to keep.

See rules/findings.py for what is suspicious, scenario/record.py for how a conversation is written down, transfer/ for
what a file holds; here are only arguments and answers. These modules are imported by the first who asks, not at every
start.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from starlette.responses import Response, StreamingResponse

from sandbox.api import objects
from sandbox.api.handsets import MSISDN
from sandbox.api.operations import V1, ApiCall, Content, InvalidDetailed, Unfinished, answer, operation
from sandbox.errors import StorageError
from sandbox.model import Attempt, Message
from sandbox.objects.problems import IMPORTED
from sandbox.objects.schema import mapping, page, text
from sandbox.store import messages, outbox
from sandbox.store.database import Queries
from sandbox.values.fields import optional, with_default
from sandbox.values.kinds import Choice
from sandbox.values.numbers import Short


@operation(
    "GET",
    f"{V1}/findings",
    group="Messages",
    answers={200: page("findings", objects.FINDING, last="always null: they come all at once")},
)
async def list_findings(call: ApiCall) -> Response:
    """What is suspicious about the application, from the record of the newest 2,000 messages.

    A follow-up sent twice after a webhook that came twice, a session that no webhook had, an answer that took too long
    … Newest first, 200 at most. Where the record allows an innocent story as well, nothing is said.
    """
    from sandbox.core import findings

    name, deadline_ms = call.account.name, round(call.services.settings.webhook_deadline_s * 1000)
    found = await call.services.database.read(lambda db: findings.findings(db, name, deadline_ms=deadline_ms))
    return answer({"findings": [objects.finding(each) for each in found], "next": None})


AS = with_default("as", Choice(("text", "scenario", "pytest")), "text", "For people, to be played again, or as a test.")
SHORTCODE = optional("shortcode", Short(), "Only what was said between the handset and this one.", "48974")


@operation(
    "GET",
    f"{V1}/conversations/{{msisdn}}/transcript",
    group="Messages",
    places=(MSISDN,),
    query=(AS, SHORTCODE),
    answers={
        200: (
            Content(
                media_type="text/plain",
                schema=text(),
                example="2024-01-02, 2348020000000 (mtn) and 48974, session 67543uhn3\n"
                "  23:50:37  application  When was the last time you went to the cinema?\n"
                "  23:50:40  handset      yesterday\n",
            ),
            Content(media_type="application/yaml", schema=mapping(True), example="scenario: recorded\n…\n"),
            Content(media_type="text/x-python", schema=text(), example="def test_recorded(ninebits, handset):\n…\n"),
        )
    },
)
async def get_transcript(call: ApiCall) -> Response:
    """All that was said to and by a handset: the newest 1,000 messages, oldest first.

    As text, as a scenario that plays the handset's half again, or as a Python test for the pytest fixtures.
    """
    from sandbox.scenario import record

    account, msisdn = call.account.name, call[MSISDN]

    def read(db: Queries) -> tuple[Sequence[Message], Mapping[int, Sequence[Attempt]]]:
        found = messages.page(db, account=account, msisdn=msisdn, shortcode=call[SHORTCODE], limit=record.MOST)[::-1]
        owed = [each.delivery_seq for each in found if each.delivery_seq is not None]
        return found, {seq: outbox.attempts(db, seq) for seq in owed}

    found, attempts = await call.services.database.read(read)
    match call[AS]:
        case "text":
            written, media_type = record.as_text(found, attempts), "text/plain"
        case "pytest":
            written = await asyncio.to_thread(record.as_pytest, found)
            media_type = "text/x-python"
        case _:
            written, media_type = await asyncio.to_thread(_as_yaml, found), "application/yaml"
    return Response(written, media_type=media_type)


def _as_yaml(found: Sequence[Message]) -> str:
    from sandbox.scenario import record, script

    return script.write(record.as_scenario(found))


# Files -------------------------------------------------------------------------------------------------------------

_FILE = '{"type": "export", "version": 2}\n'
_LINES = _FILE + '{"type": "handset", "id": "2348020000000", …}\n…\n'


@operation(
    "GET",
    f"{V1}/export",
    group="Bench",
    answers={
        200: (
            Content(
                media_type="application/jsonl",
                schema=text("JSON Lines: each line is an object of this API, and its `type`."),
                example=_LINES,
            ),
        )
    },
)
async def export(call: ApiCall) -> Response:
    """Everything recorded of an account, as JSON Lines: handsets, scenarios, messages, calls, webhooks.

    Secrets are masked. Nothing is removed.
    """
    from sandbox.transfer import rows

    name = call.account.name
    first = await call.services.database.read(lambda db: rows.page(db, name))

    async def written() -> AsyncIterator[str]:
        lines, cursor = first
        yield "".join(lines)
        while cursor is not None:  # page by page, so that a slow listener keeps nobody from the database
            lines, cursor = await call.services.database.read(partial(rows.page, account=name, cursor=cursor))
            yield "".join(lines)

    return StreamingResponse(
        written(),
        media_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{name}.jsonl"', "Cache-Control": "no-store"},
    )


@operation(
    "POST",
    f"{V1}/import",
    group="Bench",
    body=Content(
        media_type="application/json",
        schema={"description": "JSON Lines, as an export answers them; sent as JSON, like all that changes something."},
        example=_FILE,
    ),
    answers={201: IMPORTED},
    errors={
        409: "The account was reset meanwhile, or removed and added again: what was in went with it.",
        503: "The database cannot be used: `imported` says how far it came, and the same file sent again goes on.",
    },
)
async def import_(call: ApiCall) -> Response:
    """Take in what an export answered and the account has not yet; of a file with an error, nothing.

    What is there already is told by what it says, counted, and left alone, so that a file may be sent again, and files
    may overlap. Numbers are given anew. Nothing is posted because of it: webhooks that were still owed are cancelled.
    What is wrong is told with the number of its `line`. A file beyond 1 MiB needs the setting `max_control_body`.
    """
    from sandbox.transfer import imports

    settings = call.services.settings
    limits = imports.Limits(messages=settings.max_messages, text=settings.max_text, body=settings.max_body)
    found = await asyncio.to_thread(imports.read, call.raw.split(b"\n"), limits)
    if not isinstance(found, imports.Import):
        raise InvalidDetailed(*({"field": "body", "message": each.message, "line": each.line} for each in found))
    progress = found.start
    try:
        async for each in call.services.control.take_in(call.account.name, found):
            progress = each
    except StorageError as error:
        remedy = "Then send the same file again: it goes on from where it stopped."
        raise Unfinished(error, remedy, imported=objects.imported(progress)) from error
    return answer(objects.imported(progress), 201)


OPERATIONS = (list_findings, get_transcript, export, import_)
