"""Commands for the sandbox as a whole: ready, reset."""

import sys

import click

from sandbox.client import SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import as_json, duration, for_client, print_error
from sandbox.settings import visible


@click.command()
@click.option("--wait", "seconds", type=duration, default=0, help="Wait so long for it to become ready.")
@as_json
@for_client
def ready(client: SandboxClient, seconds: float, as_json: bool) -> None:
    """Say whether the sandbox is ready: exit 0 if so, 3 if not.

    \b
    ninebits-sandbox ready --wait 10s
    """
    is_ready = client.wait_ready(seconds)
    if as_json:
        lines.show_json({"ready": is_ready})
    if not is_ready:
        print_error(f"{client.url} is not ready")
        sys.exit(3)


@click.command()
@click.option("--all", "everyone", is_flag=True, help="Of all accounts; then the clock goes back to the system's.")
@as_json
@for_client
def reset(client: SandboxClient, everyone: bool, as_json: bool) -> None:
    """Forget what was recorded of the account, or of all.

    Messages, calls, webhook deliveries, faults, runs, and everything that is due. Accounts and their settings stay.
    """
    name = None if everyone else client.account or _default_account(client)
    with client.for_account(name) as named:
        done = named.reset()
    what = "everything" if name is None else f"what was recorded of {visible(name)}"
    lines.show(done, as_json, lambda _: f"Forgotten: {what}")


def _default_account(client: SandboxClient) -> str:
    """The account that is meant by a call that names none."""
    names: list[str] = [each["name"] for each in client.list("accounts")["accounts"]]
    if "default" in names:
        return "default"
    if len(names) == 1:
        return names[0]
    raise click.UsageError(f"Name the account with --account ({', '.join(names)}), or all of them with --all.")


COMMANDS = (ready, reset)
