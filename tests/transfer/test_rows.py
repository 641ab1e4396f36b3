"""Export and import: nothing is lost or made up on the way, no secret goes out, and no URL that comes in is used."""

import asyncio
import base64
import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.clock import to_iso
from sandbox.core.services import Services
from sandbox.errors import NotFound
from sandbox.model import (
    Account,
    Attempt,
    DeliveryState,
    EventType,
    Handset,
    HandsetState,
    Msisdn,
    Outcome,
    OutcomeKind,
    Trigger,
)
from sandbox.store import accounts, database, journal, messages, outbox
from sandbox.store.database import Tx
from sandbox.transfer import identity, imports, rows
from sandbox.transfer.imports import Import, Progress
from sandbox.wire.text import measure
from tests.conftest import Bench, Receiver
from tests.faulty import fail

ADA, BEN = "2348020000000", "2347030000000"
NOW_MS = 1_800_000_000_000
SECRET = "canary-of-a-secret"
HEADER = '{"type": "export", "version": 2}'
AT = "2024-01-02T23:50:37.123000Z"
MT: dict[str, Any] = {
    "type": "message",
    "id": "m7",
    "seq": 7,
    "account": "default",
    "direction": "mt",
    "from": "48974",
    "to": ADA,
    "text": "When was the last time you went to the cinema?",
    "session_id": "67543uhn3",
    "ref_id": None,
    "sent_date": "2024-01-02T23:50:37.000000Z",
    "at": AT,
    "telco": "mtn",
    "encoding": "GSM-7",
    "segments": 1,
    "state": "arrived",
    "webhook_delivery_id": None,
    "request_id": "r7",
    "extra": {},
    "warnings": [],
}
CALL: dict[str, Any] = {
    "type": "request",
    "id": "r7",
    "seq": 7,
    "account": "default",
    "at": AT,
    "verdict": "accepted",
    "status_code": 200,
    "method": "POST",
    "path": "/ng/v1/sendsms",
    "client": "127.0.0.1",
    "problems": [],
    "warnings": [],
    "message_id": "m7",
    "headers": [],
    "body": "{}",
    "answer": "{}",
}
MO: dict[str, Any] = {
    **MT,
    "id": "m8",
    "seq": 8,
    "direction": "mo",
    "from": ADA,
    "to": "48974",
    "state": "delivered",
    "webhook_delivery_id": "w8",
    "request_id": None,
}
UNROUTED: dict[str, Any] = {**MO, "state": "unrouted", "webhook_delivery_id": None}
PAYLOAD = (
    '{"type": "two-way sms", "telco": "mtn", "from": "2348020000000", "to": "48974", "message": "Yesterday", '
    '"session_id": "67543uhn3", "sent_date": "2024-01-02T23:50:37.000000Z"}'
)
ATTEMPT: dict[str, Any] = {
    "number": 1,
    "trigger": "scheduled",
    "offset_s": 0.0,
    "started_at": AT,
    "duration_ms": 12.5,
    "outcome": "answered",
    "status_code": 200,
    "error": None,
    "response_headers": [{"name": "Content-Type", "value": "application/json"}],
    "response_body": "{}",
    "warnings": [],
}
OWED: dict[str, Any] = {
    "type": "webhook_delivery",
    "id": "w8",
    "seq": 8,
    "account": "default",
    "message_id": "m8",
    "url": "http://127.0.0.1:8000/sms",
    "state": "delivered",
    "created_at": AT,
    "next_attempt_at": None,
    "redelivery_of": None,
    "edited": False,
    "body": PAYLOAD,
    "attempts": [],
}
DELIVERY: dict[str, Any] = {**OWED, "attempts": [ATTEMPT]}
REFUSAL: dict[str, Any] = {
    **CALL,
    "id": "r9",
    "seq": 9,
    "verdict": "refused",
    "status_code": 400,
    "problems": [{"field": None, "code": "invalid_json", "message": "It is not JSON.", "hint": "Send JSON."}],
    "message_id": None,
    "headers": [{"name": "host", "value": "localhost"}],
    "body": "{",
}
HANDSET: dict[str, Any] = {
    "type": "handset",
    "id": BEN,
    "account": "default",
    "msisdn": BEN,
    "label": "Ben",
    "telco": "glo",
    "state": "off",
}
ALL = [HANDSET, MT, CALL, MO, DELIVERY, REFUSAL]


