"""The handsets: which session and shortcode a text carries, how its bytes look, and what waits for whom."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, cast
from unittest.mock import Mock

import pytest

from sandbox import server
from sandbox.clock import to_iso
from sandbox.core import network
from sandbox.core.gateway import GatewayCall
from sandbox.core.network import RetentionPolicy, new_session_id, trim_now_and_then
from sandbox.core.services import Services
from sandbox.errors import Busy, Conflict, NotFound
from sandbox.model import (
    Account,
    Direction,
    EventType,
    HandsetState,
    Message,
    MessageState,
    Msisdn,
    MsisdnFormat,
    Order,
    Outcome,
    OutcomeKind,
    Shortcode,
    TextRequest,
    Timer,
    TimerKind,
    WebhookDelivery,
)
from sandbox.scenario.steps import ChangeHandset
from sandbox.settings import DEFAULT_ACCOUNT, Settings
from sandbox.store import journal, messages, outbox
from sandbox.store.database import Tx

P = ParamSpec("P")

ADA, BEN = Msisdn("2348020000000"), Msisdn("2347030000000")
OTHER = replace(DEFAULT_ACCOUNT, name="other", token="another-token")
SHORT, OTHER_SHORT = Shortcode("48974"), Shortcode("32000")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


class Application:
    """In place of the HTTP client: the application answers at once, or not at all while it is `away`."""

    def __init__(self) -> None:
        self.status_code = 200
        self.away = False
        self.back = asyncio.Event()

    async def post(self, url: str, body: bytes, authorization: str | None) -> Outcome:
        if self.away:
            await self.back.wait()
        return Outcome(kind=OutcomeKind.ANSWERED, duration_ms=1, status_code=self.status_code, body=b"{}")

    async def close(self) -> None:
        self.back.set()


@dataclass
class Play:
    """A sandbox without HTTP, and the words that the tests tell their stories in."""

    services: Services
    application: Application

    async def submit(self, *, account: Account = DEFAULT_ACCOUNT, shortcode: Shortcode = SHORT, **changes: str) -> int:
        """The application sends an MT message; gives its number."""
        sms = {
            "from": shortcode,
            "to": ADA,
            "message": "When was the last time you went to the cinema?",
            "session_id": "67543uhn3",
            "sent_date": "2024-01-02T23:50:37.000000Z",
        }
        headers = ((b"authorization", f"Bearer {account.token}".encode()), (b"content-type", b"application/json"))
        answer = await self.services.gateway.submit(
            GatewayCall("POST", "/ng/v1/sendsms", "127.0.0.1", headers, json.dumps(sms | changes).encode())
        )
        assert answer.status_code == 200, answer.body
        return int(json.loads(answer.body)["reference_id"][1:])

    async def text(self, text: str = "Yesterday", **given: Any) -> Message:
        """A handset texts; an MO message is made."""
        return (await self.text_and_delivery(text, **given))[0]

    async def text_and_delivery(self, text: str, **given: Any) -> tuple[Message, WebhookDelivery | None]:
        texting = TextRequest(**({"account": "default", "msisdn": ADA, "text": text} | given))
        return await self.services.network.originate(texting)

    async def body(self, text: str = "Yesterday", **given: Any) -> bytes:
        """The body of the webhook that carries a text."""
        delivery = (await self.text_and_delivery(text, **given))[1]
        assert delivery is not None
        return delivery.body

    async def payload(self, text: str = "Yesterday", **given: Any) -> dict[str, str]:
        return cast(dict[str, str], json.loads(await self.body(text, **given)))

    async def set_handset(self, state: HandsetState, msisdn: Msisdn = ADA, telco: str = "airtel") -> None:
        await self.services.network.change_handset("default", msisdn, ChangeHandset(state=state, telco=telco))

    async def arrived(self) -> list[int | None]:
        """The messages that waited and have arrived, in the order in which they did."""
        entries = await self.services.database.read(lambda db: journal.after(db, 0, limit=1000))
        return [each.subject for each in entries if each.kind is EventType.MESSAGE_ARRIVED]

    async def message(self, seq: int) -> Message:
        found = await self.services.database.read(lambda db: messages.get(db, seq))
        assert found is not None
        return found

    async def texts(self) -> list[str]:
        """The texts that handsets sent, oldest first."""
        page = await self.services.database.read(
            lambda db: messages.page(db, account="default", direction=Direction.MO, limit=500)
        )
        return [message.text for message in reversed(page)]


@asynccontextmanager
async def playing(
    *,
    backlog: int = 1000,
    others: Sequence[Account] = (),
    db: Path | str = ":memory:",
    max_age_s: float = 86_400 * 7,
    **account: Any,
) -> AsyncIterator[Play]:
    """A sandbox whose default account has `account`'s values."""
    url = {"client_url": "http://127.0.0.1:1/sms"}
    settings = Settings(
        db=str(db),
        clock="virtual",
        max_age_s=max_age_s,
        webhook_backlog=backlog,
        accounts=(replace(DEFAULT_ACCOUNT, **(url | account)), *others),
    )
    application = Application()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "Poster", lambda **_: application)
        patch.setattr(server, "STOP_GRACE_S", 0.01)
        async with server.open_services(settings, server.Address(host="127.0.0.1", port=1), None) as services:
            yield Play(services, application)


