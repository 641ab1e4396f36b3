"""What pages and control API both read from a request: account, arguments, and whether the client still waits."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from sandbox.core.services import Services
from sandbox.errors import NotFound
from sandbox.http.access import Disconnected
from sandbox.model import Account, WebhookDelivery
from sandbox.store import outbox
from sandbox.store.database import Queries
from sandbox.values.fields import Fields
from sandbox.values.kinds import Identifier
from sandbox.wire.problems import quote

T = TypeVar("T")


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def account_of(request: Request) -> Account:
    """The account that `?account=` names; `default` without it, or the first of the settings."""
    accounts = services_of(request).accounts
    name = request.query_params.get("account")
    if name is None:
        first = services_of(request).settings.accounts[0].name
        return accounts.get("default") or accounts.get(first) or accounts.all()[0]
    account = accounts.get(name)
    if account is None:
        raise NotFound(f"There is no account {quote(name)}.")
    return account


def seq_of(request: Request, letter: str) -> int:
    """The number in the path's identifier."""
    return Identifier(letter).read(request.path_params["id"])


def query_of(request: Request) -> Fields:
    """The query's arguments, without `account`, which a client may send with every call."""
    return Fields({name: value for name, value in request.query_params.multi_items() if name != "account"})


def own_delivery(db: Queries, account: Account, seq: int) -> WebhookDelivery:
    """The webhook delivery of that number. Raises NotFound if it is not the account's."""
    found = outbox.get(db, seq)
    if found is None or found.account != account.name:
        raise NotFound(f"There is no webhook delivery w{seq} in the account {account.name}.")
    return found


async def while_connected(request: Request, doing: Awaitable[T]) -> T:
    """Await something that may take long; Disconnected, and it is cancelled, as soon as nobody waits for the answer."""
    try:
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(_left(request))
            done = await doing
            leaving.cancel()
    except BaseExceptionGroup as group:  # of one: whichever came first cancelled the other
        raise group.exceptions[0] from None
    return done


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise Disconnected
