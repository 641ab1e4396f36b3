"""Commands for accounts: accounts list, show, add, set, remove."""

from typing import Any

import click

from sandbox.client import Json, SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import account_options, as_json, for_client


@click.group()
def accounts() -> None:
    """List, add, change and remove accounts. Each sees nothing of the others."""


@accounts.command("list")
@as_json
@for_client
def accounts_list(client: SandboxClient, as_json: bool) -> None:
    """List accounts: name, token (masked), shortcodes, client_url."""
    found = client.list("accounts")
    if as_json:
        lines.show_json(found)
        return
    lines.show_table(
        (
            each["name"],
            each["token"],
            ", ".join(each["shortcodes"]) or "any shortcode",
            each["client_url"] or "no client_url",
        )
        for each in found["accounts"]
    )


@accounts.command("show")
@click.argument("name")
@as_json
@for_client
def accounts_show(client: SandboxClient, name: str, as_json: bool) -> None:
    """Show an account's settings; secrets are masked."""
    _show(client.get("accounts", name), as_json)


@accounts.command("add")
@click.argument("name")
@account_options
@as_json
@for_client
def accounts_add(client: SandboxClient, name: str, token: str | None, as_json: bool, **settings: object) -> None:
    """Add an account.

    \b
    ninebits-sandbox accounts add team-2 --token a-token-of-team-2 --client-url http://127.0.0.1:8001/sms
    """
    if not token:
        raise click.UsageError("An account needs a token of its own: --token TOKEN.")
    _show(client.add_account(name, token, **_given(settings)), as_json)


@accounts.command("set")
@click.argument("name")
@account_options
@as_json
@for_client
def accounts_set(client: SandboxClient, name: str, as_json: bool, **settings: object) -> None:
    """Change what is named, and keep the rest; empty text takes a value away.

    \b
    ninebits-sandbox accounts set default --client-url http://127.0.0.1:8000/sms --retry fast
    """
    changes = _given(settings)
    if not changes:
        raise click.UsageError("Name what to change: ninebits-sandbox accounts set --help lists it.")
    _show(client.change_account(name, **changes), as_json)


@accounts.command("remove")
@click.argument("name")
@as_json
@for_client
def accounts_remove(client: SandboxClient, name: str, as_json: bool) -> None:
    """Remove an account and everything recorded under its name."""
    client.remove_account(name)
    if as_json:
        lines.show_json({"removed": name})


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """What was named; False is a value as well."""
    return {name: value for name, value in settings.items() if value is not None}


def _show(it: Json, as_json: bool) -> None:
    if as_json:
        lines.show_json(it)
    else:
        lines.show_table((name, _value(value)) for name, value in it.items() if name != "id")


def _value(value: object) -> str:
    match value:
        case None | []:
            return "-"
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)


COMMANDS = (accounts,)
