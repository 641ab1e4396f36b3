"""Commands for the sandbox's clock: clock show, freeze, advance, resume, system."""

import click

from sandbox.client import Json, SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import as_json, duration, for_client
from sandbox.settings import visible


@click.group()
def clock() -> None:
    """Look at the clock, let it stand still, advance it. All accounts share it."""


@clock.command("show")
@as_json
@for_client
def clock_show(client: SandboxClient, as_json: bool) -> None:
    """Show the time and what is due next."""
    _show(client.clock(), as_json)


@clock.command("freeze")
@as_json
@for_client
def clock_freeze(client: SandboxClient, as_json: bool) -> None:
    """Let the clock stand still until it is advanced or resumed."""
    _show(client.set_clock("freeze"), as_json)


@clock.command("advance")
@click.argument("by", type=duration)
@as_json
@for_client
def clock_advance(client: SandboxClient, by: float, as_json: bool) -> None:
    """Advance the clock, and return when everything that came due on the way has run to its end.

    \b
    ninebits-sandbox clock advance 30s      (or 5m, 2h, 1d)
    """
    with lines.ProgressLine() as progress:
        progress.say(f"advancing by {lines.span(by)} …")
        moved = client.set_clock("advance", by)
    _show(moved, as_json)


@clock.command("resume")
@as_json
@for_client
def clock_resume(client: SandboxClient, as_json: bool) -> None:
    """Let the clock run again, from where it stands."""
    _show(client.set_clock("resume"), as_json)


@clock.command("system")
@as_json
@for_client
def clock_system(client: SandboxClient, as_json: bool) -> None:
    """Let the clock run at the system's time; what is planned keeps its distance."""
    _show(client.set_clock("system"), as_json)


def _show(it: Json, as_json: bool) -> None:
    if as_json:
        lines.show_json(it)
        return
    how = "stands still" if it["frozen"] else "runs"
    click.echo(visible(f"{it['now']}  {how}, {_apart(it['ahead_s'])}"))
    if moments := it.get("moments"):
        click.echo(f"On the way something came due at {moments} moment{'s' if moments > 1 else ''}.")
    if it["due"]:
        click.echo("Next:")
        lines.show_table(("", each["due_at"], each["kind"], each["account"]) for each in it["due"])


def _apart(ahead_s: float) -> str:
    """The clock's difference to the system's in words, to a second."""
    seconds = round(abs(ahead_s))
    if not seconds:
        return "at the system's time"
    return f"{lines.span(seconds)} {'ahead of' if ahead_s > 0 else 'behind'} the system's"


COMMANDS = (clock,)