# Sessions ----------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_reply_carries_the_session_of_the_last_mt_message() -> None:
    async with playing() as play:
        await play.submit(session_id="first")
        await play.submit(session_id="second")
        assert (await play.text()).session_id == "second"


@in_loop
async def test_every_reply_carries_it() -> None:
    async with playing() as play:
        await play.submit(session_id="first")
        assert [(await play.text()).session_id for _ in range(3)] == ["first"] * 3


@in_loop
async def test_a_reply_goes_to_the_shortcode_that_texted_last() -> None:
    async with playing() as play:
        await play.submit(shortcode=SHORT)
        await play.submit(shortcode=OTHER_SHORT)
        assert (await play.text()).shortcode == OTHER_SHORT


@in_loop
async def test_a_reply_to_a_shortcode_carries_the_session_of_that_conversation() -> None:
    async with playing() as play:
        await play.submit(shortcode=SHORT, session_id="first")
        await play.submit(shortcode=OTHER_SHORT, session_id="second")
        assert (await play.text(shortcode=SHORT)).session_id == "first"


@in_loop
async def test_a_reply_carries_no_session_of_another_handset() -> None:
    async with playing() as play:
        await play.submit(to=BEN, session_id="of Ben")
        await play.submit(to=ADA, session_id="of Ada")
        assert (await play.text(msisdn=BEN)).session_id == "of Ben"


@in_loop
async def test_a_reply_carries_no_session_of_another_account() -> None:
    other = replace(DEFAULT_ACCOUNT, name="other", token="another-token")
    async with playing(others=[other]) as play:
        await play.submit(session_id="mine")
        await play.submit(account=other, session_id="theirs")
        assert (await play.text()).session_id == "mine"


@in_loop
async def test_a_reply_with_a_session_of_its_own_keeps_it() -> None:
    async with playing() as play:
        await play.submit(session_id="first")
        assert (await play.text(session_id="forged")).session_id == "forged"


@in_loop
async def test_a_text_that_the_handset_starts_gets_a_new_session() -> None:
    async with playing() as play:
        await play.submit(session_id="first")
        assert (await play.text(shortcode=SHORT, new=True)).session_id not in ("first", "")


@in_loop
async def test_each_text_that_the_handset_starts_gets_another_session() -> None:
    async with playing() as play:
        sessions = {(await play.text(shortcode=SHORT, new=True)).session_id for _ in range(50)}
        assert len(sessions) == 50


@in_loop
async def test_a_text_to_a_shortcode_that_never_texted_starts_a_session() -> None:
    async with playing() as play:
        await play.submit(shortcode=SHORT, session_id="first")
        assert (await play.text(shortcode=OTHER_SHORT)).session_id != "first"


@in_loop
async def test_a_session_that_the_handset_started_is_not_carried_by_a_reply() -> None:
    async with playing() as play:
        await play.submit(session_id="first")
        await play.text(shortcode=SHORT, new=True, session_id="own")
        assert (await play.text()).session_id == "first"


