"""Commands for faults, failures that someone asks for: fault add, list, remove."""

from typing import Any

import click

from sandbox.client import Json, SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import as_json, duration, filters, for_client, given, limit


@click.group()
def fault() -> None:
    """Let calls to the gateway, or webhooks, fail: add, list, remove."""


@fault.command("add")
@click.argument("on", type=click.Choice(["sendsms", "webhook"]))
@click.option("--status", type=int, help="Answer with this status, 400 to 599, instead.")
@click.option("--body", help="The body of that answer.")
@click.option("--delay", type=duration, help="Real time before anything happens: 3s, 500ms.")
@click.option(
    "--drop",
    type=click.Choice(["refused", "accepted", "body"]),
    help="Close the connection: before anything was accepted, after it, or in the middle of the answer's body.",
)
@click.option("--hold", is_flag=True, help="Answer nothing until the fault is removed.")
@click.option("--times", type=int, default=1, show_default=True, help="How many calls fail.")
@click.option("--always", is_flag=True, help="Every call fails until the fault is removed.")
@filters(leave_out="state")
@as_json
@for_client
def fault_add(
    client: SandboxClient,
    on: str,
    status: int | None,
    body: str | None,
    delay: float | None,
    drop: str | None,
    hold: bool,
    times: int,
    always: bool,
    as_json: bool,
    **match: Any,
) -> None:
    """Let the next calls of sendsms, or the next webhooks, fail.

    With filters, only those with such a message.

    \b
    ninebits-sandbox fault add sendsms --status 503 --times 2
    ninebits-sandbox fault add webhook --drop accepted --to 48974
    """
    effect = given({"status": status, "body": body, "delay_s": delay, "drop": drop, "hold": hold})
    made = client.add_fault(on, effect, times=None if always else times, match=given(match))
    if as_json:
        lines.show_json(made)
    else:
        lines.show_table([_row(made)])


@fault.command("list")
@limit
@as_json
@for_client
def fault_list(client: SandboxClient, as_json: bool, **wanted: Any) -> None:
    """List faults, the newest last, and how often each still strikes."""
    found = client.list("faults", **wanted)
    if as_json:
        lines.show_json(found)
    else:
        lines.show_table(map(_row, reversed(found["faults"])))


@fault.command("remove")
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="Remove all faults of the account.")
@as_json
@for_client
def fault_remove(client: SandboxClient, ids: tuple[str, ...], everyone: bool, as_json: bool) -> None:
    """Remove faults; calls that they hold go on."""
    if everyone is bool(ids):
        raise click.UsageError("Name the faults to remove, as `fault list` shows them, or --all.")
    if everyone:
        client.clear_faults()
    for each in ids:
        client.remove_fault(each)
    if as_json:
        lines.show_json({"removed": list(ids) or "all"})


def _row(it: Json) -> tuple[str, ...]:
    left = "until it is removed" if it["times"] is None else f"{it['left']} of {it['times']} left"
    return it["id"], it["on"], _effect(it["effect"]), left, lines.match_words(it["match"])


def _effect(it: Json) -> str:
    said = [f"after {it['delay_s']:g} s"] if it["delay_s"] else []
    if it["status"] is not None:
        said.append(f"answers {it['status']}")
    if it["drop"] is not None:
        said.append(f"drops: {it['drop']}")
    if it["hold"]:
        said.append("holds")
    return " ".join(said)


COMMANDS = (fault,)
