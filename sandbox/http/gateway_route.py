"""The route of the gateway, `/ng/`: from an ASGI request to `gateway.submit` and back, with no header more than needed.

Reads requests, writes answers, and does what a fault does to a connection. See core/gateway.py for what is accepted.
"""

import asyncio
from collections.abc import Callable
from typing import assert_never

from sandbox.core.faults import Use
from sandbox.core.gateway import Gateway, GatewayAnswer, GatewayCall
from sandbox.http.access import (
    GATEWAY_HEADERS,
    App,
    Headers,
    Receive,
    Scope,
    Send,
    read_body,
    respond,
)
from sandbox.model import Drop
from sandbox.wire.requests import decode_json

HangUp = Callable[[Send], None]
"""Closes the connection that a `send` writes to, after what was written so far, and ends the call."""

REQUEST_HEADER = b"ninebits-sandbox-request"
_BY_STATUS = {
    401: ((b"www-authenticate", b"Bearer"),),
    405: ((b"allow", b"POST"),),
    503: ((b"retry-after", b"5"),),
}


def gateway_api(gateway: Gateway, *, max_body: int, hang_up: HangUp) -> App:
    """The imitated gateway as an ASGI application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, over = await read_body(scope, receive, max_body)
        client = scope.get("client")
        answer = await gateway.submit(
            GatewayCall(
                method=scope["method"],
                path=scope["path"],
                client=client[0] if client else "",
                headers=scope["headers"],
                body=body,
                over_limit=max_body if over else None,
            )
        )
        headers = list(GATEWAY_HEADERS)
        if answer.status_code != 200:
            headers += _BY_STATUS.get(answer.status_code, ())
        if over:  # whatever the verdict, the rest of the body is not worth reading
            headers.append((b"connection", b"close"))
        if answer.request_id is not None:  # names the record that explains the verdict
            headers.append((REQUEST_HEADER, answer.request_id.encode()))
        if answer.use is None:
            await respond(send, answer.status_code, answer.body, headers)
        else:
            await _struck(answer, answer.use, headers, receive, send, hang_up)

    return app


async def _struck(
    answer: GatewayAnswer, use: Use, headers: Headers, receive: Receive, send: Send, hang_up: HangUp
) -> None:
    """Answer as a fault wants it: later, in part, or not at all."""
    effect = use.fault.effect
    if effect.hold or effect.delay_s:
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(_end_with_client(use, receive))
            await use.wait()
            leaving.cancel()
    if not effect.hold:
        match effect.drop:
            case None:
                if effect.body is not None and not _is_json(answer.body):
                    headers = [(b"content-type", b"text/plain; charset=utf-8"), *headers[1:]]
                await respond(send, answer.status_code, answer.body, headers)
                return
            case Drop.BODY:
                await _respond_in_part(send, answer, headers)
            case Drop.REFUSED | Drop.ACCEPTED:
                pass
            case _:
                assert_never(effect.drop)
    hang_up(send)


async def _respond_in_part(send: Send, answer: GatewayAnswer, headers: Headers) -> None:
    length = (b"content-length", b"%d" % len(answer.body))
    await send({"type": "http.response.start", "status": answer.status_code, "headers": [*headers, length]})
    half = answer.body[: len(answer.body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})


async def _end_with_client(use: Use, receive: Receive) -> None:
    """Wait no longer when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    use.end()


def _is_json(body: bytes) -> bool:
    try:
        decode_json(body)
    except ValueError:
        return False
    return True