@in_loop
async def test_there_is_nothing_to_reply_to_until_somebody_texts() -> None:
    async with playing() as play:
        with pytest.raises(Conflict, match="nothing to reply to"):
            await play.text()


@in_loop
async def test_a_text_of_an_account_that_is_not_there_is_not_found() -> None:
    async with playing() as play:
        with pytest.raises(NotFound, match="no account nobody"):
            await play.text(account="nobody", shortcode=SHORT)


def test_a_session_id_differs_from_those_of_another_run() -> None:
    assert new_session_id(1, 1_704_239_437_000) != new_session_id(1, 1_704_239_438_000)


# The bytes ---------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_webhook_has_the_documented_keys_in_the_documented_order() -> None:
    async with playing() as play:
        await play.submit()
        body = await play.payload("Last Friday")
        assert list(body) == ["type", "telco", "from", "to", "message", "session_id", "sent_date"]


@in_loop
async def test_a_webhook_says_what_the_handset_sent() -> None:
    async with playing() as play:
        await play.submit()
        body = await play.payload("₦500, “please”\n")
        del body["sent_date"]
        assert body == {
            "type": "two-way sms",
            "telco": "airtel",
            "from": "2348020000000",
            "to": "48974",
            "message": "₦500, “please”\n",
            "session_id": "67543uhn3",
        }


@in_loop
async def test_a_webhook_tells_the_moment_of_the_text() -> None:
    async with playing() as play:
        play.services.clock.move_to(4_102_444_799_000)
        assert (await play.payload(shortcode=SHORT))["sent_date"] == "2099-12-31T23:59:59.000000Z"


@pytest.mark.parametrize(
    ("form", "senders"),
    [
        (MsisdnFormat.PLAIN, ["2348020000000"] * 4),
        (MsisdnFormat.PLUS, ["+2348020000000"] * 4),
        (MsisdnFormat.MIXED, ["2348020000000", "+2348020000000"] * 2),
    ],
)
@in_loop
async def test_the_number_is_written_as_the_account_asks(form: MsisdnFormat, senders: list[str]) -> None:
    async with playing(msisdn_format=form) as play:
        await play.submit()
        assert [(await play.payload())["from"] for _ in range(4)] == senders


@in_loop
async def test_mixed_alternates_in_each_conversation_by_itself() -> None:
    async with playing(msisdn_format=MsisdnFormat.MIXED) as play:
        found = [
            (await play.payload(msisdn=msisdn, shortcode=SHORT))["from"][:1] for msisdn in (ADA, BEN, ADA, BEN, BEN)
        ]
        assert found == ["2", "2", "+", "+", "2"]


@in_loop
async def test_in_revision_2024_there_is_no_ref_id() -> None:
    async with playing(revision="2024") as play:
        await play.submit(ref_id="873ghf8749956778gf5")
        assert "ref_id" not in await play.payload()


@in_loop
async def test_in_revision_2025_ref_id_is_the_last_key() -> None:
    async with playing(revision="2025") as play:
        await play.submit()
        assert list(await play.payload())[-1] == "ref_id"


@in_loop
async def test_in_revision_2025_a_reply_carries_the_ref_id_of_the_last_mt_message() -> None:
    async with playing(revision="2025") as play:
        await play.submit(ref_id="first")
        await play.submit(ref_id="second")
        assert (await play.payload())["ref_id"] == "second"


@in_loop
async def test_in_revision_2025_a_text_without_an_mt_message_has_a_ref_id_of_its_own() -> None:
    async with playing(revision="2025") as play:
        message, delivery = await play.text_and_delivery("Hello", shortcode=SHORT)
        assert delivery is not None
        assert json.loads(delivery.body)["ref_id"] == message.id


@pytest.mark.parametrize(
    ("msisdn", "telco"),
    [(ADA, "airtel"), (BEN, "mtn"), (Msisdn("2348050000000"), "glo"), (Msisdn("2348090000000"), "9mobile")],
)
@in_loop
async def test_a_handsets_telco_follows_its_number_range(msisdn: Msisdn, telco: str) -> None:
    async with playing() as play:
        assert (await play.payload(msisdn=msisdn, shortcode=SHORT))["telco"] == telco


