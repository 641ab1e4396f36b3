"""The stream of what happens, as an operation. See event_stream.py for what it sends."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response, StreamingResponse

from sandbox.api import event_stream
from sandbox.api.operations import V1, ApiCall, Content, operation
from sandbox.core.services import Listeners
from sandbox.errors import Busy
from sandbox.http.access import Receive, Scope, Send
from sandbox.objects import schema
from sandbox.values.fields import optional, with_default
from sandbox.values.kinds import Choice, PageCursor


class _Stream(StreamingResponse):
    """An event stream that is counted for as long as it is open, however it ends."""

    def __init__(self, listeners: Listeners, content: AsyncIterator[bytes], **more: Any) -> None:
        super().__init__(content, **more)
        self._listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._listeners.count += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listeners.count -= 1


SINCE = optional(
    "after", PageCursor(), "Begin after this event, instead of now. The header `Last-Event-ID` says the same."
)
VIEW = with_default(
    "view", Choice(("full", "brief")), "full", "Whether an event carries what it is about, or its id alone."
)


@operation(
    "GET",
    f"{V1}/events",
    group="Bench",
    account="any",
    query=(SINCE, VIEW),
    answers={
        200: (
            Content(
                media_type="text/event-stream",
                schema=schema.text("Server-sent events, without end; the data of each is a JSON object."),
                example='id: 12\nevent: message_submitted\ndata: {"seq": 12, "kind": "message_submitted", …}\n\n',
            ),
        )
    },
    errors={503: "Too many streams are open."},
)
async def stream_events(call: ApiCall) -> Response:
    """Everything that happens, as it happens: server-sent events.

    Of one account if `?account=` names it, else of all. An event's `id` is its number; after a connection that broke,
    `Last-Event-ID` goes on from there, and nothing is missed.
    """
    services, after = call.services, call[SINCE]
    last = call.request.headers.get("last-event-id", "")
    if last.isascii() and last.isdecimal() and len(last) < 19:
        after = int(last)
    if services.listeners.count >= services.settings.max_event_streams:
        raise Busy(
            f"{services.settings.max_event_streams} event streams are open, which is the limit. Close one first."
        )
    return _Stream(
        services.listeners,
        event_stream.events(
            services.database,
            services.bus,
            account=None if call.owner is None else call.owner.name,
            after=after,
            full=call[VIEW] == "full",
        ),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


OPERATIONS = (stream_events,)
