"""The command line: one short command per verb. Servers and clients are imported by the command that needs them.

Exit codes: 0 ok, 1 assertion false or refused, 2 usage or settings, 3 cannot bind or reach, 4 database unusable,
5 already running. Text from the wire is printed with control characters made visible.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sandbox import config
from sandbox.client import Json, SandboxClient
from sandbox.clock import to_iso
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.server import Address
    from sandbox.web.house import House


class _Group(click.Group):
    """Turns what can be broken into one message and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SandboxError as error:
            click.echo(f"ninebits-sandbox: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A local mock of the 9bits SMS gateway: the gateway, the handsets and the retries."""


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for every setting, made from the one table of them."""
    for key in reversed(config.KEYS):
        kind: Any = click.Choice(key.choices) if key.choices else str
        name = f"{key.flag}/--no-{key.flag[2:]}" if key.is_bool else key.flag
        command = click.option(
            name,
            key.name,
            default=None,
            type=bool if key.is_bool else kind,
            help=f"{key.help} [{key.env}; default {key.default_text}]",
        )(command)
    return click.option("--config", "file", type=click.Path(path_type=Path), help="The file that holds settings.")(
        command
    )


def _load(file: Path | None, flags: Mapping[str, object]) -> config.Loaded:
    given = {name: value for name, value in flags.items() if value is not None}
    return config.load(flags=given, environ=os.environ, cwd=Path.cwd(), file=file)


def _client_options(command: Callable[..., None]) -> Callable[..., None]:
    """How a client command finds its sandbox: by default where `serve` with the same settings would listen."""

    def with_client(url: str | None, account: str | None, **rest: Any) -> None:
        loaded = config.load(flags={}, environ=os.environ, cwd=Path.cwd(), file=None).settings
        url = url or config.url_of(loaded.host, loaded.port, tls=loaded.ssl_certfile is not None)
        rest["client"] = SandboxClient(url, account=account, control_token=loaded.control_token)
        command(**rest)

    with_client.__name__, with_client.__doc__ = command.__name__, command.__doc__
    with_client.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    options = (
        click.option("--url", envvar=f"{config.PREFIX}URL", help="Address of the sandbox [NINEBITS_SANDBOX_URL]."),
        click.option("--account", envvar=f"{config.PREFIX}ACCOUNT", help="Account to act for; else the default one."),
    )
    wrapped: Callable[..., None] = with_client
    for option in options:
        wrapped = option(wrapped)
    return wrapped


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def _print(value: Json, as_json: bool, line: Callable[[Json], str], plural: str | None = None) -> None:
    """One thing, or the things under `plural`, oldest first as a terminal reads."""
    if as_json:
        click.echo(json.dumps(value, ensure_ascii=True))
        return
    for each in reversed(value[plural]) if plural else [value]:
        click.echo(line(each))


def _message_line(it: Json) -> str:
    arrow = "→" if it["direction"] == "mt" else "←"
    handset, shortcode = (it["to"], it["from"]) if it["direction"] == "mt" else (it["from"], it["to"])
    return _visible(f"{it['at'][11:19]}  {it['id']:<6} {shortcode} {arrow} {handset}  {it['state']:<10} {it['text']}")


def _request_line(it: Json) -> str:
    why = "; ".join(each["message"] for each in it["problems"])
    return _visible(f"{it['at'][11:19]}  {it['id']:<6} {it['status_code']} {it['method']} {it['path']}  {why}")


def _delivery_line(it: Json) -> str:
    attempts = it["attempts"] if isinstance(it["attempts"], int) else len(it["attempts"])
    due = f"  next {it['next_attempt_at'][11:19]}" if it["next_attempt_at"] else ""
    return _visible(f"{it['created_at'][11:19]}  {it['id']:<6} {it['state']:<10} {attempts}×  {it['url']}{due}")


def _attempt_line(it: Json) -> str:
    result = it["status_code"] or it["outcome"] or "under way"
    took = f"{it['duration_ms']:.0f} ms" if it["duration_ms"] is not None else ""
    notes = " ".join(filter(None, [it["error"], *it["warnings"]]))
    return _visible(f"  #{it['number']:<2} +{it['offset_s']:g} s  {result} {took}  {it['trigger']}  {notes}").rstrip()


def _texted_line(it: Json) -> str:
    if it["message"] is None:
        return f"planned for {it['due_at']}"
    lines = [_message_line(it["message"])]
    if it["webhook_delivery"] is None:
        lines.append("  The account has no client_url, so nothing was posted.")
    else:
        lines += [_attempt_line(each) for each in it["webhook_delivery"]["attempts"]]
    return "\n".join(lines)


def _visible(text: str) -> str:
    return config.visible(text)


@main.command()
@_settings_options
@click.option("--demo", is_flag=True, help="Run a small sample application, a cinema survey, as client_url.")
def serve(demo: bool, file: Path | None, **flags: object) -> None:
    """Start the sandbox."""
    from sandbox import server

    settings = _load(file, flags).settings
    _log_to_stderr(settings.log_format)
    server.run(settings, demo=demo, on_ready=_banner)


@main.command()
@click.option("--wait", "seconds", type=float, default=0, help="Wait so many seconds for it to become ready.")
@_client_options
def ready(client: SandboxClient, seconds: float) -> None:
    """Say whether the sandbox is ready: exit 0 if so, 3 if not."""
    if not client.wait_ready(seconds):
        click.echo(f"ninebits-sandbox: {client.url} is not ready", err=True)
        sys.exit(3)


@main.command()
@click.argument("text")
@click.option("--from", "sender", required=True, help="The shortcode.")
@click.option("--to", required=True, help="The handset's number.")
@click.option("--token", envvar=f"{config.PREFIX}TOKEN", help="API token; else the default account's.")
@click.option("--session", "session_id", default="cli", show_default=True, help="session_id of the dialogue.")
@as_json
@_client_options
def send(
    client: SandboxClient, text: str, sender: str, to: str, token: str | None, session_id: str, as_json: bool
) -> None:
    """Send an SMS through the gateway, as an application would."""
    from sandbox.clock import Clock

    token = token or _token_of(client.account)
    now = to_iso(Clock.system().now_ms())
    body = {"from": sender, "to": to, "message": text, "session_id": session_id, "sent_date": now}
    answer = client.submit(body, token=token)
    _print(answer, as_json, lambda it: _visible(f"accepted: {json.dumps(it, ensure_ascii=False)}"))


def _token_of(name: str | None) -> str:
    """The token that the settings give the account, without a name the first one."""
    accounts = _load(None, {}).settings.accounts
    found = accounts[0] if name is None else next((each for each in accounts if each.name == name), None)
    if found is None:
        raise click.UsageError(f"The settings know no account {name}. Name its token with --token.")
    return found.token


@main.command()
@click.argument("msisdn")
@click.argument("text")
@click.option("--to", help="The shortcode; without it, the one that texted last.")
@click.option("--session", "session_id", help="session_id to carry; without it, the last one.")
@click.option("--new", is_flag=True, help="Start a new session; needs --to.")
@as_json
@_client_options
def reply(
    client: SandboxClient, msisdn: str, text: str, to: str | None, session_id: str | None, new: bool, as_json: bool
) -> None:
    """Reply from a handset, and show what the application's webhook answered."""
    more = {name: value for name, value in (("to", to), ("session_id", session_id)) if value}
    if new and not to:
        raise click.UsageError("--new needs --to SHORTCODE.")
    answer = client.send(msisdn, text, **more) if new else client.reply(msisdn, text, **more)
    _print(answer, as_json, _texted_line)


@main.command()
@click.option("--to", help="Only to this number.")
@click.option("--from", "sender", help="Only from this number.")
@click.option("--session", "session_id", help="Only of this session.")
@click.option("--direction", type=click.Choice(["mt", "mo"]))
@click.option("--text", help="Only texts like this, with * and ?.")
@click.option("--state", help="Only in this state.")
@click.option("--limit", type=int, default=50, show_default=True)
@as_json
@_client_options
def messages(client: SandboxClient, sender: str | None, as_json: bool, **filters: object) -> None:
    """List messages, the newest last."""
    _print(client.list("messages", **{"from": sender, **filters}), as_json, _message_line, "messages")


@main.command()
@click.option("--verdict", type=click.Choice(["accepted", "refused"]))
@click.option("--limit", type=int, default=50, show_default=True)
@as_json
@_client_options
def requests(client: SandboxClient, as_json: bool, **filters: object) -> None:
    """List calls to the gateway, the newest last."""
    _print(client.list("requests", **filters), as_json, _request_line, "requests")


@main.group()
def webhooks() -> None:
    """List, show, attempt and redeliver webhook deliveries."""


@webhooks.command("list")
@click.option("--state", help="Only in this state.")
@click.option("--limit", type=int, default=50, show_default=True)
@as_json
@_client_options
def webhooks_list(client: SandboxClient, as_json: bool, **filters: object) -> None:
    """List webhook deliveries, the newest last."""
    _print(client.list("webhook-deliveries", **filters), as_json, _delivery_line, "webhook_deliveries")


def _one_delivery(it: Json, as_json: bool) -> None:
    _print(it, as_json, lambda it: "\n".join([_delivery_line(it), *(_attempt_line(each) for each in it["attempts"])]))


@webhooks.command("show")
@click.argument("id")
@as_json
@_client_options
def webhooks_show(client: SandboxClient, id: str, as_json: bool) -> None:
    """Show a webhook delivery with its attempts."""
    _one_delivery(client.get("webhook-deliveries", id), as_json)


@webhooks.command("attempt")
@click.argument("id")
@as_json
@_client_options
def webhooks_attempt(client: SandboxClient, id: str, as_json: bool) -> None:
    """Attempt a webhook delivery now."""
    _one_delivery(client.attempt(id), as_json)


@webhooks.command("redeliver")
@click.argument("id")
@as_json
@_client_options
def webhooks_redeliver(client: SandboxClient, id: str, as_json: bool) -> None:
    """Deliver the same bytes again."""
    _one_delivery(client.redeliver(id), as_json)


@main.command()
@click.option("--after", type=int, help="Begin after this event's number instead of now.")
@as_json
@_client_options
def tail(client: SandboxClient, after: int | None, as_json: bool) -> None:
    """Print what happens as it happens, until interrupted."""
    for event in client.events(after):
        click.echo(json.dumps(event, ensure_ascii=True) if as_json else _event_line(event))


def _event_line(event: Json) -> str:
    start = f"{event['at'][11:23]}  {event['kind']:<21}"
    if event.get("message"):
        return f"{start} {_message_line(event['message'])[10:]}"
    if event.get("request"):
        return f"{start} {_request_line(event['request'])[10:]}"
    if event.get("webhook_delivery"):
        delivery = event["webhook_delivery"]
        last = f" {_attempt_line(delivery['attempts'][-1]).strip()}" if delivery["attempts"] else ""
        return f"{start} {delivery['id']:<6} {delivery['state']:<10}{last}"
    return _visible(f"{start} {event['msisdn'] or event['account'] or ''}").rstrip()


@main.group("config")
def config_group() -> None:
    """Look at the settings."""


@config_group.command("show")
@_settings_options
@as_json
def config_show(as_json: bool, file: Path | None, **flags: object) -> None:
    """Show every setting, its value, and where the value came from."""
    rows = config.rows(_load(file, flags))
    if as_json:
        found = [{"key": row.key, "value": row.value, "origin": row.origin} for row in rows]
        click.echo(json.dumps(found))
        return
    width = max(len(row.key) for row in rows)
    for row in rows:
        click.echo(f"{row.key:<{width}}  {row.value:<28}  {row.origin}")


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"ninebits-sandbox {installed_version('ninebits-sandbox')}")