@in_loop
async def test_a_number_that_was_ported_has_the_telco_it_was_given() -> None:
    async with playing() as play:
        await play.set_handset(HandsetState.ON, telco="mtn")
        assert (await play.payload(shortcode=SHORT))["telco"] == "mtn"


@in_loop
async def test_without_a_client_url_a_text_is_unrouted() -> None:
    async with playing(client_url=None) as play:
        message, delivery = await play.text_and_delivery("Hello", shortcode=SHORT)
        assert (message.state, delivery) == (MessageState.UNROUTED, None)


# Handsets on and off -----------------------------------------------------------------------------------------------


@in_loop
async def test_a_message_to_a_handset_that_is_on_has_arrived() -> None:
    async with playing() as play:
        assert (await play.message(await play.submit())).state == MessageState.ARRIVED


@in_loop
async def test_a_message_to_a_handset_that_is_off_waits() -> None:
    async with playing() as play:
        await play.set_handset(HandsetState.OFF)
        assert (await play.message(await play.submit())).state == MessageState.ACCEPTED


@in_loop
async def test_switching_a_handset_on_lets_everything_arrive_that_waited() -> None:
    async with playing() as play:
        await play.set_handset(HandsetState.OFF)
        waiting = [await play.submit() for _ in range(3)]
        await play.set_handset(HandsetState.ON)
        assert [(await play.message(seq)).state for seq in waiting] == [MessageState.ARRIVED] * 3


@in_loop
async def test_what_waited_arrives_in_the_order_it_came() -> None:
    async with playing() as play:
        await play.set_handset(HandsetState.OFF)
        waiting = [await play.submit() for _ in range(3)]
        await play.set_handset(HandsetState.ON)
        assert await play.arrived() == waiting


@in_loop
async def test_what_has_arrived_does_not_arrive_again() -> None:
    async with playing() as play:
        await play.set_handset(HandsetState.OFF)
        waiting = await play.submit()
        await play.set_handset(HandsetState.ON)
        await play.set_handset(HandsetState.ON)
        assert await play.arrived() == [waiting]


@in_loop
async def test_a_handset_that_is_off_keeps_nothing_from_another() -> None:
    async with playing() as play:
        await play.set_handset(HandsetState.OFF)
        assert (await play.message(await play.submit(to=BEN))).state == MessageState.ARRIVED


@in_loop
async def test_arriving_late_is_news() -> None:
    async with playing() as play:
        await play.set_handset(HandsetState.OFF)
        waiting = [await play.submit() for _ in range(2)]
        with play.services.bus.subscribe(lambda entry: entry.kind is EventType.MESSAGE_ARRIVED) as news:
            await play.set_handset(HandsetState.ON)
            assert [(await anext(news)).subject for _ in waiting] == waiting


@in_loop
async def test_a_handset_that_is_off_cannot_text() -> None:
    async with playing() as play:
        await play.set_handset(HandsetState.OFF)
        with pytest.raises(Conflict, match="Switch it on"):
            await play.text(shortcode=SHORT)


# Planned texts -----------------------------------------------------------------------------------------------------


async def plan(play: Play, text: str, delay_ms: int) -> int:
    texting = TextRequest(account="default", msisdn=ADA, text=text, shortcode=SHORT, new=True)
    return await play.services.network.originate_later(texting, delay_ms)


@in_loop
async def test_a_planned_text_is_sent_at_its_moment() -> None:
    async with playing() as play:
        due_ms = await plan(play, "later", 5_000)
        await play.services.control.advance(60_000)
        page = await play.services.database.read(lambda db: messages.page(db, account="default"))
        assert [(message.text, message.at_ms) for message in page] == [("later", due_ms)]


@in_loop
async def test_a_planned_text_is_not_sent_before_its_moment() -> None:
    async with playing() as play:
        await plan(play, "later", 5_000)
        await play.services.control.advance(4_999)
        assert await play.texts() == []


