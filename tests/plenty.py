"""A store that holds plenty: long and short conversations, refused calls, webhook deliveries in every state.

Written through the store's own functions, the same each time for the same size, for tests and benchmarks of how the
sandbox bears a long record. Nothing here is posted anywhere.
"""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from sandbox.clock import to_iso
from sandbox.core.dispatcher import queue_of
from sandbox.model import (
    Account,
    Attempt,
    DeliveryState,
    Direction,
    EventType,
    Handset,
    Message,
    MessageState,
    Msisdn,
    Outcome,
    OutcomeKind,
    Shortcode,
    Timer,
    TimerKind,
    Trigger,
    WebhookDelivery,
)
from sandbox.store import accounts, file, journal, messages, outbox
from sandbox.store.database import Database, Tx
from sandbox.wire import payloads
from sandbox.wire.numbers import telco_of
from sandbox.wire.problems import problem
from sandbox.wire.requests import SendSms
from sandbox.wire.text import measure
from tests.samples import REFUSED

SHORTCODE = Shortcode("48974")
TALKER = Msisdn("2348020000000")
"""The handset with the long conversation: half of all messages."""

ACCOUNT = Account(
    name="default",
    token="sandbox-token",
    client_url="http://127.0.0.1:9/sms",
    retry_s=(30, 60, 120, 240, 480, 960, 1920, 3600),
)
SCENARIO = "silence"
STEP_MS = 1_700  # between two messages
AT_ONCE = 2_000  # messages in one transaction
DAY_MS = 86_400_000