def _banner(house: "House", address: "Address", demo_url: str | None) -> None:
    """What to do first: where everything is, and what survives a restart."""
    from sandbox.contract.requests import EXAMPLE

    account = house.accounts.get(house.settings.accounts[0].name) or house.settings.accounts[0]
    documented = account.token == config.DEFAULT_ACCOUNT.token
    memory = house.settings.db == ":memory:"
    token = account.token if documented else "$TOKEN"
    lines = [
        f"ninebits-sandbox {installed_version('ninebits-sandbox')}",
        "",
        f"  Pages      {address.url}/",
        f"  Base URL   {address.url}   in place of https://app.9bits.net:2081",
        f"  Token      {account.token if documented else config.mask(account.token)}   of the account {account.name}",
        f"  Replies    {_replies(account.client_url, demo_url)}",
        f"  Database   {'memory: nothing survives the end of this process' if memory else house.settings.db}",
    ]
    if not memory:
        lines.append("             messages and pending webhook deliveries survive a restart and a crash")
    if house.clock.frozen:
        lines.append("  Clock      stands still until it is advanced")
    elif house.clock.ahead_ms >= 1000:
        lines.append(f"  Clock      {house.clock.ahead_ms // 1000} s ahead, as before; a reset of everything ends that")
    if house.control_token and not house.settings.control_token:
        lines.append(f"  Control    {house.control_token}   which pages and control API ask for")
    elif house.settings.beyond_loopback and house.control_token is None:
        lines.append("  WARNING    anybody who reaches this address can read and change everything: no control token")
    lines += [
        "",
        "Send the documented example as your application would:",
        "",
        f"  curl {address.url}/ng/v1/sendsms -H 'Authorization: Bearer {token}' \\",
        f"    -H 'Content-Type: application/json' -d '{EXAMPLE}'",
        "",
    ]
    if demo_url:
        lines += ["Or open the page, make a handset and text CINEMA to 48974: the demo survey answers.", ""]
    click.echo("\n".join([*lines, "Ctrl+C stops the sandbox."]))
    sys.stdout.flush()


def _replies(client_url: str | None, demo_url: str | None) -> str:
    if client_url is None:
        return "go nowhere yet: name your application with --client-url http://127.0.0.1:8000/sms"
    what = "   the demo survey" if client_url == demo_url else ""
    return f"posted to {config.mask_url(client_url)}{what}"


class _OneLine(logging.Formatter):
    """One event, one line: control characters escaped; as text, or as a JSON object."""

    def __init__(self, form: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        if self._form == "text":
            return config.visible(super().format(record))
        fields = {
            "at": to_iso(round(record.created * 1000)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _log_to_stderr(form: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(form))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


if __name__ == "__main__":
    main()
