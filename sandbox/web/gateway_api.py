"""The door that the application knows: ASGI in, `gateway.submit`, ASGI out, and not a header more than needed.

What is accepted or refused, and in which words, is the gateway's; here is only the unpacking and packing.
"""

from sandbox.gateway import Call, Gateway
from sandbox.web.access import GATEWAY_HEADERS, App, Receive, Scope, Send, read_body, respond

REQUEST_HEADER = b"ninebits-sandbox-request"
_BY_STATUS = {
    401: ((b"www-authenticate", b"Bearer"),),
    405: ((b"allow", b"POST"),),
    503: ((b"retry-after", b"5"),),
}


def gateway_api(gateway: Gateway, *, max_body: int) -> App:
    """The imitated gateway as an ASGI application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, over = await read_body(scope, receive, max_body)
        client = scope.get("client")
        answer = await gateway.submit(
            Call(
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
        await respond(send, answer.status_code, answer.body, headers)

    return app
