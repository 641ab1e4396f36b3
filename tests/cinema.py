"""A survey by SMS on Starlette, and the fixtures of its tests, written as a user would: the conftest.py of the suites
that the tests of the plugin run. Of the sandbox it knows the plugin's fixtures alone.
"""

import json
import urllib.request
from typing import Any
from urllib.error import HTTPError

import pytest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PORT = 0  # any
QUESTIONS = ("When was the last time you went to the cinema?", "Thank you!")

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(url: str, body: object, **headers: str) -> int:
    """POST JSON. Returns the status."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    try:
        with _direct.open(request, timeout=10) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        with error:
            return error.code


class Survey:
    """Asks a question, and thanks for the answer. What the gateway does not take is sent again, three times in all."""

    def __init__(self, base_url: str, token: str) -> None:
        self.url = ""  # where it is served
        self._gateway, self._token = f"{base_url}/ng/v1/sendsms", token
        self._answer = 200
        self._said: dict[str, int] = {}
        routes = [Route("/start", self._start, methods=["POST"]), Route("/sms", self._sms, methods=["POST"])]
        self.app = Starlette(routes=routes)

    def answer_with(self, status: int) -> None:
        """Answer every webhook like this, and do nothing."""
        self._answer = status

    def send(self, to: str, text: str, session_id: str) -> int:
        """Returns the status of the last try."""
        body = {"from": "48974", "to": to, "message": text, "session_id": session_id}
        body["sent_date"] = "2024-01-02T23:50:37.000000Z"
        status = 0
        for _ in range(3):
            status = post(self._gateway, body, Authorization=f"Bearer {self._token}")
            if status == 200:
                break
        return status

    async def _start(self, request: Request) -> Response:
        phone = (await request.json())["phone"]
        await self._say_next(phone, f"survey-{phone}")
        return JSONResponse({"started": phone})

    async def _sms(self, request: Request) -> Response:
        came = await request.json()
        if self._answer == 200:
            await self._say_next(came["from"].removeprefix("+"), came["session_id"])
        return JSONResponse({}, self._answer)

    async def _say_next(self, phone: str, session_id: str) -> None:
        turn = self._said.get(phone, 0)
        self._said[phone] = turn + 1
        if turn < len(QUESTIONS):
            await run_in_threadpool(self.send, phone, QUESTIONS[turn], session_id)


class Client:
    """What a browser, or another service, asks of the application."""

    def __init__(self, url: str) -> None:
        self._url = url

    def post(self, path: str, json: object) -> None:
        assert post(self._url + path, json) == 200


@pytest.fixture
def app(ninebits: Any) -> Survey:
    survey = Survey(ninebits.url, ninebits.token)
    survey.url = ninebits.serve(survey.app, "/sms", port=PORT)
    return survey


@pytest.fixture
def client(app: Survey) -> Client:
    return Client(app.url)
