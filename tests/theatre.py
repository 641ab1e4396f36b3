"""A sandbox without HTTP, an application behind real sockets, and words in which tests tell how scenarios play.

Shared by the tests of the scenario runner; nothing in here is a test.
"""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, ParamSpec

from sandbox import server
from sandbox.core.gateway import GatewayCall
from sandbox.core.services import Services
from sandbox.model import Account, EventType, Handset, HandsetState, Msisdn
from sandbox.scenario.steps import ChangeHandset
from sandbox.settings import DEFAULT_ACCOUNT, Settings
from sandbox.store import journal, messages, outbox, scenarios
from sandbox.store.scenarios import Run
from tests.conftest import Receiver

P = ParamSpec("P")

ADA, BEN, EVE = Msisdn("2348020000000"), Msisdn("2347030000000"), Msisdn("2348090000000")
FRESH = Msisdn("2348030000000")
OTHER = replace(DEFAULT_ACCOUNT, name="other", token="another-token")
HOUR_MS = 3_600_000


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Theatre:
    """A sandbox without HTTP, the application that gets what handsets send, and words to tell a story in."""

    services: Services
    receiver: Receiver
    began_ms: int

    async def submit(
        self, text: str = "Cinema?", *, to: Msisdn = ADA, session: str = "one", by: Account = DEFAULT_ACCOUNT
    ) -> int:
        """The application sends an MT message; everything that follows at once has happened. Gives its number."""
        sms = {
            "from": "48974",
            "to": to,
            "message": text,
            "session_id": session,
            "sent_date": "2024-01-02T23:50:37.000000Z",
        }
        headers = ((b"authorization", f"Bearer {by.token}".encode()), (b"content-type", b"application/json"))
        answer = await self.services.gateway.submit(
            GatewayCall("POST", "/ng/v1/sendsms", "127.0.0.1", headers, json.dumps(sms).encode())
        )
        assert answer.status_code == 200, answer.body
        await self.advance(0)
        return int(json.loads(answer.body)["reference_id"][1:])

    async def start(self, steps: str, *, msisdn: Msisdn | None = None, account: str = "default") -> Run:
        """Play what is given as `steps: …` or `rules: …`."""
        run = await self.services.runner.start(account, source=f"scenario: play\n{steps}\n", msisdn=msisdn)
        await self.advance(0)
        return run

    async def run(self, run: Run) -> Run:
        found = await self.services.database.read(lambda db: scenarios.get_whole(db, run.seq))
        assert found is not None
        return found

    async def advance(self, by_ms: int) -> None:
        await self.services.control.advance(by_ms)

    async def set_handset(self, state: HandsetState, msisdn: Msisdn = ADA) -> None:
        await self.services.network.change_handset("default", msisdn, ChangeHandset(state=state))
        await self.advance(0)

    async def handset(self, msisdn: Msisdn = ADA) -> Handset:
        return await self.services.database.read(lambda db: messages.handset_of(db, "default", msisdn))

    async def texts(self, account: str = "default") -> list[tuple[Msisdn, str, int]]:
        """What handsets sent, oldest first: number, text, milliseconds since the test began."""
        page = await self.services.database.read(
            lambda db: messages.page(db, account=account, direction="mo", newest_first=False, limit=500)
        )
        return [(each.msisdn, each.text, each.at_ms - self.began_ms) for each in page]

    async def news(self, *kinds: EventType) -> list[tuple[EventType, int, str | None]]:
        entries = await self.services.database.read(lambda db: journal.after(db, 0, limit=5000))
        return [(each.kind, each.subject, each.msisdn) for each in entries if each.kind in kinds]

    async def planned(self) -> int:
        return len(await self.services.database.read(outbox.timers))

    @property
    def payloads(self) -> list[dict[str, str]]:
        """What the application got, in the order in which it did."""
        return [json.loads(each.body) for each in self.receiver.received]


@asynccontextmanager
async def theatre(receiver: Receiver, *, db: str = ":memory:", **account: Any) -> AsyncIterator[Theatre]:
    default = replace(DEFAULT_ACCOUNT, client_url=receiver.url, **account)
    settings = Settings(db=db, clock="virtual", accounts=(default, replace(OTHER, client_url=receiver.url)))
    async with server.open_services(settings, server.Address(host="127.0.0.1", port=1), None) as services:
        yield Theatre(services=services, receiver=receiver, began_ms=services.clock.now_ms())
