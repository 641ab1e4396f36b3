"""Accounts: list, add, change, remove. See settings.py for what one may be, and core/control.py for what happens."""

from collections.abc import Mapping, Sequence

from starlette.responses import Response

from sandbox.api import objects
from sandbox.api.operations import V1, ApiCall, answer, operation
from sandbox.errors import Invalid, NotFound
from sandbox.model import Account
from sandbox.objects import schema
from sandbox.objects.schema import Schema
from sandbox.settings import KEYS, Key, account_from
from sandbox.values.fields import required
from sandbox.values.kinds import Name
from sandbox.wire.problems import quote


def _setting(key: Key) -> Schema:
    made = {**key.kind.schema, "description": key.help}
    return schema.nullable(made) if key.default is None else made


_SETTINGS = {key.name: _setting(key) for key in KEYS if key.scope == "account"}


def _settings(required: Sequence[str], examples: Mapping[str, str]) -> Schema:
    shown = {name: {**_SETTINGS[name], "examples": [example]} for name, example in examples.items()}
    return schema.obj({**_SETTINGS, **shown}, optional=_SETTINGS.keys() - set(required))


NEW_ACCOUNT = _settings(("name", "token"), {"name": "team-2", "token": "a-token-of-team-2"})
ACCOUNT_CHANGES = _settings((), {"client_url": "http://127.0.0.1:8000/sms"})

NAME = required("name", Name(), "The account's name.", "default")


@operation(
    "GET",
    f"{V1}/accounts",
    group="Accounts",
    account="none",
    answers={200: schema.page("accounts", objects.ACCOUNT, last="always null: they come all at once")},
)
async def list_accounts(call: ApiCall) -> Response:
    """All accounts."""
    return answer({"accounts": [objects.account(each) for each in call.services.accounts.all()], "next": None})


@operation(
    "POST",
    f"{V1}/accounts",
    group="Accounts",
    account="none",
    body=NEW_ACCOUNT,
    answers={201: objects.ACCOUNT},
    errors={409: "There is an account of this name already."},
)
async def add_account(call: ApiCall) -> Response:
    """Add an account. A test gets one of its own, so that it sees nothing of the others."""
    return answer(objects.account(await call.services.control.add_account(account_from(call.body))), 201)


def _named(call: ApiCall) -> Account:
    account = call.services.accounts.get(call[NAME])
    if account is None:
        raise NotFound(f"There is no account {quote(call[NAME])}.")
    return account


@operation(
    "GET",
    f"{V1}/accounts/{{name}}",
    group="Accounts",
    account="none",
    places=(NAME,),
    answers={200: objects.ACCOUNT},
)
async def get_account(call: ApiCall) -> Response:
    """One account."""
    return answer(objects.account(_named(call)))


@operation(
    "PATCH",
    f"{V1}/accounts/{{name}}",
    group="Accounts",
    account="none",
    places=(NAME,),
    body=ACCOUNT_CHANGES,
    answers={200: objects.ACCOUNT},
)
async def change_account(call: ApiCall) -> Response:
    """Change what is named, and keep the rest; the name itself stays."""
    old = _named(call)
    if call.body.get("name", old.name) != old.name:
        raise Invalid(("name", "An account keeps its name. Add another account instead."))
    changes = {**call.body, "name": old.name}
    changed = await call.services.control.change_account(
        old.name, lambda present: account_from(changes, defaults=present)
    )
    return answer(objects.account(changed))


@operation(
    "DELETE",
    f"{V1}/accounts/{{name}}",
    group="Accounts",
    account="none",
    places=(NAME,),
    answers={204: None},
    errors={409: "It is the last one."},
)
async def remove_account(call: ApiCall) -> Response:
    """Remove an account, and everything recorded under its name."""
    await call.services.control.remove_account(_named(call).name)
    return Response(status_code=204)


OPERATIONS = (list_accounts, add_account, get_account, change_account, remove_account)
