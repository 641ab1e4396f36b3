"""Commands for messages in both directions: send, reply, messages, wait, verify, requests, tail, findings."""

import sys
from typing import Any

import click

from sandbox import settings
from sandbox.client import Json, SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import as_json, duration, filters, for_client, given, limit, load, print_error

_after = click.option("--after", help="Only what came after this: a message's id, or a `seq`.")


@click.command()
@click.argument("text")
@click.option("--from", "sender", required=True, help="The shortcode.")
@click.option("--to", required=True, help="The handset's number.")
@click.option("--token", envvar=f"{settings.PREFIX}TOKEN", help="API token; else the default account's.")
@click.option("--session", "session_id", default="cli", show_default=True, help="session_id of the dialogue.")
@as_json
@for_client
def send(
    client: SandboxClient, text: str, sender: str, to: str, token: str | None, session_id: str, as_json: bool
) -> None:
    """Send an SMS through the gateway, as an application would.

    \b
    ninebits-sandbox send "Been to the cinema?" --from 48974 --to 2348020000000
    """
    from sandbox.clock import Clock, to_iso  # brings asyncio along

    token = token or _token_of(client.account)
    now = to_iso(Clock.system().now_ms())
    body = {"from": sender, "to": to, "message": text, "session_id": session_id, "sent_date": now}
    answer = client.submit(body, token=token)
    lines.show(answer, as_json, _accepted)


def _accepted(answer: Json) -> str:
    import json

    return settings.visible(f"accepted: {json.dumps(answer, ensure_ascii=False)}")


def _token_of(name: str | None) -> str:
    """The token that the settings give the account, without a name the first one."""
    accounts = load().settings.accounts
    found = accounts[0] if name is None else next((each for each in accounts if each.name == name), None)
    if found is None:
        raise click.UsageError(f"The settings know no account {settings.visible(name or '')}. Name its token: --token.")
    return found.token


@click.command()
@click.argument("msisdn")
@click.argument("text")
@click.option("--to", help="The shortcode; without it, the one that texted last.")
@click.option("--session", "session_id", help="session_id to carry; without it, the last one.")
@click.option("--new", is_flag=True, help="Start a new session; needs --to.")
@as_json
@for_client
def reply(
    client: SandboxClient, msisdn: str, text: str, to: str | None, session_id: str | None, new: bool, as_json: bool
) -> None:
    """Reply from a handset, and show what the webhook was answered.

    \b
    ninebits-sandbox reply 2348020000000 "yesterday"
    ninebits-sandbox reply 2348020000000 CINEMA --new --to 48974
    """
    more = {name: value for name, value in (("to", to), ("session_id", session_id)) if value}
    if new and not to:
        raise click.UsageError("--new needs --to SHORTCODE.")
    answer = client.send(msisdn, text, **more) if new else client.reply(msisdn, text, **more)
    lines.show(answer, as_json, lines.texted_lines)


@click.command()
@filters()
@_after
@limit
@as_json
@for_client
def messages(client: SandboxClient, as_json: bool, **wanted: Any) -> None:
    """List messages, the newest last."""
    lines.show(client.list("messages", **given(wanted)), as_json, lines.message_line, "messages")


@click.command()
@filters()
@_after
@click.option("--count", type=int, default=1, show_default=True, help="How many have to come.")
@click.option("--timeout", type=duration, default=5, show_default=True, help="How long to wait: 5, 500ms, 2m.")
@as_json
@for_client
def wait(client: SandboxClient, count: int, timeout: float, after: str | None, as_json: bool, **wanted: Any) -> None:
    """Wait for messages, and print them: exit 0, or 1 if they do not come.

    Messages that are there already count, unless --after leaves them out. What came closest is printed on stderr.

    \b
    ninebits-sandbox wait --to 2348020000000 --text "*cinema?*" --timeout 10
    """
    match = given(wanted)
    done = client.wait(timeout=timeout, count=count, **match, **given({"after": after}))
    if as_json:
        lines.show_json(done)
    else:
        for each in done["messages"]:
            click.echo(lines.message_line(each))
    if not done["satisfied"]:
        came = len(done["messages"])
        what = f"{came} of {count} messages" if came else "no message" if count == 1 else f"none of {count} messages"
        _unmet(f"{what} came within {lines.span(timeout)}{_like(match)}", done, as_json)