def file_of(*lines: Any) -> list[str]:
    return [HEADER, *(json.dumps(each) for each in lines)]


@contextmanager
def store(*names: str) -> Iterator[Tx]:
    """An empty store with accounts of these names."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript((Path(database.__file__).parent / "schema.sql").read_text(encoding="utf-8"))
        tx = Tx(connection, itertools.count(1).__next__)
        for name in names:
            accounts.put(tx, Account(name=name, token=f"token-of-{name}"))
        yield tx


@pytest.fixture
def tx() -> Iterator[Tx]:
    with store("default") as tx:
        yield tx


def import_into(tx: Tx, lines: Sequence[str], account: str = "default") -> Progress:
    """Take a file in. Returns what became of it."""
    *_, progress = importing(tx, lines, account)
    assert not progress.left
    return progress


def importing(tx: Tx, lines: Sequence[str], account: str = "default") -> Iterator[Progress]:
    """Take a file in, one transaction with each step."""
    found = imports.read(lines)
    assert isinstance(found, Import), found
    known = found.known()
    known.note(identity.look(tx, account, known, span=None))
    progress = found.start
    yield progress
    for batch in found.batches():
        written = rows.write(tx, account, batch, known, at_ms=NOW_MS)
        known.note(written.seen)
        progress = progress.after(batch, written.counts)
        yield progress


def anew(lines: Sequence[str]) -> list[Any]:
    """The lines of an export, its account left out, with identifiers by the order in which they come."""
    names: dict[str, str] = {}
    found = []
    for line in lines:
        value = json.loads(line)
        if value["type"] == "account":
            continue
        for key in ("id", "request_id", "message_id", "webhook_delivery_id", "redelivery_of"):
            if value.get(key) is not None:
                value[key] = names.setdefault(value[key], f"{value[key][0]} {len(names)}")
        found.append({key: each for key, each in value.items() if key not in ("seq", "account")})
    return found


def exported(tx: Tx, account: str = "default") -> list[str]:
    return list(rows.export(tx, account))


def in_transaction(services: Services, fn: Any) -> Any:
    """What `fn` makes of a transaction on a sandbox that runs in a thread."""
    loop = services.database._require_loop()
    return asyncio.run_coroutine_threadsafe(services.database.write(fn), loop).result(10)


# --- there and back -----------------------------------------------------------------------------------------------


def test_what_was_imported_is_exported_as_it_was(tx: Tx) -> None:
    progress = import_into(tx, file_of(*ALL))
    assert progress.written == {"handsets": 1, "messages": 2, "refusals": 1, "webhook_deliveries": 1, "attempts": 1}
    assert (progress.lines, progress.of_lines) == (7, 7)
    assert anew(exported(tx)) == anew(file_of(*ALL))


def test_a_file_that_was_exported_imported_and_exported_is_the_same(routed: Bench, receiver: Receiver) -> None:
    """Everything that the sandbox records by itself, from one account into another and back."""
    receiver.answer_with(200, b"\xff\x00 no text")
    routed.sent(message="Price: ₦500 \u202e", extra={"deep": [1, None, {"x": "\u2028"}]})
    routed.call("PATCH", "/handsets/2347030000000", {"label": "Ben", "state": "off"})
    routed.sent(to=BEN)  # waits
    routed.submit(to="0802")
    routed.sandbox.raw(
        b"POST /ng/v1/sendsms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nCookie: %s\r\nX-Raw: \xff\r\n"
        b"Content-Length: 3\r\n\r\n\xff\x00{" % (routed.token.encode(), SECRET.encode()),
        method="POST",
    )
    routed.sandbox.plain("POST", "/ng/%00", "Host: localhost", f"Authorization: Bearer {routed.token}")
    first = routed.post(f"/handsets/{ADA}/reply", {"text": "Yesterday"})
    routed.post(f"/webhook-deliveries/{first['webhook_delivery']['id']}/redeliver")
    edited = {"body": "no JSON \u202e\u2028"}
    routed.post(f"/webhook-deliveries/{first['webhook_delivery']['id']}/redeliver", edited)
    receiver.answer_next(503)
    routed.post(f"/handsets/{ADA}/reply", {"text": "or the day before"})
    services, there = routed.sandbox.services, [f"{routed.account}-{copy}" for copy in range(2)]
    for name in there:
        made = routed.sandbox.request("POST", "/_sandbox/v1/accounts", json={"name": name, "token": name})
        assert made.status_code == 201

    files = [in_transaction(services, lambda tx: exported(tx, routed.account))]
    for name in there:
        in_transaction(services, lambda tx, name=name: import_into(tx, files[-1], name))
        files.append(in_transaction(services, lambda tx, name=name: exported(tx, name)))
    original, copy, copy_of_copy = map(anew, files)
    assert copy == copy_of_copy
    open_ones = [each for each in original if each.get("state") == "retrying"]
    assert [each["type"] for each in open_ones] == ["message", "webhook_delivery"]
    for each in open_ones:
        each["state"] = "cancelled"
    open_ones[1]["next_attempt_at"] = None
    assert copy == original
    assert {each["type"] for each in copy} == {"export", "handset", "message", "request", "webhook_delivery"}
    whole = "".join(files[0])
    assert SECRET not in whole
    assert routed.token not in whole
    # The copy is as good as the original: pages and control API can show it, and nothing is owed because of it.
    for path in ("/messages", "/requests", "/webhook-deliveries", "/handsets"):
        answer = routed.sandbox.request("GET", f"/_sandbox/v1{path}", params={"account": there[0]})
        assert answer.status_code == 200, answer.text
    for name in there:
        routed.sandbox.request("DELETE", f"/_sandbox/v1/accounts/{name}")


def test_an_attempt_names_the_fault_that_struck_it_and_so_does_its_copy(routed: Bench, receiver: Receiver) -> None:
    effects: list[dict[str, Any]] = [{"status": 503}, {"drop": "accepted"}, {"hold": True}, {"delay_s": 0.01}]
    faults = []
    for effect in effects:
        faults.append(fail(routed, "webhook", **effect))
        routed.post(f"/handsets/{ADA}/send", {"text": "Yesterday", "to": "48974"})
    routed.post(f"/handsets/{ADA}/send", {"text": "by itself", "to": "48974"})

    def struck(tx: Tx, account: str) -> list[tuple[str, bool]]:
        found = [outbox.attempts(tx, each.seq)[0].outcome for each in outbox.page(tx, account=account)[::-1]]
        return [(f"f{each.fault_seq}", each.withheld) for each in found if each is not None]

    services, name = routed.sandbox.services, f"{routed.account}-copy"
    made = routed.sandbox.request("POST", "/_sandbox/v1/accounts", json={"name": name, "token": name})
    assert made.status_code == 201
    in_transaction(services, lambda tx: import_into(tx, exported(tx, routed.account), name))
    wanted = [*zip(faults, (True, False, True, False), strict=True), ("fNone", False)]
    for account in (routed.account, name):
        assert in_transaction(services, partial(struck, account=account)) == wanted
    routed.sandbox.request("DELETE", f"/_sandbox/v1/accounts/{name}")


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_opaque = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=10)
_bytes = st.one_of(st.binary(max_size=20), _texts.map(str.encode))
_moments = st.integers(0, 4_102_444_800_000).map(to_iso)
_numbers = st.sampled_from([ADA, BEN])
_json = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | _texts, lambda it: st.lists(it, max_size=2))


def in_json(name: str, body: bytes) -> dict[str, Any]:
    """Bytes from the wire as an API object has them."""
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {name: body.decode("utf-8", "replace"), f"{name}_base64": base64.b64encode(body).decode()}


_headers = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["host", "authorization", "Cookie", "x-note"]),
            "value": _texts.filter(lambda text: "\n" not in text),
        }
    ),
    max_size=2,
)


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The lines of a file, without its header."""
    lines: list[dict[str, Any]] = []
    for msisdn in sorted(draw(st.sets(_numbers))):  # an export has them in order
        lines.append(
            {
                **HANDSET,
                "id": msisdn,
                "msisdn": msisdn,
                "label": draw(_texts),
                "state": draw(st.sampled_from(["on", "off"])),
            }
        )
    number = itertools.count(1)
    for _ in range(draw(st.integers(0, 6))):
        kind, seq = draw(st.sampled_from(["mt", "mo", "refusal"])), next(number)
        common: dict[str, Any] = {"at": draw(_moments)}
        call = {"headers": draw(_headers), **in_json("body", draw(_bytes)), **in_json("answer", draw(_bytes))}
        if kind == "refusal":
            status = draw(st.sampled_from([0, 400, 503]))
            path = draw(_texts) + draw(st.sampled_from(["", "\0"]))
            lines.append({**REFUSAL, **common, **call, "id": f"r{seq}", "path": path, "status_code": status})
            continue
        common |= {"id": f"m{seq}", "session_id": draw(_opaque), "ref_id": draw(st.none() | _opaque)}
        text = draw(_texts)
        measured = measure(text)
        common |= {"text": text, "encoding": measured.encoding, "segments": measured.segments}
        if kind == "mt":
            lines.append(
                {
                    **MT,
                    **common,
                    "to": draw(_numbers),
                    "state": draw(st.sampled_from(["accepted", "arrived"])),
                    "request_id": f"r{seq}",
                    "extra": draw(st.dictionaries(_texts, _json, max_size=2)),
                    "warnings": draw(st.lists(_texts, max_size=2)),
                }
            )
            told = {"id": f"r{seq}", "message_id": f"m{seq}", "client": draw(_texts)}
            lines.append({**CALL, **call, **told, "at": common["at"], "warnings": lines[-1]["warnings"]})
            continue
        message = {**UNROUTED, **common, "from": draw(_numbers)}
        lines.append(message)
        owed = [seq, *(next(number) for _ in range(draw(st.integers(-1, 2))))] if draw(st.booleans()) else []
        latest = draw(st.sampled_from(owed)) if owed else None
        for index, delivery in enumerate(owed):
            lines.append(
                {
                    **OWED,
                    "id": f"w{delivery}",
                    "message_id": f"m{seq}",
                    "state": draw(st.sampled_from(["delivered", "rejected", "exhausted", "cancelled"])),
                    "redelivery_of": None if index == 0 else f"w{draw(st.sampled_from(owed[:index]))}",
                    "attempts": [draw(attempts(attempt + 1)) for attempt in range(draw(st.integers(0, 3)))],
                }
            )
            if delivery == latest:
                message |= {"webhook_delivery_id": f"w{latest}", "state": lines[-1]["state"]}
    return lines


