"""Messages, calls, conversations and handsets: what is found, in which order, and what is removed when."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sandbox.model import (
    OPEN_STATES,
    Attempt,
    DeliveryState,
    Direction,
    Encoding,
    EventType,
    Handset,
    HandsetState,
    Message,
    MessageState,
    Msisdn,
    RecordedRequest,
    Shortcode,
    Timer,
    TimerKind,
    Trigger,
    WebhookDelivery,
)
from sandbox.store import journal, messages, outbox, retention
from sandbox.store.database import Tx
from sandbox.wire.requests import SendSms
from sandbox.wire.text import measure
from tests import samples

ADA, BEN = Msisdn("2348020000000"), Msisdn("2347030000000")
SHORT, OTHER_SHORT = Shortcode("48974"), Shortcode("32000")

MT, MO = (replace(each, at_ms=1_000, telco="airtel") for each in (samples.MT, samples.MO))


SUBMISSION = messages.Submission(
    client="127.0.0.1",
    headers=messages.header_lines([(b"host", b"localhost:2081"), (b"x-note", b"a: b")]),
    body=b'{"from": "48974"}',
    answer=b'{"status_code": 200}',
)


def keep(tx: Tx, message: Message) -> None:
    """Write a message down as a verb would: with its conversation."""
    if message.direction is Direction.MO:
        messages.insert_mo(tx, message)
        messages.touch_mo(
            tx, account=message.account, msisdn=message.msisdn, shortcode=message.shortcode, seq=message.seq
        )
        return
    sms = SendSms(
        message.shortcode,
        message.msisdn,
        message.text,
        message.session_id,
        message.sent_date,
        message.ref_id,
        message.extra,
        message.warnings,
    )
    measured = measure(message.text)
    messages.insert_mt(tx, message.seq, message.at_ms, message.account, sms, message.telco, measured, SUBMISSION)
    tx.execute("UPDATE messages SET state = :state WHERE seq = :seq", {"state": message.state, "seq": message.seq})


def owe(tx: Tx, message: Message, state: DeliveryState) -> WebhookDelivery:
    """The webhook delivery of an MO message, with one attempt made."""
    delivery = WebhookDelivery(
        seq=message.seq,
        message_seq=message.seq,
        account=message.account,
        msisdn=message.msisdn,
        shortcode=message.shortcode,
        url="http://127.0.0.1:1/sms",
        body=b"{}",
        state=state,
        created_ms=message.at_ms,
    )
    outbox.insert(tx, delivery)
    attempt = Attempt(delivery_seq=message.seq, number=1, trigger=Trigger.SCHEDULED, started_ms=0, offset_ms=0)
    outbox.begin_attempt(tx, attempt)
    return delivery


def keep_routed(tx: Tx, message: Message, state: DeliveryState) -> None:
    keep(tx, replace(message, state=MessageState.ROUTED, delivery_seq=message.seq))
    owe(tx, message, state)


def refusal(seq: int, account: str | None = "default", at_ms: int = 0) -> RecordedRequest:
    return replace(samples.REFUSED, seq=seq, account=account, at_ms=at_ms)


def seqs(things: Sequence[Any]) -> list[int]:
    return [thing.seq for thing in things]


def all_seqs(tx: Tx) -> list[int]:
    return [row[0] for row in tx.execute("SELECT seq FROM messages ORDER BY seq")]


def count(tx: Tx, table: str) -> int:
    rows: int = tx.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    return rows


# Messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(MT, id="MT"),
        pytest.param(MO, id="MO"),
        pytest.param(replace(MT, ref_id="873ghf8749956778gf5"), id="with ref_id"),
        pytest.param(replace(MT, text="₦ 😀\n\u202e", encoding=Encoding.UCS2), id="not GSM-7"),
        pytest.param(replace(MT, extra={"priority": [1, {"x": None}], "": "₦"}), id="with unknown keys"),
        pytest.param(replace(MT, warnings=("one", "two")), id="with warnings"),
    ],
)
def test_a_message_is_read_as_it_was_written(tx: Tx, message: Message) -> None:
    keep(tx, message)
    assert messages.get(tx, 1) == message


def test_a_message_that_is_not_there_is_none(tx: Tx) -> None:
    assert messages.get(tx, 1) is None


@pytest.mark.parametrize("state", DeliveryState)
def test_a_routed_message_has_the_state_of_its_webhook_delivery(tx: Tx, state: DeliveryState) -> None:
    keep_routed(tx, MO, state)
    found = messages.get(tx, 1)
    assert found is not None
    assert found.state == state


def test_messages_come_newest_first(tx: Tx) -> None:
    for seq in (1, 2, 3):
        keep(tx, replace(MT, seq=seq))
    assert seqs(messages.page(tx, account="default")) == [3, 2, 1]


def test_pages_together_hold_every_message_once(tx: Tx) -> None:
    for seq in range(1, 24):
        keep(tx, replace(MT, seq=seq))
    seen: list[int] = []
    while page := messages.page(tx, account="default", before=seen[-1] if seen else None, limit=5):
        seen += seqs(page)
    assert seen == list(range(23, 0, -1))


def test_a_message_that_comes_between_two_pages_shifts_nothing(tx: Tx) -> None:
    for seq in range(1, 7):
        keep(tx, replace(MT, seq=seq))
    first = seqs(messages.page(tx, account="default", limit=3))
    keep(tx, replace(MT, seq=7))
    assert first + seqs(messages.page(tx, account="default", before=first[-1], limit=3)) == [6, 5, 4, 3, 2, 1]


@pytest.fixture
def various(tx: Tx) -> Tx:
    keep(tx, MT)
    keep(tx, replace(MT, seq=2, msisdn=BEN, shortcode=OTHER_SHORT, session_id="other", text="Hello [you]"))
    keep_routed(tx, replace(MO, seq=3, text="yesterday"), DeliveryState.DELIVERED)
    keep_routed(tx, replace(MO, seq=4, msisdn=BEN), DeliveryState.RETRYING)
    keep(tx, replace(MT, seq=5, state=MessageState.ACCEPTED, text="50% of 3*4?"))
    keep(tx, replace(MT, seq=6, account="another"))
    return tx


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param({}, [5, 4, 3, 2, 1], id="the account's own only"),
        pytest.param({"msisdn": BEN}, [4, 2], id="msisdn"),
        pytest.param({"shortcode": OTHER_SHORT}, [2], id="shortcode"),
        pytest.param({"session_id": "other"}, [2], id="session_id"),
        pytest.param({"direction": "mo"}, [4, 3], id="direction"),
        pytest.param({"to": ADA}, [5, 1], id="to a handset"),
        pytest.param({"to": SHORT}, [4, 3], id="to a shortcode"),
        pytest.param({"from_": SHORT}, [5, 1], id="from a shortcode"),
        pytest.param({"from_": BEN}, [4], id="from a handset"),
        pytest.param({"to": "234802"}, [], id="numbers are compared exactly"),
        pytest.param({"state": "arrived"}, [2, 1], id="state of an MT message"),
        pytest.param({"state": "retrying"}, [4], id="state of an MO message is its webhook delivery's"),
        pytest.param({"state": "routed"}, [], id="routed is nobody's state"),
        pytest.param({"text": "*esterday"}, [4, 3], id="text as a glob"),
        pytest.param({"text": "esterday"}, [], id="text as a whole"),
        pytest.param({"text": "Yesterday"}, [4], id="text by case"),
        pytest.param({"text": "Hello [[]you]"}, [2], id="text with a bracket"),
        pytest.param({"text": "50% of 3[*]4[?]"}, [5], id="text with wildcards of its own"),
        pytest.param({"text": "%"}, [], id="a percent sign is no wildcard"),
        pytest.param({"after": 2}, [5, 4, 3], id="after"),
        pytest.param({"before": 3}, [2, 1], id="before"),
        pytest.param({"after": 1, "before": 4}, [3, 2], id="after and before"),
        pytest.param({"msisdn": ADA, "direction": "mo", "state": "delivered"}, [3], id="everything given must match"),
        pytest.param({"text": "' OR 1=1 --"}, [], id="a text is no SQL"),
    ],
)
def test_a_page_holds_what_matches(various: Tx, wanted: dict[str, Any], found: list[int]) -> None:
    assert seqs(messages.page(various, account="default", **wanted)) == found


def test_messages_that_wait_for_their_handset_come_oldest_first(tx: Tx) -> None:
    for seq in (1, 2, 3):
        keep(tx, replace(MT, seq=seq, state=MessageState.ACCEPTED))
    keep(tx, replace(MT, seq=4, state=MessageState.ACCEPTED, msisdn=BEN))
    keep(tx, replace(MT, seq=5))
    assert messages.waiting(tx, "default", ADA) == [1, 2, 3]


def test_a_message_that_arrived_waits_no_longer(tx: Tx) -> None:
    keep(tx, replace(MT, state=MessageState.ACCEPTED))
    messages.set_arrived(tx, 1)
    assert messages.waiting(tx, "default", ADA) == []


# Calls -------------------------------------------------------------------------------------------------------------


def test_a_refused_call_is_read_as_it_was_written(tx: Tx) -> None:
    messages.insert_refusal(tx, refusal(1), messages.header_lines([(b"host", b"localhost")]))
    assert messages.get_request(tx, 1) == replace(refusal(1), headers=(("host", "localhost"),))


def test_an_accepted_call_is_read_from_its_message(tx: Tx) -> None:
    keep(tx, replace(MT, warnings=("an unknown key",)))
    assert messages.get_request(tx, 1) == RecordedRequest(
        seq=1,
        account="default",
        at_ms=1_000,
        method="POST",
        path="/ng/v1/sendsms",
        client="127.0.0.1",
        headers=(("host", "localhost:2081"), ("x-note", "a: b")),
        body=b'{"from": "48974"}',
        status_code=200,
        answer=b'{"status_code": 200}',
        problems=(),
        warnings=("an unknown key",),
    )


@pytest.mark.parametrize("value", [b"caf\xe9", b"\xff\xfe", "₦".encode()], ids=["latin-1", "no UTF-8", "UTF-8"])
def test_a_header_in_any_encoding_can_be_read(tx: Tx, value: bytes) -> None:
    messages.insert_refusal(tx, refusal(1), messages.header_lines([(b"x-name", value)]))
    found = messages.get_request(tx, 1)
    assert found is not None
    assert [name for name, _ in found.headers] == ["x-name"]


def test_a_text_from_a_handset_is_no_call(tx: Tx) -> None:
    keep(tx, MO)
    assert messages.requests_page(tx, account="default") == []


@pytest.fixture
def calls(tx: Tx) -> Tx:
    for seq in (1, 4):
        keep(tx, replace(MT, seq=seq))
    for seq, account in ((2, "default"), (3, None), (5, "another")):
        messages.insert_refusal(tx, refusal(seq, account), b"")
    return tx


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param({}, [4, 3, 2, 1], id="the account's own, and nobody's"),
        pytest.param({"verdict": "refused"}, [3, 2], id="refused"),
        pytest.param({"verdict": "accepted"}, [4, 1], id="accepted"),
        pytest.param({"before": 3}, [2, 1], id="before"),
        pytest.param({"limit": 2}, [4, 3], id="limit"),
    ],
)
def test_a_page_of_calls_holds_what_matches(calls: Tx, wanted: dict[str, Any], found: list[int]) -> None:
    assert seqs(messages.requests_page(calls, account="default", **wanted)) == found


# Conversations -----------------------------------------------------------------------------------------------------


def test_a_conversation_shows_its_newest_message(tx: Tx) -> None:
    keep(tx, MT)
    keep(tx, replace(MO, seq=2, text="Yesterday"))
    found = messages.conversation(tx, account="default", msisdn=ADA, shortcode=SHORT)
    assert found is not None
    assert (found.last_seq, found.last_text, found.last_direction) == (2, "Yesterday", Direction.MO)


def test_conversations_come_by_their_newest_message(tx: Tx) -> None:
    keep(tx, MT)
    keep(tx, replace(MT, seq=2, msisdn=BEN))
    keep(tx, replace(MO, seq=3))
    assert [each.msisdn for each in messages.conversations(tx, account="default")] == [ADA, BEN]


def test_one_handset_has_a_conversation_with_each_shortcode(tx: Tx) -> None:
    keep(tx, MT)
    keep(tx, replace(MT, seq=2, shortcode=OTHER_SHORT))
    assert [each.shortcode for each in messages.conversations(tx, account="default")] == [OTHER_SHORT, SHORT]


def test_pages_of_conversations_together_hold_each_once(tx: Tx) -> None:
    for seq in range(1, 12):
        keep(tx, replace(MT, seq=seq, msisdn=Msisdn(f"23480200000{seq:02}")))
    seen: list[int] = []
    while page := messages.conversations(tx, account="default", before=seen[-1] if seen else None, limit=4):
        seen += [each.last_seq for each in page]
    assert seen == list(range(11, 0, -1))


@pytest.mark.parametrize(
    ("search", "found"), [("80200", [ADA]), ("bEN", [BEN]), ("%", []), ("48974", []), ("234", [BEN, ADA])]
)
def test_conversations_are_searched_by_number_and_label(tx: Tx, search: str, found: list[Msisdn]) -> None:
    keep(tx, MT)
    keep(tx, replace(MT, seq=2, msisdn=BEN))
    messages.put_handset(tx, Handset(account="default", msisdn=BEN, label="Ben", telco="mtn"))
    assert [each.msisdn for each in messages.conversations(tx, account="default", search=search)] == found


def test_mt_messages_are_unread_until_somebody_looks(tx: Tx) -> None:
    for seq in (1, 2):
        keep(tx, replace(MT, seq=seq))
    keep(tx, replace(MO, seq=3))
    assert messages.unread(tx, "default") == 2


def test_looking_at_a_conversation_reads_that_one_only(tx: Tx) -> None:
    keep(tx, MT)
    keep(tx, replace(MT, seq=2, msisdn=BEN))
    messages.mark_read(tx, account="default", msisdn=ADA, shortcode=SHORT)
    assert messages.unread(tx, "default") == 1


def test_looking_twice_finds_nothing_unread(tx: Tx) -> None:
    keep(tx, MT)
    looked = [messages.mark_read(tx, account="default", msisdn=ADA, shortcode=SHORT) for _ in range(2)]
    assert looked == [True, False]


def test_the_session_is_that_of_the_last_mt_message(tx: Tx) -> None:
    keep(tx, MT)
    keep(tx, replace(MT, seq=2, session_id="second", ref_id="ref"))
    keep(tx, replace(MO, seq=3, session_id="of the handset's own"))
    assert messages.last_session(tx, account="default", msisdn=ADA, shortcode=SHORT) == (SHORT, "second", "ref")


def test_without_a_shortcode_the_session_is_of_the_conversation_that_moved_last(tx: Tx) -> None:
    keep(tx, MT)
    keep(tx, replace(MT, seq=2, shortcode=OTHER_SHORT, session_id="second"))
    assert messages.last_session(tx, account="default", msisdn=ADA, shortcode=None) == (OTHER_SHORT, "second", None)


def test_a_conversation_that_the_handset_began_has_no_session_to_carry(tx: Tx) -> None:
    keep(tx, MO)
    assert messages.last_session(tx, account="default", msisdn=ADA, shortcode=SHORT) is None


def test_the_newest_sessions_of_a_conversation_come_with_their_first_and_last_message(tx: Tx) -> None:
    for seq, session in enumerate(("a", "b", "a", "c", "d"), 1):
        messages.insert_mo(tx, replace(MO, seq=seq, session_id=session, at_ms=seq * 10))
    messages.insert_mo(tx, replace(MO, seq=6, session_id="elsewhere", shortcode=OTHER_SHORT))
    messages.insert_mo(tx, replace(MO, seq=7, session_id="another", msisdn=BEN))
    found = messages.sessions(tx, account="default", msisdn=ADA, shortcode=SHORT, limit=3)
    assert found == [("d", 50, 5), ("c", 40, 4), ("a", 30, 1)]


def test_texts_of_a_conversation_are_counted(tx: Tx) -> None:
    touch = {"account": "default", "msisdn": ADA, "shortcode": SHORT}
    assert [messages.touch_mo(tx, **touch, seq=seq) for seq in (1, 2, 3)] == [0, 1, 2]


def test_an_mt_message_has_the_telco_that_its_handset_was_given(tx: Tx) -> None:
    messages.put_handset(tx, Handset(account="default", msisdn=ADA, telco="glo"))
    keep(tx, MT)
    found = messages.get(tx, 1)
    assert found is not None
    assert found.telco == "glo"


# Handsets ----------------------------------------------------------------------------------------------------------


def test_a_handset_is_read_as_it_was_put(tx: Tx) -> None:
    for state in (HandsetState.ON, HandsetState.OFF):
        messages.put_handset(tx, Handset(account="default", msisdn=ADA, label="Ada", telco="glo", state=state))
    expected = Handset(account="default", msisdn=ADA, label="Ada", telco="glo", state=HandsetState.OFF)
    assert messages.handset(tx, "default", ADA) == expected


def test_a_handset_of_another_account_is_another_handset(tx: Tx) -> None:
    messages.put_handset(tx, Handset(account="another", msisdn=ADA, telco="glo"))
    assert messages.handset(tx, "default", ADA) is None


def test_handsets_are_those_put_and_those_that_texted_each_once_by_number(tx: Tx) -> None:
    keep(tx, MT)
    messages.put_handset(tx, Handset(account="default", msisdn=ADA, telco="glo"))
    messages.put_handset(tx, Handset(account="default", msisdn=BEN, telco="mtn"))
    keep(tx, replace(MT, seq=2, account="another", msisdn=Msisdn("2349000000000")))
    assert messages.handset_numbers(tx, account="default") == [BEN, ADA]


def test_pages_of_handsets_together_hold_each_once(tx: Tx) -> None:
    numbers = [Msisdn(f"23480200000{n:02}") for n in range(7)]
    for number in numbers:
        messages.put_handset(tx, Handset(account="default", msisdn=number, telco="mtn"))
    seen: list[Msisdn] = []
    while page := messages.handset_numbers(tx, account="default", after=seen[-1] if seen else "", limit=3):
        seen += page
    assert seen == numbers


# Trim --------------------------------------------------------------------------------------------------------------


def test_trimming_keeps_the_newest_messages(tx: Tx) -> None:
    for seq in range(1, 11):
        keep(tx, replace(MT, seq=seq))
    retention.trim(tx, keep=3, oldest_ms=0)
    assert all_seqs(tx) == [8, 9, 10]


def test_trimming_says_how_many_messages_went(tx: Tx) -> None:
    for seq in range(1, 11):
        keep(tx, replace(MT, seq=seq))
    assert retention.trim(tx, keep=3, oldest_ms=0) == 7


def test_trimming_within_the_limits_removes_nothing(tx: Tx) -> None:
    for seq in range(1, 11):
        keep(tx, replace(MT, seq=seq))
    retention.trim(tx, keep=10, oldest_ms=1_000)
    assert all_seqs(tx) == list(range(1, 11))


def test_trimming_removes_what_is_too_old(tx: Tx) -> None:
    for seq in range(1, 6):
        keep(tx, replace(MT, seq=seq, at_ms=seq * 100))
    retention.trim(tx, keep=100, oldest_ms=300)
    assert all_seqs(tx) == [3, 4, 5]


def test_trimming_removes_everything_when_everything_is_too_old(tx: Tx) -> None:
    for seq in range(1, 6):
        keep(tx, replace(MT, seq=seq, at_ms=seq * 100))
    retention.trim(tx, keep=100, oldest_ms=10_000)
    assert all_seqs(tx) == []


def test_trimming_an_empty_store_is_no_mistake(tx: Tx) -> None:
    assert retention.trim(tx, keep=10, oldest_ms=10_000) == 0


@pytest.mark.parametrize("state", sorted(OPEN_STATES))
@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"keep": 1, "oldest_ms": 0}, id="too many"),
        pytest.param({"keep": 100, "oldest_ms": 5_000}, id="too old"),
    ],
)
def test_trimming_leaves_a_message_whose_webhook_delivery_is_open(
    tx: Tx, limits: dict[str, int], state: DeliveryState
) -> None:
    keep_routed(tx, MO, state)
    keep(tx, replace(MT, seq=2, at_ms=9_000))
    retention.trim(tx, **limits)
    assert all_seqs(tx) == [1, 2]


@pytest.mark.parametrize("state", sorted(set(DeliveryState) - OPEN_STATES))
def test_trimming_removes_a_message_whose_webhook_delivery_has_ended(tx: Tx, state: DeliveryState) -> None:
    keep_routed(tx, MO, state)
    keep(tx, replace(MT, seq=2))
    retention.trim(tx, keep=1, oldest_ms=0)
    assert all_seqs(tx) == [2]


def test_trimming_leaves_a_message_whose_redelivery_is_open(tx: Tx) -> None:
    keep_routed(tx, MO, DeliveryState.EXHAUSTED)
    outbox.insert(tx, replace(owe(tx, replace(MO, seq=2), DeliveryState.PENDING), seq=3, message_seq=1))
    keep(tx, replace(MT, seq=4))
    retention.trim(tx, keep=1, oldest_ms=0)
    assert all_seqs(tx) == [1, 4]


def test_trimming_leaves_a_message_that_waits_for_its_handset(tx: Tx) -> None:
    keep(tx, replace(MT, state=MessageState.ACCEPTED))
    keep(tx, replace(MT, seq=2))
    retention.trim(tx, keep=1, oldest_ms=0)
    assert all_seqs(tx) == [1, 2]


def test_trimming_removes_so_many_at_a_time_oldest_first(tx: Tx) -> None:
    for seq in range(1, 11):
        keep(tx, replace(MT, seq=seq))
    retention.trim(tx, keep=2, oldest_ms=0, most=3)
    assert all_seqs(tx) == [4, 5, 6, 7, 8, 9, 10]


def test_trimming_is_not_held_up_by_messages_with_work_pending(tx: Tx) -> None:
    for seq in range(1, 6):
        keep(tx, replace(MT, seq=seq, state=MessageState.ACCEPTED))
    for seq in range(6, 11):
        keep(tx, replace(MT, seq=seq))
    for _ in range(3):
        retention.trim(tx, keep=2, oldest_ms=0, most=2)
    assert all_seqs(tx) == [1, 2, 3, 4, 5, 9, 10]


@pytest.mark.parametrize("table", ["webhook_deliveries", "attempts", "conversations"])
def test_what_belongs_to_a_trimmed_message_goes_with_it(tx: Tx, table: str) -> None:
    keep_routed(tx, MO, DeliveryState.DELIVERED)
    keep(tx, replace(MT, seq=2, msisdn=BEN))
    before = count(tx, table)
    retention.trim(tx, keep=1, oldest_ms=0)
    assert count(tx, table) == before - 1


@pytest.mark.parametrize("table", ["webhook_deliveries", "attempts", "conversations"])
def test_what_belongs_to_a_message_that_stays_stays(tx: Tx, table: str) -> None:
    keep(tx, MT)
    keep_routed(tx, replace(MO, seq=2), DeliveryState.DELIVERED)
    retention.trim(tx, keep=1, oldest_ms=0)
    assert count(tx, table) == 1


def test_refused_calls_are_trimmed_by_their_own_count(tx: Tx) -> None:
    keep(tx, MT)
    for seq in range(2, 8):
        messages.insert_refusal(tx, refusal(seq), b"")
    retention.trim(tx, keep=2, oldest_ms=0)
    assert seqs(messages.requests_page(tx, account="default")) == [7, 6, 1]


def test_refused_calls_are_trimmed_by_their_age(tx: Tx) -> None:
    for seq in range(1, 5):
        messages.insert_refusal(tx, refusal(seq, at_ms=seq * 100), b"")
    retention.trim(tx, keep=10, oldest_ms=300)
    assert seqs(messages.requests_page(tx, account="default")) == [4, 3]


def test_the_journal_is_trimmed_too(tx: Tx) -> None:
    for _ in range(100):
        journal.record(tx, EventType.ATTEMPT_MADE, at_ms=0, account="default", subject=1)
    retention.trim(tx, keep=5, oldest_ms=0)
    assert seqs(journal.after(tx, 0)) == list(range(81, 101))


def test_what_is_kept_is_counted_right_whatever_went_before(tx: Tx) -> None:
    for seq in range(1, 21):
        keep(tx, replace(MT, seq=seq, account="one" if seq % 2 else "two"))
    retention.trim(tx, keep=12, oldest_ms=0)
    retention.delete_all(tx, "one")
    for seq in range(21, 31):
        keep(tx, replace(MT, seq=seq))
    retention.trim(tx, keep=8, oldest_ms=0, most=3)

    retention.trim(tx, keep=8, oldest_ms=0)

    assert all_seqs(tx) == list(range(23, 31))


# Forget ------------------------------------------------------------------------------------------------------------

FORGOTTEN = ["handsets", "conversations", "messages", "requests", "webhook_deliveries", "attempts", "timers", "journal"]


@pytest.fixture
def two_accounts(tx: Tx) -> Tx:
    """Something of every kind, under the names of two accounts."""
    for account in ("one", "other"):
        seq = journal.record(tx, EventType.ACCOUNT_CHANGED, at_ms=0, account=account) + 10
        keep_routed(tx, replace(MO, seq=seq, account=account), DeliveryState.PENDING)
        messages.insert_refusal(tx, refusal(seq + 10, account), b"")
        messages.put_handset(tx, Handset(account=account, msisdn=ADA, telco="mtn"))
        outbox.set_timer(tx, Timer(due_ms=1, kind=TimerKind.WEBHOOK, queue="l", account=account, subject=seq))
    return tx


@pytest.mark.parametrize("table", FORGOTTEN)
def test_forgetting_an_account_leaves_the_other_alone(two_accounts: Tx, table: str) -> None:
    before = count(two_accounts, table)
    retention.delete_all(two_accounts, "one")
    assert count(two_accounts, table) == before / 2


def test_forgetting_an_account_leaves_nothing_under_its_name(two_accounts: Tx) -> None:
    retention.delete_all(two_accounts, "one")
    named = [table for table in FORGOTTEN if table != "attempts"]
    left = {
        row[0] for table in named for row in two_accounts.execute(f"SELECT account FROM {table} WHERE account = 'one'")
    }
    assert left == set()


@pytest.mark.parametrize("table", FORGOTTEN)
def test_forgetting_all_leaves_nothing(two_accounts: Tx, table: str) -> None:
    retention.delete_all(two_accounts, None)
    assert count(two_accounts, table) == 0


def test_forgetting_keeps_the_accounts_themselves(two_accounts: Tx) -> None:
    two_accounts.execute("INSERT INTO accounts VALUES ('one', 'token', '{}', 0)")
    retention.delete_all(two_accounts, None)
    assert count(two_accounts, "accounts") == 1


def test_handsets_that_were_never_texted_are_looked_for_among_the_newest(
    tx: Tx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "SET_UP", 2)
    numbers = [Msisdn("2348020000003"), Msisdn("2348020000002"), Msisdn("2348020000001")]
    for number in numbers:
        messages.put_handset(tx, Handset(account="default", msisdn=number, label="Ada", telco="airtel"))
    found = messages.silent_handsets(tx, account="default")
    assert [handset.msisdn for handset in found] == ["2348020000001", "2348020000002"]