@in_loop
async def test_planned_texts_are_sent_in_the_order_of_their_moments() -> None:
    async with playing() as play:
        for text, delay_ms in (("third", 3000), ("first", 1000), ("second", 2000)):
            await plan(play, text, delay_ms)
        await play.services.control.advance(10_000)
        assert await play.texts() == ["first", "second", "third"]


@in_loop
async def test_a_text_that_cannot_be_sent_now_cannot_be_planned() -> None:
    async with playing() as play:
        with pytest.raises(Conflict, match="nothing to reply to"):
            await play.services.network.originate_later(TextRequest(account="default", msisdn=ADA, text="later"), 1000)


@in_loop
async def test_a_handset_that_is_off_at_the_moment_does_not_send() -> None:
    async with playing() as play:
        await plan(play, "later", 5_000)
        await play.set_handset(HandsetState.OFF)
        await play.services.control.advance(60_000)
        assert await play.texts() == []


@in_loop
async def test_a_planned_text_comes_from_what_was_planned_whole() -> None:
    async with playing() as play:
        await plan(play, "₦ “quoted” \\ \n 😀", 1000)
        await play.services.control.advance(1000)
        assert await play.texts() == ["₦ “quoted” \\ \n 😀"]


# The backlog -------------------------------------------------------------------------------------------------------


async def fill(play: Play) -> int:
    """Text while the application is away, until the sandbox is busy; gives how many texts were taken."""
    play.application.away = True
    for taken in range(100):
        try:
            await play.text(f"text {taken}", shortcode=SHORT)
        except Busy:
            return taken
    return 100


@pytest.mark.parametrize("order", Order)
@in_loop
async def test_a_full_backlog_takes_no_more_texts(order: Order) -> None:
    async with playing(backlog=10, order=order) as play:
        assert await fill(play) == 10


@in_loop
async def test_a_refused_text_leaves_nothing_behind() -> None:
    async with playing(backlog=3) as play:
        await fill(play)
        assert await play.texts() == ["text 0", "text 1", "text 2"]


@in_loop
async def test_a_full_backlog_takes_no_more_plans() -> None:
    async with playing(backlog=3) as play:
        await fill(play)
        with pytest.raises(Busy):
            await plan(play, "later", 1000)


@in_loop
async def test_plans_count_as_backlog() -> None:
    async with playing(backlog=3) as play:
        for _ in range(3):
            await plan(play, "later", 1000)
        with pytest.raises(Busy):
            await play.text(shortcode=SHORT)


@in_loop
async def test_a_full_backlog_still_takes_what_the_application_sends() -> None:
    async with playing(backlog=3) as play:
        await fill(play)
        assert (await play.message(await play.submit())).state == MessageState.ARRIVED


@in_loop
async def test_texts_are_taken_again_when_the_application_is_back() -> None:
    async with playing(backlog=3) as play:
        await fill(play)
        play.application.back.set()
        await play.services.scheduler.settled()
        assert (await play.text("after that", shortcode=SHORT)).text == "after that"


@in_loop
async def test_a_planned_text_is_not_dropped_when_the_backlog_is_full_at_its_moment() -> None:
    async with playing(backlog=3) as play:
        await plan(play, "later", 1000)
        play.application.status_code = 500  # so that three retries wait for half a minute
        for text in ("one", "two", "three"):
            await play.text(text, shortcode=SHORT)
        await play.services.control.advance(29_000)
        before = await play.texts()
        play.application.status_code = 200
        await play.services.control.advance(2_000)
        assert [*before, "later"] == await play.texts() == ["one", "two", "three", "later"]


@in_loop
async def test_duplicates_count_as_backlog() -> None:
    async with playing(backlog=9) as play:
        play.application.away = True
        for n in range(3):
            await play.text(f"text {n}", shortcode=SHORT, duplicates=2)
        with pytest.raises(Busy):
            await play.text("one more", shortcode=SHORT)


@in_loop
async def test_a_backlog_that_is_far_from_full_is_seldom_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    count = Mock(wraps=outbox.backlog)
    monkeypatch.setattr(outbox, "backlog", count)
    async with playing(backlog=100) as play:
        assert await fill(play) == 100
        assert count.call_count < 20


