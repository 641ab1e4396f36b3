"""A line of an exported file of version 1, written before version 2, as the objects of version 2 that say the same.

Nothing is checked here: what cannot be translated stays as it is, so that the reading of version 2 says what is wrong.
In version 1 a message held its call, an attempt had a line of its own, and what follows from the rest was left out.
"""

import base64
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

_NOUN: Json = {"seq": 0, "account": ""}
_SCENARIO: Json = {"id": "", "description": "", "origin": "own", "steps": 0, "rules": 0}
_MESSAGE: Json = {
    **_NOUN,
    "ref_id": None,
    "encoding": "GSM-7",
    "segments": 1,
    "webhook_delivery_id": None,
    "request_id": None,
    "extra": {},
    "warnings": [],
}
_REQUEST: Json = {**_NOUN, "headers": [], "problems": [], "warnings": []}
_ACCEPTED: Json = {
    "type": "request",
    "verdict": "accepted",
    "status_code": 200,
    "method": "POST",
    "path": "/ng/v1/sendsms",
}
_DELIVERY: Json = {**_NOUN, "next_attempt_at": None, "redelivery_of": None, "edited": False, "attempts": []}


def translated(line: Json) -> Sequence[Json]:
    """The objects of version 2. An attempt stays on a line of its own, whose `webhook_delivery_id` says of what."""
    match line.get("type"):
        case "handset":
            return [{"id": str(line.get("msisdn")), "account": "", **line}]
        case "scenario":
            return [_SCENARIO | _without(line, "changed_at")]
        case "message":
            return _message(line)
        case "refusal":
            path = line.get("path")
            mended = {"path": path.replace("\\0", "\0")} if isinstance(path, str) else {}
            refused = {"type": "request", "verdict": "refused", "message_id": None}
            return [_REQUEST | _call(line) | refused | mended]
        case "webhook_delivery":
            return [_DELIVERY | _without(line, "retries_used", "first_failed_at")]
        case "attempt":
            response = {"response_headers": _headers(line.get("response_headers")), **_bytes(line, "response_body")}
            return [{"warnings": [], **line, **response}]
        case _:
            return [line]


def _message(line: Json) -> Sequence[Json]:
    call = line.get("request")
    message = _MESSAGE | (line if call and not isinstance(call, dict) else _without(line, "request"))
    if message.get("state") == "routed":  # the webhook deliveries say more
        message["state"] = "unrouted"
    if not isinstance(call, dict) or not call:
        return [message]
    told = {"id": f"r{str(line.get('id'))[1:]}", "message_id": line.get("id"), "at": line.get("at")}
    return [message, _REQUEST | _call(call) | _ACCEPTED | told]


def _call(line: Json) -> Json:
    return {**line, "headers": _headers(line.get("headers")), **_bytes(line, "body"), **_bytes(line, "answer")}


def _headers(given: object) -> object:
    """A header's value may be in base64, as a body may; version 2 has no more than its likeness."""
    if not isinstance(given, list):
        return [] if given is None else given
    return [each | _likeness(each.get("value")) if isinstance(each, dict) else each for each in given]


def _likeness(value: object) -> Json:
    try:
        return {"value": base64.b64decode(value["base64"]).decode("utf-8", "backslashreplace")}  # type: ignore[index]
    except (TypeError, LookupError, ValueError):
        return {}


def _bytes(line: Json, name: str) -> Json:
    """A text, or an object with bytes in base64, which stand beside the text in version 2."""
    match line.get(name):
        case {"base64": str(in_base64), **others} if not others:
            return {name: "", f"{name}_base64": in_base64}
        case _:
            return {}


def _without(line: Json, *names: str) -> Json:
    return {name: value for name, value in line.items() if name not in names}
