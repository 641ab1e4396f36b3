"""Handsets as objects for tests, and the webhook deliveries that their texts become, blocking and async.

See assertions.py for waits, and testing.py for how a sandbox is started.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, Unpack, cast

from sandbox.errors import Conflict
from sandbox.objects.derive import from_json
from sandbox.objects.messages import Message
from sandbox.objects.webhooks import Attempt
from sandbox.rules.correlation import sent_upon
from sandbox.testkit import failure_messages
from sandbox.testkit.assertions import (
    CALLS,
    AccountContext,
    Async,
    AsyncLiveObject,
    ExpectationFailed,
    Filters,
    LiveObject,
    OfAccount,
    Sync,
    SyncLiveObject,
    awaited,
    found,
    match_of,
    none_came,
    scenery,
)
from sandbox.testkit.transport import CallPlan, Json, Refused, plan_method, plan_property

D = TypeVar("D", bound="WebhookDeliveryMethods[Any]")

_FINAL = ("delivered", "cancelled")  # any other state may change, if only because somebody attempts it by hand


class WebhookDeliveryMethods(LiveObject, Generic[D]):
    """A webhook delivery: one payload for the application, with its attempts.

    Its values are those of the moment in which they are read; on the async twin, of the last awaited method.
    """

    @property
    def state(self) -> str:
        """pending, in_flight, retrying, delivered, rejected, exhausted or cancelled."""
        state: str = self._now()["state"]
        return state

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Every POST so far, the first one first."""
        return tuple(from_json(Attempt, each) for each in self._now()["attempts"])

    @property
    def status_code(self) -> int | None:
        """The status of the application's answer to the last attempt; None if no answer came."""
        last = self.attempts[-1:]
        return last[0].status_code if last else None

    @property
    def response_body(self) -> str:
        """The body of that answer, its first 16 KiB."""
        last = self.attempts[-1:]
        return last[0].response_body if last else ""

    @property
    def body(self) -> str:
        """The body that is posted, the same with every attempt."""
        body: str = self.shape["body"]
        return body

    @property
    def message_id(self) -> str:
        identifier: str = self.shape["message_id"]
        return identifier

    @property
    def settled(self) -> bool:
        return self.shape["state"] in _FINAL

    @plan_property
    def caused(self) -> CallPlan[list[Message]]:
        """The messages that the application sent to the handset after this webhook, before its next text."""
        answer = yield CALLS.get("messages", self.message_id)
        text = from_json(Message, answer)
        later = yield from found({"from": text.handset, "to": text.shortcode, "direction": "mo"}, after=text.seq)
        came = yield from found({"from": text.shortcode, "to": text.handset, "direction": "mt"}, after=text.seq)
        return sent_upon(text, came, later)

    @plan_method
    def attempt(self) -> CallPlan[None]:
        """Post it once more now, beside its schedule, and return after the application answered."""
        self.shape = yield CALLS.attempt(self.id)

    @plan_method
    def redeliver(self, body: str | None = None) -> CallPlan[D]:
        """Post the same bytes anew, as a webhook that comes twice, or another `body` to see what the application makes
        of it; return after the application answered."""
        more = {} if body is None else {"body": body}
        return cast(D, type(self)(self._context, (yield CALLS.redeliver(self.id, **more))))

    @plan_method
    def cancel(self) -> CallPlan[None]:
        """Post it no more."""
        self.shape = yield CALLS.cancel(self.id)

    def fetched(self) -> CallPlan[Json]:
        shape: Json = yield CALLS.get("webhook-deliveries", self.id)
        return shape


class WebhookDelivery(WebhookDeliveryMethods["WebhookDelivery"], SyncLiveObject):
    __doc__ = WebhookDeliveryMethods.__doc__


class AsyncWebhookDelivery(WebhookDeliveryMethods["AsyncWebhookDelivery"], AsyncLiveObject):
    __doc__ = WebhookDeliveryMethods.__doc__