@in_loop
async def test_a_backlog_that_others_fill_as_well_is_counted_again_before_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "UNCOUNTED", 5)
    async with playing(backlog=100) as play:
        play.application.away = True
        for n in range(3):
            await play.text(f"text {n}", shortcode=SHORT)
        await play.services.database.write(fill_with_timers)
        assert await fill(play) <= network.UNCOUNTED


def fill_with_timers(tx: Tx) -> None:
    """What does not ask whether there is room."""
    for _ in range(100):
        outbox.set_timer(tx, Timer(due_ms=2**50, kind=TimerKind.LATER, queue="far", account="default", subject=0))


# Moments -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_texts_of_one_moment_carry_sent_dates_a_microsecond_apart() -> None:
    async with playing(others=[OTHER]) as play:
        sent = [(await play.payload(shortcode=SHORT))["sent_date"] for _ in range(3)]
        stem, last = sent[0][:-5], int(sent[0][-5:-1])
        assert sent == [f"{stem}{last + number:04}Z" for number in range(3)]
        assert (await play.text(account="other", shortcode=SHORT)).sent_date == sent[0]  # each account by itself


@in_loop
async def test_a_sent_date_is_the_moment_again_as_soon_as_time_has_passed() -> None:
    async with playing() as play:
        for _ in range(3):
            await play.text(shortcode=SHORT)
        await play.services.control.advance(1)
        assert (await play.text(shortcode=SHORT)).sent_date == to_iso(play.services.clock.now_ms())


@in_loop
async def test_sent_dates_go_on_when_the_clock_goes_back_and_begin_anew_after_a_reset() -> None:
    async with playing() as play:
        await play.services.control.advance(3_600_000)
        last = (await play.text(shortcode=SHORT)).sent_date
        await play.services.control.to_system()
        assert (await play.text(shortcode=SHORT)).sent_date == f"{last[:-2]}1Z"
        await play.services.control.reset()
        assert (await play.text(shortcode=SHORT)).sent_date < last


@in_loop
async def test_sent_dates_go_on_after_the_reset_of_an_account_which_leaves_the_clock_alone() -> None:
    async with playing(others=[OTHER]) as play:
        sent = [(await play.text(shortcode=SHORT)).sent_date]
        await play.services.control.reset("default")
        sent.append((await play.text(shortcode=SHORT)).sent_date)
        assert sent[0] < sent[1]


@in_loop
async def test_sent_dates_go_on_after_a_restart(tmp_path: Path) -> None:
    sent: list[str] = []
    for _ in range(2):
        async with playing(db=tmp_path / "sandbox.db") as play:
            await play.services.control.advance(
                86_400_000 if not sent else 0
            )  # so that a restart finds the same moment
            sent += [(await play.text(shortcode=SHORT)).sent_date for _ in range(2)]
    assert sorted(set(sent)) == sent


# Keeping -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_what_is_too_old_goes_though_nothing_else_happens() -> None:
    async with playing(max_age_s=20) as play:
        for _ in range(5):
            await play.text(shortcode=SHORT)
        await play.services.control.advance(10_000)
        assert len(await play.texts()) == 5
        await play.services.control.advance(11_000)
        assert await play.texts() == []


@in_loop
async def test_messages_that_are_still_owed_stay_and_keep_nobody_busy() -> None:
    async with playing(max_age_s=20) as play:
        play.application.status_code = 503
        await play.text(shortcode=SHORT)
        await play.services.control.advance(25_000)
        assert len(await play.texts()) == 1


def test_no_regular_pattern_of_entries_escapes_the_trimming(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr("sandbox.core.network.retention.trim", lambda *_, **__: trimmed.append(1))
    tx = cast(Tx, None)
    escaped: list[tuple[int, int]] = []
    for period in range(1, 65):
        for first in range(period):
            trimmed.clear()
            for seq in range(first + 1, 600 * period, period):
                trim_now_and_then(tx, seq, 0, RetentionPolicy())
            if not trimmed:
                escaped.append((period, first))
    assert escaped == []
