"""A small application of the kind that integrates with 9bits: a cinema survey of three questions, by SMS.

It is written as a user would write it, against the gateway's documented contract only, and imports nothing of the
sandbox. `serve --demo` runs it and names its `/sms` as `client_url`.
"""

import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

log = logging.getLogger(__name__)

KEYWORD = "CINEMA"
QUESTIONS = (
    "When was the last time you went to the cinema?",
    "Which film did you see?",
    "How was it, from 1 (poor) to 5 (great)?",
)
THANKS = "Thank you! Your answers: {0} / {1} / {2}. Text CINEMA to take the survey again."
AGAIN = "Please answer with one digit from 1 to 5."
STOPPED = "You will get no more messages from us. Text CINEMA to come back."
INVITATION = "Text CINEMA to begin our three-question survey."


@dataclass(slots=True)
class Dialogue:
    """The state of one phone's survey: the session that all messages of the survey carry, and the answers so far."""

    session_id: str
    answers: list[str] = field(default_factory=list)


class Survey:
    """The survey's state, in memory, and what it answers."""

    def __init__(self) -> None:
        self._dialogues: dict[str, Dialogue] = {}
        self._seen: dict[tuple[str, str, str], None] = {}

    def answer(self, phone: str, text: str, session_id: str, sent_date: str) -> str | None:
        """What to text back to `phone`, or None for a reply that came before: 9bits delivers at least once."""
        key = (phone, session_id, sent_date + text)
        if key in self._seen:
            return None
        self._seen[key] = None
        if len(self._seen) > 10_000:
            del self._seen[next(iter(self._seen))]
        word = text.strip().upper()
        if word == KEYWORD:
            self._dialogues[phone] = Dialogue(session_id)
            return QUESTIONS[0]
        if word == "STOP":
            self._dialogues.pop(phone, None)
            return STOPPED
        dialogue = self._dialogues.get(phone)
        if dialogue is None:
            return INVITATION
        if len(dialogue.answers) == 2 and word not in {"1", "2", "3", "4", "5"}:
            return AGAIN
        dialogue.answers.append(text.strip()[:80])
        if len(dialogue.answers) < len(QUESTIONS):
            return QUESTIONS[len(dialogue.answers)]
        del self._dialogues[phone]
        return THANKS.format(*dialogue.answers)


def build(*, base_url: str, token: str) -> Starlette:
    """The survey as an ASGI application that sends its texts to the gateway at `base_url`."""
    survey = Survey()
    opener = build_opener(ProxyHandler({}))

    def send_sms(shortcode: str, phone: str, text: str, session_id: str) -> None:
        body = {
            "from": shortcode,
            "to": phone,
            "message": text,
            "session_id": session_id,
            "sent_date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),  # noqa: TID251 -- an application's own time
        }
        request = Request(  # noqa: S310 -- the gateway's own address
            f"{base_url}/ng/v1/sendsms",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with opener.open(request, timeout=10) as response:
                response.read()
        except HTTPError as error:  # "anything but 200 is a failure": print status and text, and go on
            with error:
                log.warning("The gateway answered %s: %s", error.code, error.read(500).decode("utf-8", "replace"))
        except OSError as error:
            log.warning("The gateway cannot be reached: %s", error)

    async def sms(request: HttpRequest) -> JSONResponse:
        """9bits posts a reply here; the answer has to be JSON, and the next question goes out after it."""
        if request.headers.get("authorization") != f"Bearer {token}":
            return JSONResponse({"error": "unknown token"}, 401)
        reply = await request.json()
        phone, session_id = reply["from"].lstrip("+"), reply["session_id"]
        text = survey.answer(phone, reply["message"], session_id, reply["sent_date"])
        if text is None:
            return JSONResponse({"status": "seen before"})
        task = BackgroundTask(send_sms, reply["to"], phone, text, session_id)
        return JSONResponse({"status": "ok"}, background=task)

    return Starlette(routes=[Route("/sms", sms, methods=["POST"])])