class HandsetMethods(OfAccount, Generic[D]):
    """One handset, by its `number`. Waits go forward: each goes on after the message that the one before gave."""

    _delivery: type[D]

    def __init__(self, context: AccountContext, number: str) -> None:
        super().__init__(context)
        self.number = number
        self._cursor = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.number}>"

    @plan_method
    def wait_for_message(
        self, text: str | None = None, *, timeout: float = 5.0, **filters: Unpack[Filters]
    ) -> CallPlan[Message]:
        """The next message that fits, once it is there. `text` is a glob over the whole text.

        Raises ExpectationFailed if none comes in `timeout` real seconds.
        """
        __tracebackhide__ = True
        return (yield from self._next(match_of(text, filters), 1, timeout))[0]

    @plan_method
    def wait_for_messages(
        self, count: int, text: str | None = None, *, timeout: float = 5.0, **filters: Unpack[Filters]
    ) -> CallPlan[list[Message]]:
        """The next `count` messages that fit, once they are there."""
        __tracebackhide__ = True
        return (yield from self._next(match_of(text, filters), count, timeout))

    @plan_method
    def assert_no_message(
        self, text: str | None = None, *, within: float = 0.2, **filters: Unpack[Filters]
    ) -> CallPlan[None]:
        """No message that fits has come since the last wait, and none comes within so many real seconds."""
        __tracebackhide__ = True
        asked = match_of(text, filters)
        yield from none_came(
            self._context, self._mine(asked), asked=asked, within=within, after=self._cursor, who=self.number
        )

    @plan_method
    def messages(self, text: str | None = None, **filters: Unpack[Filters]) -> CallPlan[list[Message]]:
        """All messages that it got, oldest first; this moves no wait forward."""
        return (yield from found(self._mine(match_of(text, filters))))

    @plan_property
    def last(self) -> CallPlan[Message | None]:
        """The last message that it got; None if there is none."""
        came = yield from found(self._mine({}))
        return came[-1] if came else None

    @plan_method
    def reply(
        self, text: str, *, session_id: str | None = None, to: str | None = None, wait: bool | float = True
    ) -> CallPlan[D]:
        """Reply to the last message, in its session unless another is named, and return after the application answered.

        A handset that nobody has texted yet texts the account's shortcode. `wait` False returns at once, a number after
        so many seconds at most.
        """
        more = {"session_id": session_id, "to": to}
        asked = {name: value for name, value in more.items() if value is not None}
        try:
            answer = yield CALLS.reply(self.number, text, wait=wait, **asked)
        except Refused as error:
            if to is not None or error.status != 409 or (yield from found(self._mine({}))):
                raise
            answer = yield CALLS.send(self.number, text, wait=wait, **{**asked, "to": self._context.shortcode})
        return self._delivered(answer)

    @plan_method
    def send(
        self, text: str, to: str | None = None, *, session_id: str | None = None, wait: bool | float = True
    ) -> CallPlan[D]:
        """Text a shortcode, by default the account's, out of the blue and in a new session; else as `reply`."""
        asked = {} if session_id is None else {"session_id": session_id}
        answer = yield CALLS.send(self.number, text, to=to or self._context.shortcode, wait=wait, **asked)
        return self._delivered(answer)

    @plan_method
    def converse(
        self, turns: Sequence[str | tuple[str, str]], *, timeout: float = 5.0, ignore_case: bool = False
    ) -> CallPlan[list[Message]]:
        """Wait for a text, reply, wait for the next, reply … Returns the messages that came.

        `turns` are globs and replies in turn, and may be written as pairs: `[("*cinema?*", "yesterday"), "*thank*"]`.
        Raises ExpectationFailed if a message does not come, or the application does not take a reply.
        """
        __tracebackhide__ = True
        flat = [each for turn in turns for each in ((turn,) if isinstance(turn, str) else turn)]
        came: list[Message] = []
        for glob, *replies in (flat[start : start + 2] for start in range(0, len(flat), 2)):
            came += yield from self._next(match_of(glob, {"ignore_case": ignore_case or None}), 1, timeout)
            for text in replies:
                delivery = self._delivered((yield CALLS.reply(self.number, text)))
                if delivery.shape["state"] != "delivered":
                    headline = f"The application did not take the reply {text!r}, which is {delivery.shape['state']}."
                    scene = yield from scenery(self._context, self.number)
                    raise ExpectationFailed(failure_messages.failed(headline, scene))
        return came

    def _mine(self, asked: dict[str, object]) -> dict[str, object]:
        return {**asked, "to": self.number, "direction": "mt", "state": "arrived"}

    def _next(self, asked: dict[str, object], count: int, timeout: float) -> CallPlan[list[Message]]:
        __tracebackhide__ = True
        came = yield from awaited(
            self._context,
            self._mine(asked),
            asked=asked,
            count=count,
            timeout=timeout,
            after=self._cursor,
            who=self.number,
        )
        self._cursor = came[-1].seq
        return came

    def _delivered(self, answer: Json) -> D:
        if answer["webhook_delivery"] is None:
            raise Conflict(
                "The text was posted nowhere, because the account has no client_url. Set it before a handset texts: "
                'ninebits.client_url = "http://127.0.0.1:8000/sms"'
            )
        return self._delivery(self._context, answer["webhook_delivery"])


class Handset(HandsetMethods[WebhookDelivery], Sync):
    __doc__ = HandsetMethods.__doc__
    _delivery = WebhookDelivery


class AsyncHandset(HandsetMethods[AsyncWebhookDelivery], Async):
    __doc__ = HandsetMethods.__doc__
    _delivery = AsyncWebhookDelivery
