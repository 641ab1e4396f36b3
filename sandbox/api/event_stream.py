"""The event stream: the journal from where the listener left off, then the news as it is committed.

An event names the thing that it is about and carries it as it stands now. A listener that is too slow is cut off, and
resumes from the journal with `Last-Event-ID`, so that nothing is ever missed and nobody is waited for.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial

from sandbox.api import objects
from sandbox.clock import to_iso
from sandbox.core.bus import Bus
from sandbox.errors import StorageError
from sandbox.model import Event, EventType
from sandbox.objects.derive import Json
from sandbox.store import faults, journal, messages, outbox, scenarios
from sandbox.store.database import Database, Queries

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
PAGE = 16  # entries of the past at a time: so many are kept for each listener that does not read, at up to 20 kB
_OF_MESSAGE = (EventType.MESSAGE_SUBMITTED, EventType.MESSAGE_ARRIVED, EventType.MESSAGE_ORIGINATED)
_OF_DELIVERY = (
    EventType.ATTEMPT_BEGUN,
    EventType.ATTEMPT_MADE,
    EventType.DELIVERY_REDELIVERED,
    EventType.DELIVERY_CANCELLED,
)
_OF_RUN = (EventType.RUN_STARTED, EventType.RUN_MOVED, EventType.RUN_MISSED, EventType.RUN_PAUSED, EventType.RUN_ENDED)


async def events(
    database: Database, bus: Bus, *, account: str | None, after: int | None, full: bool = True
) -> AsyncIterator[bytes]:
    """Server-sent events as bytes, without end; from the entry after `after`, or from now on.

    `full` events carry what they are about (a message, a run …); otherwise its identifier alone. Ends when the bus is
    closed, the listener was dropped or the store cannot be read.
    """
    try:
        async with aclosing(_events(database, bus, account, after, full)) as found:
            async for each in found:
                yield each
    except StorageError as error:  # the listener comes again, and goes on from where it was
        log.error("An event stream was ended: %s", error)


async def _events(
    database: Database, bus: Bus, account: str | None, after: int | None, full: bool
) -> AsyncGenerator[bytes, None]:
    with bus.subscribe(partial(_is_for, account)) as news:
        seq = await database.read(journal.last_seq) if after is None else after
        yield b"retry: 1000\n: connected at %d\n\n" % seq
        while True:  # what happened before the subscription, page by page
            entries = await database.read(partial(journal.after, seq=seq, account=account, limit=PAGE))
            if not entries:
                break
            yield await _written(database, entries, full=full)
            seq = entries[-1].seq
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    entry = await anext(news)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            except StopAsyncIteration:
                return
            if entry.seq > seq:
                seq = entry.seq
                yield await _written(database, [entry], full=full)


def _is_for(account: str | None, entry: Event) -> bool:
    return account is None or entry.account is None or entry.account == account


async def _written(database: Database, entries: Sequence[Event], *, full: bool) -> bytes:
    if full:
        things = await database.read(lambda db: [_thing(db, entry) for entry in entries])
    else:
        things = [_identifier(entry) for entry in entries]
    return b"".join(_event(entry, thing) for entry, thing in zip(entries, things, strict=True))


def _event(entry: Event, thing: Json) -> bytes:
    data = {
        "seq": entry.seq,
        "at": to_iso(entry.at_ms),
        "kind": entry.kind,
        "account": entry.account,
        "msisdn": entry.msisdn,
        **thing,
    }
    # ensure_ascii keeps every line break of a text out of the stream's framing
    return f"id: {entry.seq}\nevent: {entry.kind}\ndata: {json.dumps(data)}\n\n".encode()


def _identifier(entry: Event) -> Json:
    if entry.kind in _OF_MESSAGE:
        return {"message_id": f"m{entry.subject}"}
    if entry.kind is EventType.MESSAGE_REFUSED:
        return {"request_id": f"r{entry.subject}"}
    if entry.kind in _OF_DELIVERY:
        return {"webhook_delivery_id": f"w{entry.subject}"}
    if entry.kind is EventType.FAULT_CHANGED:
        return {"fault_id": f"f{entry.subject}"}
    if entry.kind in _OF_RUN:
        return {"run_id": f"s{entry.subject}"}
    return {}


def _thing(db: Queries, entry: Event) -> Json:
    made = _identifier(entry)
    if entry.kind in _OF_MESSAGE:
        message = messages.get(db, entry.subject)
        made["message"] = None if message is None else objects.message(message)
    elif entry.kind is EventType.MESSAGE_REFUSED:
        request = messages.get_request(db, entry.subject)
        made["request"] = None if request is None else objects.request(request)
    elif entry.kind in _OF_DELIVERY:
        delivery = outbox.get(db, entry.subject)
        made["webhook_delivery"] = (
            None if delivery is None else objects.delivery(delivery, outbox.attempts(db, delivery.seq))
        )
    elif entry.kind is EventType.FAULT_CHANGED:
        fault = faults.get(db, entry.subject)
        made["fault"] = None if fault is None else objects.fault(fault)
    elif entry.kind in _OF_RUN:
        run = scenarios.get_whole(db, entry.subject)
        made["run"] = None if run is None else objects.run(run)
    return made