_HEADERS = messages.header_lines(
    [
        (b"host", b"localhost:2081"),
        (b"user-agent", b"python-requests/2.32.5"),
        (b"accept", b"*/*"),
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer sand\xe2\x80\xa6oken"),
    ]
)
_ASKED = (
    "When was the last time you went to the cinema?",
    "Which film did you see there? Answer with its title, please.",
    "Thank you! One more question: how much did the ticket cost, roughly, in naira? Popcorn and the way do not count.",
    "Your code is 482913. It is good for ten minutes; nobody of ours will ever ask you for it.",
)
_SAID = ("yesterday", "Things Fall Apart", "2,500 I think, with a friend who paid for both of us", "STOP", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plenty:
    """What there is, as far as a page needs to be told."""

    messages: int
    conversations: int
    refusals: int
    deliveries: int
    middle: int  # the number of a message in the middle of the long conversation
    accepted: int  # a recent accepted call
    refused: int  # a recent refused one
    exhausted: int  # a recent webhook delivery with all its attempts; if there is none yet, one that was rejected
    delivered: int
    quiet: Msisdn  # a handset with one message or two, in the middle of the list


def fill(path: Path, count: int, now_ms: int) -> Plenty:
    """Make a database of `count` messages, the newest of which came at `now_ms`."""
    return asyncio.run(_fill(path, count, now_ms))


def pages(there: Plenty) -> Sequence[tuple[str, str]]:
    """(name, path) of every page on such a store."""
    long, short = f"/c/{SHORTCODE}/{TALKER}", f"/c/{SHORTCODE}/{there.quiet}"
    return [
        ("conversations", "/"),
        ("conversations, searched by number", f"/?q={there.quiet[4:]}"),
        ("conversations, searched by label", "/?q=Tester+1"),
        ("conversations, searched in vain", "/?q=nobody"),
        ("conversations, older", f"/?older={there.middle}"),
        ("short conversation", short),
        ("long conversation", long),
        ("long conversation, its middle", f"{long}?before={there.middle}"),
        ("long conversation, as a scenario", f"{long}/as/scenario"),
        ("long conversation, as a test", f"{long}/as/pytest"),
        ("long conversation, as a transcript", f"{long}/as/text"),
        ("requests", "/requests"),
        ("requests, refused", "/requests?verdict=refused"),
        ("requests, of no account", "/requests?verdict=unowned"),
        ("requests, searched", "/requests?q=code+is"),
        ("requests, searched in vain", "/requests?q=nothing+like+it"),
        ("requests, older", f"/requests?before={there.middle}"),
        ("one request", f"/requests/r{there.accepted}"),
        ("one refused request", f"/requests/r{there.refused}"),
        ("webhooks", "/webhooks"),
        ("webhooks, exhausted", "/webhooks?state=exhausted"),
        ("webhooks, pending", "/webhooks?state=pending"),
        ("webhooks, in flight", "/webhooks?state=in_flight"),
        ("webhooks, searched", "/webhooks?q=Things"),
        ("webhooks, searched in vain", "/webhooks?q=nothing+like+it"),
        ("webhooks, older", f"/webhooks?before={there.middle}"),
        ("one webhook", f"/webhooks/w{there.delivered}"),
        ("one with 9 attempts", f"/webhooks/w{there.exhausted}"),
        ("scenarios", "/scenarios"),
        ("one scenario", f"/scenarios/{SCENARIO}"),
        ("presenter", "/present"),
        ("settings", "/settings"),
        ("doctor", "/doctor"),
    ]


async def _fill(path: Path, count: int, now_ms: int) -> Plenty:
    database = Database(str(path))
    database.open()
    try:
        await database.write(partial(accounts.put, account=ACCOUNT))
        await database.write(partial(_label, count=count))
        made: list[tuple[str, int]] = []
        for first in range(0, count, AT_ONCE):
            last = min(first + AT_ONCE, count)
            made += await database.write(partial(_some, numbers=range(first, last), count=count, now_ms=now_ms))
    finally:
        await database.close()
    seqs: dict[str, list[int]] = {}
    for kind, seq in made:
        seqs.setdefault(kind, []).append(seq)
    deliveries = sum(len(found) for kind, found in seqs.items() if kind in tuple(DeliveryState))
    return Plenty(
        messages=count,
        conversations=1 + min(_strangers(count), count // 2),
        refusals=len(seqs["refused"]),
        deliveries=deliveries,
        middle=seqs["mt"][len(seqs["mt"]) // 2],
        accepted=seqs["mt"][-1],
        refused=seqs["refused"][-1],
        exhausted=seqs.get(DeliveryState.EXHAUSTED, seqs[DeliveryState.REJECTED])[-1],
        delivered=seqs[DeliveryState.DELIVERED][-1],
        quiet=_stranger(_strangers(count) // 2, count),
    )


def _strangers(count: int) -> int:
    """Handsets with a short conversation."""
    return max(1, count * 4 // 10)


def _stranger(number: int, count: int) -> Msisdn:
    return Msisdn(f"2347{number % _strangers(count) * 7919 % 10**9:09d}")


def _label(tx: Tx, count: int) -> None:
    """Every fiftieth handset has a label, and some were never texted."""
    for number in range(0, _strangers(count), 50):
        msisdn = _stranger(number, count)
        messages.put_handset(
            tx, Handset(account=ACCOUNT.name, msisdn=msisdn, label=f"Tester {number}", telco=telco_of(msisdn))
        )
    for number in range(5):
        messages.put_handset(
            tx,
            Handset(account=ACCOUNT.name, msisdn=Msisdn(f"234805000000{number}"), label=f"Spare {number}", telco="glo"),
        )


def _some(tx: Tx, *, numbers: range, count: int, now_ms: int) -> Sequence[tuple[str, int]]:
    made: list[tuple[str, int]] = []
    for number in numbers:
        at_ms = now_ms - (count - 1 - number) * STEP_MS
        msisdn = TALKER if number % 2 == 0 else _stranger(number // 2, count)
        if number % 10 == 4:
            made.append(("refused", _refuse(tx, number, msisdn, at_ms)))
        if number % 4 < 2:
            made.append(("mt", _submit(tx, number, msisdn, at_ms)))
        else:
            made.append(_reply(tx, number, msisdn, at_ms, now_ms))
    return made


def _submit(tx: Tx, number: int, msisdn: Msisdn, at_ms: int) -> int:
    text = _ASKED[number // 4 % len(_ASKED)]
    measured = measure(text)
    sms = SendSms(SHORTCODE, msisdn, text, f"s{number // 40}", to_iso(at_ms), None, {}, ())
    seq = journal.announce(tx, EventType.MESSAGE_SUBMITTED, at_ms=at_ms, account=ACCOUNT.name, msisdn=msisdn)
    submission = messages.Submission("127.0.0.1", _HEADERS, _body(sms), payloads.success(ACCOUNT, seq, sms, measured))
    messages.insert_mt(tx, seq, at_ms, ACCOUNT.name, sms, telco_of(msisdn), measured, submission)
    return seq


def _body(sms: SendSms) -> bytes:
    return payloads.to_json(
        {
            "from": sms.shortcode,
            "to": sms.msisdn,
            "message": sms.text,
            "session_id": sms.session_id,
            "sent_date": sms.sent_date,
        }
    )


def _refuse(tx: Tx, number: int, msisdn: Msisdn, at_ms: int) -> int:
    unowned = number % 100 == 4
    problems = (
        (problem("unknown_token", masked="prod…oken"),)
        if unowned
        else (problem("missing", "session_id", field="session_id"), problem("missing", "sent_date", field="sent_date"))
    )
    account = None if unowned else ACCOUNT.name
    status = 401 if unowned else 400
    seq = journal.announce(tx, EventType.MESSAGE_REFUSED, at_ms=at_ms, account=account)
    body = json.dumps({"from": SHORTCODE, "to": msisdn, "message": _ASKED[number % len(_ASKED)]}).encode()
    refused = replace(
        REFUSED,
        seq=seq,
        account=account,
        at_ms=at_ms,
        body=body,
        status_code=status,
        answer=payloads.failure(status, problems),
        problems=problems,
    )
    messages.insert_refusal(tx, refused, _HEADERS)
    return seq


def _reply(tx: Tx, number: int, msisdn: Msisdn, at_ms: int, now_ms: int) -> tuple[str, int]:
    text = _SAID[number // 4 % len(_SAID)]
    measured = measure(text)
    seq = journal.announce(tx, EventType.MESSAGE_ORIGINATED, at_ms=at_ms, account=ACCOUNT.name, msisdn=msisdn)
    message = Message(
        seq=seq,
        account=ACCOUNT.name,
        direction=Direction.MO,
        msisdn=msisdn,
        shortcode=SHORTCODE,
        text=text,
        session_id=f"s{number // 40}",
        ref_id=None,
        sent_date=to_iso(at_ms),
        at_ms=at_ms,
        telco=telco_of(msisdn),
        encoding=measured.encoding,
        segments=measured.segments,
        state=MessageState.ROUTED,
        delivery_seq=seq,
    )
    messages.insert_mo(tx, message)
    messages.touch_mo(tx, account=ACCOUNT.name, msisdn=msisdn, shortcode=SHORTCODE, seq=seq)
    return _owe(tx, number // 4 * 2 + number % 2, message, now_ms), seq


_ENDS: tuple[
    tuple[DeliveryState, int, tuple[int | None, ...]], ...
] = (  # of a hundred webhook deliveries: the state, how many, and what came of their attempts
    (DeliveryState.DELIVERED, 82, (200,)),
    (DeliveryState.DELIVERED, 8, (503, 200)),
    (DeliveryState.EXHAUSTED, 3, (503, None, 503, 503, None, 503, 503, 503, 503)),
    (DeliveryState.REJECTED, 3, (404,)),
    (DeliveryState.CANCELLED, 2, (503, 503)),
    (DeliveryState.RETRYING, 1, (None,)),
    (DeliveryState.PENDING, 1, ()),
)
_PLAN = tuple((state, codes) for state, times, codes in _ENDS for _ in range(times))


def _owe(tx: Tx, turn: int, message: Message, now_ms: int) -> str:
    state, codes = _PLAN[turn * 37 % len(_PLAN)]
    seq, at_ms = message.seq, message.at_ms
    so_far = [code for index, code in enumerate(codes) if at_ms + _offset_ms(index) <= now_ms]
    if len(so_far) < len(codes):  # its retries are still to come
        state, codes = DeliveryState.RETRYING, tuple(so_far)
    url = ACCOUNT.client_url or ""
    body = payloads.two_way_sms(
        telco=message.telco,
        msisdn=message.msisdn,
        shortcode=SHORTCODE,
        text=message.text,
        session_id=message.session_id,
        sent_date=message.sent_date,
        ref_id="",
        revision=ACCOUNT.revision,
        form=ACCOUNT.msisdn_format,
        turn=turn,
    )
    outbox.insert(
        tx,
        WebhookDelivery(
            seq=seq,
            message_seq=seq,
            account=ACCOUNT.name,
            msisdn=message.msisdn,
            shortcode=SHORTCODE,
            url=url,
            body=body,
            state=DeliveryState.PENDING,
            created_ms=at_ms,
            next_attempt_ms=at_ms,
        ),
    )
    for index, code in enumerate(codes):
        _attempt(
            tx, message, index + 1, _offset_ms(index), code, took_ms=4 + turn * 53 % 190 + turn * 31 % 97 // 90 * 1200
        )
    due_ms = now_ms + DAY_MS if state.open else None
    if due_ms is not None:
        outbox.set_timer(
            tx,
            Timer(due_ms=due_ms, kind=TimerKind.WEBHOOK, queue=queue_of(url), account=ACCOUNT.name, subject=seq),
        )
    outbox.update(
        tx,
        seq,
        state=state,
        attempts=len(codes),
        retries_used=max(0, len(codes) - 1) + (state is DeliveryState.RETRYING),
        first_failed_ms=at_ms if codes and codes[0] != 200 else None,
        next_attempt_ms=due_ms,
    )
    return state


def _offset_ms(index: int) -> int:
    """Of the first attempt, then of the retries, from the first failure."""
    return 0 if index == 0 else ACCOUNT.retry_s[index - 1] * 1000


def _attempt(tx: Tx, message: Message, number: int, offset_ms: int, code: int | None, *, took_ms: float) -> None:
    seq, at_ms = message.seq, message.at_ms + offset_ms
    journal.record(
        tx, EventType.ATTEMPT_BEGUN, at_ms=at_ms, account=message.account, subject=seq, msisdn=message.msisdn
    )
    outbox.begin_attempt(
        tx,
        Attempt(delivery_seq=seq, number=number, trigger=Trigger.SCHEDULED, started_ms=at_ms, offset_ms=offset_ms),
    )
    if code is None:
        outcome = Outcome(kind=OutcomeKind.TIMED_OUT, duration_ms=10_000, error="No answer within 10 s.")
    else:
        headers = (("content-type", "application/json"), ("content-length", "2"))
        outcome = Outcome(kind=OutcomeKind.ANSWERED, duration_ms=took_ms, status_code=code, headers=headers, body=b"{}")
    outbox.end_attempt(tx, seq, number, outcome, ())
    journal.record(
        tx,
        EventType.ATTEMPT_MADE,
        at_ms=at_ms + round(outcome.duration_ms),
        account=message.account,
        subject=seq,
        msisdn=message.msisdn,
    )


_GRANULE = 5  # steps of SQLite's machine between two counts


class Steps:
    """Counts what SQLite does on every connection that is made while it is in place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        connect = file.connect

        def counting(path: str) -> sqlite3.Connection:
            connection = connect(path)
            connection.set_progress_handler(self._step, _GRANULE)
            return connection

        monkeypatch.setattr(file, "connect", counting)

    def _step(self) -> int:
        self.count += _GRANULE
        return 0