def _like(match: Json) -> str:
    return f": {lines.match_words(match)}" if match else ""


def _unmet(headline: str, done: Json, as_json: bool) -> None:
    """Say what was not so, if nobody reads that in JSON, and exit with 1."""
    if not as_json:
        print_error("\n".join(filter(None, [headline, lines.near_lines(done["near_misses"])])))
    sys.exit(1)


@click.command()
@filters()
@_after
@click.option("--exactly", type=int, help="No more and no fewer.")
@click.option("--at-least", type=int, help="So many or more; 1 if nothing else is said.")
@click.option("--at-most", type=int, help="So many or fewer.")
@click.option("--within", type=duration, default=0, help="How long messages may still come, or have to stay away.")
@as_json
@for_client
def verify(
    client: SandboxClient,
    exactly: int | None,
    at_least: int | None,
    at_most: int | None,
    within: float,
    after: Any,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Say whether as many messages match as should: exit 0 or 1.

    At once, or with --within as soon as it is decided.

    \b
    ninebits-sandbox verify --to 2348020000000 --text "*thank you*" --exactly 1 --within 2s
    """
    match = given(wanted)
    done = client.verify(match, exactly=exactly, at_least=at_least, at_most=at_most, within=within, after=after)
    if as_json:
        lines.show_json(done)
    else:
        for each in done["messages"]:
            click.echo(lines.message_line(each))
    if not done["satisfied"]:
        times = [("exactly", exactly), ("at least", at_least), ("at most", at_most)]
        said = " and ".join(f"{words} {number}" for words, number in times if number is not None) or "at least 1"
        came = len(done["messages"])
        found = "1 message matches" if came == 1 else f"{came or 'no'} messages match"
        _unmet(f"{found}, wanted {said}{_like(match)}", done, as_json)


@click.command()
@click.option("--verdict", type=click.Choice(["accepted", "refused"]))
@click.option("--unowned", is_flag=True, help="Instead: those whose token no account owns.")
@_after
@limit
@as_json
@for_client
def requests(client: SandboxClient, as_json: bool, **wanted: Any) -> None:
    """List calls to the gateway, and why some were refused.

    \b
    ninebits-sandbox requests --verdict refused
    """
    lines.show(client.list("requests", **given(wanted)), as_json, lines.request_line, "requests")


@click.command()
@click.option("--after", type=int, help="Begin after this event's number instead of now.")
@as_json
@for_client
def tail(client: SandboxClient, after: int | None, as_json: bool) -> None:
    """Print what happens as it happens, until interrupted."""
    for event in client.events(after):
        if as_json:
            lines.show_json(event)
        else:
            click.echo(lines.event_line(event))


@click.command()
@as_json
@for_client
def findings(client: SandboxClient, as_json: bool) -> None:
    """List what is suspicious about the application, the newest last.

    Follow-ups sent twice, wrong sessions, slow answers, texts that take more SMS than need be …
    """
    found = client.list("findings")
    lines.show(found, as_json, _finding_lines, "findings")
    if not found["findings"] and not as_json:
        click.echo("Nothing is suspicious.")


def _finding_lines(it: Json) -> str:
    about = " ".join([*it["message_ids"], it["webhook_delivery_id"] or ""]).strip()
    head = f"{it['at'][11:19]}  {it['code']:<17}  {about}"
    return "\n".join(settings.visible(each) for each in (head, f"    {it['message']}", f"    {it['hint']}"))


COMMANDS = (send, reply, messages, wait, verify, requests, tail, findings)
