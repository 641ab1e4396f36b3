"""Commands for webhook deliveries: webhooks list, show, attempt, redeliver; and doctor, which checks the way to
client_url."""

import sys
from typing import Any, BinaryIO

import click

from sandbox.client import Json, SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import as_json, for_client, given, limit, print_error
from sandbox.model import MAX_PAYLOAD
from sandbox.settings import visible


@click.group()
def webhooks() -> None:
    """List, show, attempt and redeliver webhook deliveries."""


@webhooks.command("list")
@click.option("--state", help="Only in this state: pending, retrying, delivered, rejected, exhausted …")
@limit
@as_json
@for_client
def webhooks_list(client: SandboxClient, as_json: bool, **wanted: Any) -> None:
    """List webhook deliveries, the newest last."""
    found = client.list("webhook-deliveries", **given(wanted))
    lines.show(found, as_json, lines.delivery_line, "webhook_deliveries")


@webhooks.command("show")
@click.argument("id")
@as_json
@for_client
def webhooks_show(client: SandboxClient, id: str, as_json: bool) -> None:
    """Show a webhook delivery with its attempts."""
    lines.show(client.get("webhook-deliveries", id), as_json, lines.delivery_lines)


@webhooks.command("attempt")
@click.argument("id")
@as_json
@for_client
def webhooks_attempt(client: SandboxClient, id: str, as_json: bool) -> None:
    """Attempt a webhook delivery now."""
    lines.show(client.attempt(id), as_json, lines.delivery_lines)


@webhooks.command("redeliver")
@click.argument("id")
@click.option("--body", type=click.File("rb"), help="Deliver what is in this file instead; - is standard input.")
@as_json
@for_client
def webhooks_redeliver(client: SandboxClient, id: str, as_json: bool, body: BinaryIO | None) -> None:
    """Deliver the same bytes again, or others.

    \b
    ninebits-sandbox webhooks redeliver w15
    echo 'no JSON at all' | ninebits-sandbox webhooks redeliver w15 --body -
    """
    more = {} if body is None else {"body": _text_of(body)}
    lines.show(client.redeliver(id, **more), as_json, lines.delivery_lines)


def _text_of(file: BinaryIO) -> str:
    found = file.read(MAX_PAYLOAD + 1)
    if len(found) > MAX_PAYLOAD:
        wrong = f"There are more than {MAX_PAYLOAD:,} bytes. Send less."
    else:
        try:
            return found.decode()
        except UnicodeDecodeError as error:
            wrong = f"Byte {error.start} is not UTF-8. Any text can be sent, JSON or not, but no other bytes."
    raise click.BadParameter(wrong, param_hint="--body")


@click.command()
@click.option("--client-url", help="Check this address instead of the account's client_url.")
@click.option("--post", is_flag=True, help="Post a webhook as well, which your application has to answer.")
@as_json
@for_client
def doctor(client: SandboxClient, client_url: str | None, post: bool, as_json: bool) -> None:
    """Check the way to client_url, and say how to fix what is broken.

    Address, DNS, TCP, TLS, HTTP and the JSON of the answer: exit 0 if all are well, else 1.

    \b
    ninebits-sandbox doctor --post
    ninebits-sandbox doctor --client-url http://host.docker.internal:8000/sms
    """
    asked = given({"url": client_url, "post": post})
    found = client.doctor(**asked)
    if as_json:
        lines.show_json(found)
    else:
        click.echo(visible(found["url"] or "no client_url"))
        for check in found["checks"]:
            click.echo(_check_lines(check))
    if not found["ok"]:
        if not as_json:
            broken = [each["name"] for each in found["checks"] if each["ok"] is False]
            print_error(f"the way to the application is broken: {', '.join(broken) or 'see above'}")
        sys.exit(1)


_MARKS = {True: "ok", False: "BROKEN", None: "-"}


def _check_lines(it: Json) -> str:
    took = f"  ({it['duration_ms']:.0f} ms)" if it["duration_ms"] >= 1 else ""
    written = [visible(f"  {_MARKS[it['ok']]:<6}  {it['name']:<5} {it['detail']}{took}").rstrip()]
    if it.get("hint"):
        written.append(visible(f"{'':16}{it['hint']}"))
    return "\n".join(written)


COMMANDS = (webhooks, doctor)
