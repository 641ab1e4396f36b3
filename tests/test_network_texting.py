"""Texts with wishes: webhooks that come twice, late or the other way round, another form of the number, another telco.

The webhooks are posted over real sockets to an application that records what it gets.
"""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, ParamSpec

import pytest

from sandbox import server
from sandbox.core.services import Services
from sandbox.model import DeliveryState, Message, Msisdn, MsisdnFormat, Order, Shortcode, TextRequest, WebhookDelivery
from sandbox.settings import DEFAULT_ACCOUNT, Settings
from sandbox.store import messages, outbox
from tests.conftest import Receiver

P = ParamSpec("P")

ADA = Msisdn("2348020000000")
SHORT = Shortcode("48974")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Handset:
    """A handset on a sandbox without HTTP, and the application that gets what it sends."""

    services: Services
    receiver: Receiver
    began_ms: int

    async def text(self, text: str = "Yesterday", **given: Any) -> tuple[Message, WebhookDelivery]:
        message, delivery = await self.services.network.originate(
            TextRequest(account="default", msisdn=ADA, text=text, shortcode=SHORT, **given)
        )
        assert delivery is not None
        return message, delivery

    async def advance(self, by_ms: int) -> None:
        await self.services.control.advance(by_ms)

    async def message(self, seq: int) -> Message:
        found = await self.services.database.read(lambda db: messages.get(db, seq))
        assert found is not None
        return found

    async def deliveries(self, message: Message) -> Sequence[WebhookDelivery]:
        return await self.services.database.read(lambda db: outbox.of_message(db, message.seq))

    async def attempted(self, delivery: WebhookDelivery) -> list[int]:
        """When the attempts of a webhook delivery began, in milliseconds since the test did."""
        attempts = await self.services.database.read(lambda db: outbox.attempts(db, delivery.seq))
        return [each.started_ms - self.began_ms for each in attempts]

    @property
    def bodies(self) -> list[bytes]:
        return [each.body for each in self.receiver.received]

    @property
    def payloads(self) -> list[dict[str, str]]:
        return [json.loads(each) for each in self.bodies]


@asynccontextmanager
async def texting(receiver: Receiver, **account: Any) -> AsyncIterator[Handset]:
    settings = Settings(
        db=":memory:", clock="virtual", accounts=(replace(DEFAULT_ACCOUNT, client_url=receiver.url, **account),)
    )
    async with server.open_services(settings, server.Address(host="127.0.0.1", port=1), None) as services:
        yield Handset(services=services, receiver=receiver, began_ms=services.clock.now_ms())


# Duplicates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicates", [0, 1, 5])
@in_loop
async def test_each_duplicate_comes_with_the_same_bytes(receiver: Receiver, duplicates: int) -> None:
    async with texting(receiver, msisdn_format=MsisdnFormat.MIXED) as handset:
        _, delivery = await handset.text(duplicates=duplicates)
        await handset.advance(0)
        assert handset.bodies == [delivery.body] * (1 + duplicates)