@st.composite
def attempts(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """An attempt of a webhook delivery, whatever came of it."""
    kind = draw(st.sampled_from(list(OutcomeKind)))
    return {
        **ATTEMPT,
        "number": number,
        "trigger": draw(st.sampled_from(["scheduled", "manual"])),
        "offset_s": draw(st.integers(0, 10**7)) / 1000,
        "outcome": kind,
        "status_code": draw(st.integers(100, 599)) if kind == "answered" else None,
        "error": draw(_texts) or None,
        "response_headers": [{"name": draw(_texts), "value": draw(_texts)}],
        **in_json("response_body", draw(_bytes)),
    }


@settings(max_examples=150, deadline=None)
@given(records())
def test_importing_an_export_loses_nothing_and_adds_nothing(record: list[dict[str, Any]]) -> None:
    with store("default") as one, store("other") as two, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PAGE", 2)  # so that pages end everywhere
        patch.setattr(rows, "HANDSETS", 1)
        patch.setattr(imports, "BATCH", 2)
        import_into(one, file_of(*record))
        first = exported(one)
        import_into(two, first, "other")
        assert anew(exported(two, "other")) == anew(first)
        for was, line in zip(anew(file_of(*record)), anew(first), strict=True):
            assert line.keys() == was.keys()
            assert {key: line[key] for key in was if key not in ("headers", "state")} == {
                key: value for key, value in was.items() if key not in ("headers", "state")
            }


def test_an_export_is_cut_into_pages_that_may_be_read_apart(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    import_into(tx, file_of(*({**MT, "id": f"m{number}"} for number in range(1, 6))))
    whole = exported(tx)
    monkeypatch.setattr(rows, "PAGE", 2)
    lines, cursor = rows.page(tx, "default")
    pages = [lines]
    while cursor is not None:
        import_into(tx, file_of({**MT, "text": "written while the export goes on"}))
        lines, cursor = rows.page(tx, "default", cursor)
        pages.append(lines)
    assert [len(each) for each in pages] == [2, 0, 4, 4, 2]  # each message with its call
    assert list(itertools.chain(*pages)) == whole


def test_an_export_holds_its_account_only(tx: Tx) -> None:
    accounts.put(tx, Account(name="other", token="token-of-other"))
    import_into(tx, file_of(*ALL), "other")
    assert [json.loads(line)["type"] for line in exported(tx)] == ["export", "account"]
    with pytest.raises(NotFound, match='no account "nobody"'):
        rows.page(tx, "nobody")


def test_every_line_is_one_line_and_ascii(tx: Tx) -> None:
    import_into(tx, file_of({**MT, "text": "a\u2028b\x85c\x1b[2J\u202e\r\nd"}))
    lines = exported(tx)
    assert all(line.isascii() and line.splitlines() == [line[:-1]] and line[:-1].isprintable() for line in lines)


def test_no_secret_is_exported(tx: Tx) -> None:
    url = f"https://user:{SECRET}@example.com/sms?key={SECRET}#{SECRET}"
    accounts.put(tx, Account(name="default", token=SECRET, client_url=url))
    import_into(tx, file_of(MO, OWED))
    outcome = Outcome(
        kind=OutcomeKind.ANSWERED, duration_ms=1, status_code=200, headers=(("Set-Cookie", f"session={SECRET}"),)
    )
    [delivery] = outbox.page(tx, account="default")
    tx.execute("UPDATE webhook_deliveries SET url = ?", (url,))
    outbox.begin_attempt(
        tx, Attempt(delivery_seq=delivery.seq, number=1, trigger=Trigger.SCHEDULED, started_ms=0, offset_ms=0)
    )
    outbox.end_attempt(tx, delivery.seq, 1, outcome, ())
    whole = "".join(exported(tx))
    assert SECRET not in whole
    assert '"client_url": "https://\\u2026@example.com/sms?\\u2026"' in whole


# --- what an import makes ------------------------------------------------------------------------------------------


def test_an_import_gets_new_numbers_in_the_files_order_after_what_was_there(tx: Tx) -> None:
    import_into(tx, file_of({**MT, "id": "m1", "text": "the first one"}))
    before = journal.last_seq(tx)
    import_into(tx, file_of(*ALL))
    new = messages.page(tx, account="default", after=before)
    assert [each.direction for each in new] == ["mo", "mt"]
    assert all(each.seq > before for each in new)
    assert {each.account for each in new} == {"default"}


def test_the_journal_and_the_news_tell_of_every_message(tx: Tx) -> None:
    import_into(tx, file_of(*ALL))
    kinds = [entry.kind for entry in journal.after(tx, 0)]
    assert kinds == [
        EventType.HANDSET_CHANGED, EventType.MESSAGE_SUBMITTED, EventType.MESSAGE_ORIGINATED, EventType.MESSAGE_REFUSED,
        EventType.ACCOUNT_CHANGED,
    ]  # fmt: skip
    assert [entry.kind for entry in tx.news] == kinds
    assert [entry.seq for entry in tx.news] == [entry.seq for entry in journal.after(tx, 0)]


def test_the_newest_entry_is_of_now_though_the_messages_are_of_another_time(tx: Tx) -> None:
    import_into(tx, file_of({**MT, "at": "9999-12-31T23:59:59.999Z"}))
    assert journal.newest_ms(tx) == NOW_MS


def test_no_batch_is_larger_than_a_listeners_queue() -> None:
    lines = [
        line
        for number in range(1, 301)
        for line in (
            {**MO, "id": f"m{number}", "webhook_delivery_id": f"w{number}"},
            {**DELIVERY, "id": f"w{number}", "message_id": f"m{number}"},
        )
    ]
    lines += [{**HANDSET, "msisdn": f"23480{number:08}"} for number in range(300)]
    with store("default") as tx:
        steps = []
        for progress in importing(tx, file_of(*lines)):
            steps.append(progress)
            assert len(tx.news) < 256
            tx.news.clear()
    assert (steps[-1].written["messages"], steps[-1].written["handsets"]) == (300, 300)


@pytest.mark.parametrize("state", ["pending", "in_flight", "retrying"])
def test_what_another_sandbox_owed_is_cancelled(tx: Tx, state: str) -> None:
    import_into(tx, file_of(MO, {**DELIVERY, "state": state}))
    [delivery] = outbox.page(tx, account="default")
    assert delivery.state is DeliveryState.CANCELLED
    assert delivery.next_attempt_ms is None
    assert outbox.timers(tx) == []
    assert outbox.open_deliveries(tx) == []
    assert tx.due == []
    [message] = messages.page(tx, account="default")
    assert message.state == "cancelled"


def test_an_attempt_under_way_is_imported_as_interrupted(tx: Tx) -> None:
    import_into(tx, file_of(MO, OWED))
    [delivery] = outbox.page(tx, account="default")
    outbox.begin_attempt(
        tx, Attempt(delivery_seq=delivery.seq, number=1, trigger=Trigger.SCHEDULED, started_ms=0, offset_ms=0)
    )
    lines = exported(tx)
    assert [each["outcome"] for each in json.loads(lines[-1])["attempts"]] == [None]
    accounts.put(tx, Account(name="other", token="token-of-other"))
    import_into(tx, lines, "other")
    [copy] = outbox.page(tx, account="other")
    assert [each.outcome and each.outcome.kind for each in outbox.attempts(tx, copy.seq)] == ["interrupted"]
    assert len(outbox.attempts_under_way(tx)) == 1  # the one that is really under way


def test_a_first_webhook_delivery_has_the_number_of_its_message(tx: Tx) -> None:
    again = {**DELIVERY, "id": "w20", "redelivery_of": "w8"}
    import_into(tx, file_of(MT, {**MO, "webhook_delivery_id": "w20"}, DELIVERY, again))
    [message] = messages.page(tx, account="default", direction="mo")
    first, second = outbox.of_message(tx, message.seq)
    assert first.seq == message.seq
    assert (second.redelivery_of, message.delivery_seq) == (first.seq, second.seq)


def test_a_reply_goes_on_in_the_last_imported_session(tx: Tx) -> None:
    import_into(tx, file_of({**MT, "session_id": "old", "ref_id": "r"}, MO, DELIVERY))
    assert messages.last_session(tx, account="default", msisdn=ADA, shortcode="48974") == ("48974", "old", "r")
    conversation = messages.conversation(tx, account="default", msisdn=ADA, shortcode="48974")
    assert conversation is not None
    assert conversation.unread == 0
    assert conversation.last_direction == "mo"


@pytest.mark.parametrize(
    ("here", "there", "state"),
    [(None, "off", "accepted"), (None, None, "arrived"), ("on", "off", "arrived"), ("off", "on", "accepted")],
)
def test_a_message_waits_only_for_a_handset_that_is_off_here(
    tx: Tx, here: str | None, there: str | None, state: str
) -> None:
    if here is not None:
        messages.put_handset(
            tx,
            Handset(account="default", msisdn=Msisdn(BEN), label="Mine", telco="mtn", state=HandsetState(here)),
        )
    handsets = [] if there is None else [{**HANDSET, "state": there}]
    import_into(tx, file_of(*handsets, {**MT, "to": BEN, "state": "accepted"}))
    [message] = messages.page(tx, account="default")
    assert message.state == state
    if here is not None:  # what was set here stays
        kept = messages.handset(tx, "default", BEN)
        assert kept is not None
        assert (kept.label, kept.telco, kept.state) == ("Mine", "mtn", here)


def test_nothing_is_written_under_an_account_that_is_gone(tx: Tx) -> None:
    with pytest.raises(NotFound, match='no account "gone"'):
        import_into(tx, file_of(*ALL), "gone")
    assert journal.after(tx, 0) == []


# --- what is not believed -----------------------------------------------------------------------------------------


def test_no_url_of_a_file_is_ever_posted_to(routed: Bench, receiver: Receiver) -> None:
    """Attempted and redelivered by hand, the bytes go to the account's own client_url, or nowhere."""
    routed.patch_account(client_url=None)
    lines = file_of(MO, {**DELIVERY, "url": receiver.url, "state": "exhausted"})
    in_transaction(routed.sandbox.services, lambda tx: import_into(tx, lines, routed.account))
    [delivery] = routed.get("/webhook-deliveries")["webhook_deliveries"]
    routed.post(f"/webhook-deliveries/{delivery['id']}/attempt", status=200)
    routed.post(f"/webhook-deliveries/{delivery['id']}/redeliver")
    attempted = [
        routed.get(f"/webhook-deliveries/{each['id']}")["attempts"][-1]["outcome"]
        for each in routed.get("/webhook-deliveries")["webhook_deliveries"]
    ]
    assert attempted == ["forbidden", "forbidden"]
    assert receiver.received == []
    routed.patch_account(client_url=receiver.url)
    routed.post(f"/webhook-deliveries/{delivery['id']}/redeliver")
    assert [each.body.decode() for each in receiver.received] == [PAYLOAD]


def test_the_accounts_settings_are_not_taken_from_a_file(tx: Tx) -> None:
    line = {"type": "account", "name": "evil", "token": SECRET, "client_url": "http://192.0.2.1/", "anything": {}}
    before = list(accounts.stored(tx))
    import_into(tx, file_of(line, MT))
    assert list(accounts.stored(tx)) == before


def test_secrets_that_a_file_holds_are_masked_on_the_way_in(tx: Tx) -> None:
    headers = [{"name": "Authorization", "value": f"Bearer {SECRET}"}, {"name": "cookie", "value": f"a={SECRET}"}]
    import_into(
        tx,
        file_of(
            MT,
            {**CALL, "headers": headers},
            MO,
            {
                **DELIVERY,
                "url": f"http://user:{SECRET}@127.0.0.1/?{SECRET}",
                "attempts": [{**ATTEMPT, "response_headers": [{"name": "set-cookie", "value": SECRET}]}],
            },
            {**REFUSAL, "headers": headers},
        ),
    )
    dump = "\n".join(tx._connection.iterdump())
    assert SECRET not in dump
    assert SECRET.encode().hex().upper() not in dump.upper()  # as a blob


# --- scenarios ----------------------------------------------------------------------------------------------------

SOURCE = "scenario: mine\nrules:\n  - when: {text: hello}\n    reply: {text: hi}\n"
SCENARIO: dict[str, Any] = {
    "type": "scenario",
    "id": "mine",
    "name": "mine",
    "description": "",
    "origin": "own",
    "steps": 0,
    "rules": 1,
    "source": SOURCE,
}


def test_an_accounts_own_scenarios_go_along(tx: Tx) -> None:
    assert import_into(tx, file_of(SCENARIO)).written["scenarios"] == 1
    assert [json.loads(line) for line in exported(tx)][2:] == [SCENARIO]
    assert EventType.SCENARIO_CHANGED in [entry.kind for entry in journal.after(tx, 0)]


def test_a_scenario_that_the_account_has_stays_as_it_is(tx: Tx) -> None:
    import_into(tx, file_of(SCENARIO))
    import_into(tx, file_of({**SCENARIO, "source": SOURCE.replace("hi", "bye")}))
    assert [json.loads(line) for line in exported(tx)][2:] == [SCENARIO]


def test_a_page_of_an_export_costs_the_same_however_much_there_is(tx: Tx) -> None:
    """To sort all that an account has, for each page anew, would take minutes with 100,000 messages."""
    connection = tx._connection
    ran: list[str] = []
    accounts.put(tx, Account(name="default", token="sandbox-token"), edited=False)
    connection.set_trace_callback(ran.append)
    list(rows.export(tx, "default"))
    connection.set_trace_callback(None)
    assert len(ran) > 4
    plans = [row[3] for each in ran for row in connection.execute(f"EXPLAIN QUERY PLAN {each}")]
    assert [plan for plan in plans if "TEMP B-TREE" in plan] == []
