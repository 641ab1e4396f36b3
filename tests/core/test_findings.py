"""The lint's reader: the lint gets what the store holds, within bounds, and on a clock that stands still as well."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from sandbox import server
from sandbox.core import findings as reader
from sandbox.core.gateway import GatewayCall
from sandbox.model import DeliveryState, Direction, EventType, OutcomeKind, TextRequest
from sandbox.rules.findings import Code
from sandbox.settings import DEFAULT_ACCOUNT, Settings
from sandbox.store import messages, outbox
from sandbox.store.database import Tx
from sandbox.wire.requests import SendSms
from sandbox.wire.text import measure
from tests.conftest import EXAMPLE, Bench, Receiver
from tests.rules.test_findings import ADA, QUESTION, THANKS, Record, hostile


@pytest.fixture
def record() -> Record:
    return Record()


def written(tx: Tx, record: Record) -> None:
    """A record in the store, by the numbers that it gave itself."""
    for message in record.messages:
        if message.direction is Direction.MO:
            deliveries = [each.delivery for each in record.tried if each.delivery.message_seq == message.seq]
            messages.insert_mo(tx, replace(message, delivery_seq=message.seq if deliveries else None))
        else:
            sms = SendSms(message.shortcode, message.msisdn, message.text, message.session_id, "", None, {}, ())
            messages.insert_mt(
                tx,
                message.seq,
                message.at_ms,
                message.account,
                sms,
                message.telco,
                measure(message.text),
                messages.Submission("", b"", b"", b""),
            )
    for tried in {each.delivery.seq: each for each in record.tried}.values():  # the last attempt says how many
        outbox.insert(tx, tried.delivery)
        outbox.update(
            tx,
            tried.delivery.seq,
            state=DeliveryState.DELIVERED,
            attempts=tried.delivery.attempts,
            retries_used=0,
            first_failed_ms=None,
            next_attempt_ms=None,
        )
    for tried in record.tried:
        outbox.begin_attempt(tx, tried.attempt)
        assert tried.attempt.outcome is not None
        outbox.end_attempt(tx, tried.delivery.seq, tried.attempt.number, tried.attempt.outcome, tried.attempt.warnings)
        tx.execute(
            "INSERT INTO events (seq, at_ms, kind, account, subject) VALUES (?, ?, ?, ?, ?)",
            (
                tried.begun_seq,
                tried.attempt.started_ms,
                EventType.ATTEMPT_BEGUN,
                tried.delivery.account,
                tried.delivery.seq,
            ),
        )


def test_the_reader_finds_what_the_lint_finds(tx: Tx, record: Record) -> None:
    reply = record.mo("Titanic", routed=False)
    record.attempt(reply, kind=OutcomeKind.TIMED_OUT, duration_ms=10_000)
    record.mt(THANKS)
    record.attempt(reply, body=b"OK")
    record.mt(THANKS)
    record.attempt(record.mo("STOP"), again=True)
    record.mt("And how old are you?", "s2")
    written(tx, record)
    assert list(reader.findings(tx, "default")) == record.found()
    assert len(record.found()) == 5
    assert list(reader.findings(tx, "default", most=2)) == record.found()[:2]
    assert list(reader.findings(tx, "default", deadline_ms=20_000)) == record.found(deadline_ms=20_000)
    assert reader.findings(tx, "another") == ()


def test_the_reader_knows_attempts_whose_beginning_the_journal_has_forgotten(tx: Tx, record: Record) -> None:
    reply = record.mo("Titanic", routed=False)
    for _ in range(3):
        record.later(30).attempt(reply, 500)
        record.later(1).mt(THANKS)
    written(tx, record)
    tx.execute("DELETE FROM events WHERE seq = (SELECT MIN(seq) FROM events)")
    assert list(reader.findings(tx, "default")) == record.found()
    assert [each.code for each in record.found()] == [Code.FOLLOW_UP_TWICE]


def test_the_reader_knows_the_sessions_from_before(tx: Tx, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    record.mt(QUESTION, "before")
    record.mo("HELP", "new")
    record.mt(QUESTION, "before")
    written(tx, record)
    assert [each.code for each in reader.findings(tx, "default")] == [Code.SESSION_STALE]
    monkeypatch.setattr(reader, "LOOKED_AT", 2)
    assert [each.code for each in reader.findings(tx, "default")] == [Code.SESSION_STALE]


def test_the_reader_looks_at_the_newest_messages_of_ten_thousand_only(tx: Tx) -> None:
    record = Record()
    for _ in range(5):
        hostile(record)
    assert len(record.messages) == 10_000
    written(tx, record)
    found = reader.findings(tx, "default")
    assert 0 < len(found) <= reader.MOST
    assert min(seq for each in found for seq in each.message_seqs) >= record.messages[-reader.LOOKED_AT].seq


def test_a_follow_up_sent_twice_is_found_on_a_clock_that_stands_still(receiver: Receiver) -> None:
    account = replace(DEFAULT_ACCOUNT, client_url=receiver.url)
    settings = Settings(db=":memory:", clock="virtual", accounts=(account,))
    headers = ((b"authorization", f"Bearer {account.token}".encode()), (b"content-type", b"application/json"))

    async def main() -> None:
        address = server.Address(host="127.0.0.1", port=1)
        async with server.open_services(settings, address, None) as services:

            async def codes() -> list[Code]:
                found = await services.database.read(lambda db: reader.findings(db, account.name))
                return [each.code for each in found]

            async def send(text: str) -> None:
                body = json.dumps({**EXAMPLE, "message": text, "session_id": "s1"}).encode()
                answer = await services.gateway.submit(
                    GatewayCall("POST", "/ng/v1/sendsms", "127.0.0.1", headers, body)
                )
                assert answer.status_code == 200, answer.body

            await send(QUESTION)
            texted = await services.control.text(TextRequest(account=account.name, msisdn=ADA, text="Titanic"))
            assert texted.delivery is not None
            await send(THANKS)
            await services.control.redeliver(texted.delivery.seq)
            assert await codes() == []
            await send(THANKS)
            assert await codes() == [Code.FOLLOW_UP_TWICE]

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("effect", [{"hold": True}, {"status": 503}, {"drop": "refused"}])
def test_a_fault_that_somebody_asked_for_is_not_the_applications(routed: Bench, effect: dict[str, Any]) -> None:
    """The words by which a record tells of a fault are the dispatcher's; here they are read."""
    routed.post("/faults", {"on": "webhook", "effect": effect})
    routed.sent(message=QUESTION)
    reply = routed.post(f"/handsets/{ADA}/reply", {"text": "Titanic"})
    routed.sent(message=THANKS)  # by itself: nothing was posted
    delivery = reply["webhook_delivery"]["id"]
    routed.post(f"/webhook-deliveries/{delivery}/attempt", status=200)
    routed.sent(message=THANKS)
    attempts = routed.get(f"/webhook-deliveries/{delivery}")["attempts"]
    assert len(attempts) == 2
    assert attempts[1]["status_code"] == 200
    assert routed.get("/findings")["findings"] == []