@in_loop
async def test_a_duplicate_says_of_which_it_is_one(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        message, delivery = await handset.text(duplicates=2)
        assert [each.redelivery_of for each in await handset.deliveries(message)] == [None, delivery.seq, delivery.seq]


@in_loop
async def test_each_duplicate_is_attempted_on_its_own(receiver: Receiver) -> None:
    receiver.answer_next(500, 200)
    async with texting(receiver, retry_s=(30,)) as handset:
        message, _ = await handset.text(duplicates=1)
        await handset.advance(60_000)
        found = [await handset.attempted(each) for each in await handset.deliveries(message)]
        assert sorted(found) == [[0], [0, 30_000]]


@in_loop
async def test_a_message_shows_the_state_of_its_first_webhook_delivery(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        message, first = await handset.text(duplicates=1)
        *_, second = await handset.deliveries(message)
        await handset.services.control.cancel(second.seq)
        await handset.advance(0)
        found = await handset.message(message.seq)
        assert (found.delivery_seq, found.state) == (first.seq, DeliveryState.DELIVERED)


@in_loop
async def test_duplicates_come_one_after_the_other_where_conversations_are_ordered(receiver: Receiver) -> None:
    receiver.answer_next(500)
    async with texting(receiver, order=Order.CONVERSATION, retry_s=(30,)) as handset:
        message, _ = await handset.text(duplicates=1)
        await handset.advance(60_000)
        found = [await handset.attempted(each) for each in await handset.deliveries(message)]
        assert found == [[0, 30_000], [30_000]]


# Holding -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_held_webhook_comes_that_much_later_than_its_text(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        message, delivery = await handset.text(hold_ms=5_000)
        assert delivery.next_attempt_ms == handset.began_ms + 5_000
        await handset.advance(4_999)
        assert handset.bodies == []
        await handset.advance(60_000)
        assert (message.at_ms, await handset.attempted(delivery)) == (handset.began_ms, [5_000])


@in_loop
async def test_a_held_webhook_says_when_its_text_was_sent(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        message, _ = await handset.text(hold_ms=5_000)
        await handset.advance(5_000)
        assert [each["sent_date"] for each in handset.payloads] == [message.sent_date]


@in_loop
async def test_a_later_text_overtakes_one_that_is_held(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        await handset.text("first", hold_ms=5_000)
        await handset.advance(1_000)
        await handset.text("second")
        await handset.advance(60_000)
        assert [each["message"] for each in handset.payloads] == ["second", "first"]


@in_loop
async def test_no_text_overtakes_one_that_is_held_where_conversations_are_ordered(receiver: Receiver) -> None:
    async with texting(receiver, order=Order.CONVERSATION) as handset:
        await handset.text("first", hold_ms=5_000)
        _, second = await handset.text("second")
        await handset.advance(60_000)
        assert [each["message"] for each in handset.payloads] == ["first", "second"]
        assert await handset.attempted(second) == [5_000]


@in_loop
async def test_a_held_webhook_keeps_its_moment_when_the_one_before_is_done(receiver: Receiver) -> None:
    async with texting(receiver, order=Order.CONVERSATION) as handset:
        await handset.text("first")
        _, second = await handset.text("second", hold_ms=5_000)
        await handset.advance(60_000)
        assert await handset.attempted(second) == [5_000]


@in_loop
async def test_duplicates_are_held_with_the_first(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        message, _ = await handset.text(hold_ms=5_000, duplicates=1)
        await handset.advance(60_000)
        assert [await handset.attempted(each) for each in await handset.deliveries(message)] == [[5_000], [5_000]]


# Number and telco --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of_account", MsisdnFormat)
@pytest.mark.parametrize(
    ("of_text", "sender"), [(MsisdnFormat.PLAIN, "2348020000000"), (MsisdnFormat.PLUS, "+2348020000000")]
)
@in_loop
async def test_a_texts_form_of_the_number_overrides_the_accounts(
    receiver: Receiver, of_account: MsisdnFormat, of_text: MsisdnFormat, sender: str
) -> None:
    async with texting(receiver, msisdn_format=of_account) as handset:
        await handset.text(msisdn_format=of_text)
        await handset.text(msisdn_format=of_text)
        await handset.advance(0)
        assert [each["from"] for each in handset.payloads] == [sender] * 2


@in_loop
async def test_a_texts_telco_overrides_the_handsets_in_message_and_webhook(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        message, _ = await handset.text(telco="glo")
        await handset.advance(0)
        assert (message.telco, [each["telco"] for each in handset.payloads]) == ("glo", ["glo"])


@in_loop
async def test_a_texts_telco_is_for_that_text_alone(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        await handset.text(telco="glo")
        message, _ = await handset.text()
        assert message.telco == "airtel"


# Planned -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_planned_text_keeps_all_its_wishes(receiver: Receiver) -> None:
    async with texting(receiver) as handset:
        await handset.services.network.originate_later(
            TextRequest(
                account="default",
                msisdn=ADA,
                text="later",
                shortcode=SHORT,
                session_id="own",
                new=True,
                duplicates=1,
                hold_ms=2_000,
                msisdn_format=MsisdnFormat.PLUS,
                telco="glo",
            ),
            1_000,
        )
        await handset.advance(60_000)
        [message] = await handset.services.database.read(lambda db: messages.page(db, account="default"))
        assert [await handset.attempted(each) for each in await handset.deliveries(message)] == [[3_000], [3_000]]
        assert {(each["from"], each["telco"], each["session_id"]) for each in handset.payloads} == {
            ("+2348020000000", "glo", "own")
        }
