"""Commands that need no running sandbox: serve, config, openapi, version.

The server is imported inside the commands that need it, so that the others start quickly.
"""

import json
import logging
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sandbox import settings
from sandbox.clock import to_iso
from sandbox.commands.options import as_json, load, settings_options
from sandbox.wire.problems import mask

if TYPE_CHECKING:
    from sandbox.core.services import Services
    from sandbox.server import Address

_file = click.option("--config", "file", type=click.Path(path_type=Path), help="The file that holds settings.")


@click.command()
@_file
@settings_options
@click.option("--demo", is_flag=True, help="Run a small sample application, a cinema survey, as client_url.")
def serve(demo: bool, file: Path | None, **flags: object) -> None:
    """Start the sandbox.

    \b
    ninebits-sandbox serve --client-url http://127.0.0.1:8000/sms
    ninebits-sandbox serve --demo
    """
    from sandbox import server

    loaded = load(file, flags)
    _log_to_stderr(loaded.settings.log_format)
    server.run(loaded.settings, demo=demo, origin=loaded.origin, on_ready=_banner)


@click.group("config")
def config_group() -> None:
    """Look at the settings."""


@config_group.command("show")
@_file
@settings_options
@as_json
def config_show(as_json: bool, file: Path | None, **flags: object) -> None:
    """Show every setting, its value, and where the value came from."""
    rows = settings.rows(load(file, flags))
    if as_json:
        found = [{"key": row.key, "value": row.value, "origin": row.origin} for row in rows]
        click.echo(json.dumps(found))
        return
    width = max(len(row.key) for row in rows)
    for row in rows:
        click.echo(f"{row.key:<{width}}  {row.value:<28}  {row.origin}")


@click.command()
def openapi() -> None:
    """Print the OpenAPI document; no sandbox has to run."""
    from sandbox.api.openapi import document

    click.echo(json.dumps(document(), ensure_ascii=True, indent=2))


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"ninebits-sandbox {installed_version('ninebits-sandbox')}")


def _banner(services: "Services", address: "Address", demo_url: str | None) -> None:
    """The text that `serve` prints at start: where everything is, and what survives a restart."""
    from sandbox.wire.requests import EXAMPLE

    account = services.accounts.get(services.settings.accounts[0].name) or services.settings.accounts[0]
    documented = account.token == settings.DEFAULT_ACCOUNT.token
    memory = services.settings.db == ":memory:"
    token = account.token if documented else "$TOKEN"
    said = [
        f"ninebits-sandbox {installed_version('ninebits-sandbox')}",
        "",
        f"  Pages      {address.url}/",
        f"  Base URL   {address.url}   in place of https://app.9bits.net:2081",
        f"  Token      {account.token if documented else mask(account.token)}   of the account {account.name}",
        f"  Replies    {_replies(account.client_url, demo_url)}",
        f"  Database   {'memory: nothing survives the end of this process' if memory else services.settings.db}",
    ]
    if not memory:
        said.append("             messages and pending webhook deliveries survive a restart and a crash")
    if services.clock.frozen:
        said.append("  Clock      stands still until it is advanced")
    elif services.clock.ahead_ms >= 1000:
        said.append(f"  Clock      {services.clock.ahead_ms // 1000} s ahead, as before; `clock system` ends that")
    if services.control_token and not services.settings.control_token:
        said.append(f"  Control    {services.control_token}   which pages and control API ask for")
    elif services.settings.beyond_loopback and services.control_token is None:
        said.append("  WARNING    anybody who reaches this address can read and change everything: no control token")
    said += [
        "",
        "Send the documented example as your application would:",
        "",
        f"  curl {address.url}/ng/v1/sendsms -H 'Authorization: Bearer {token}' \\",
        f"    -H 'Content-Type: application/json' -d '{EXAMPLE}'",
        "",
    ]
    if demo_url:
        said += ["Or open the page, make a handset and text CINEMA to 48974: the demo survey answers.", ""]
    click.echo("\n".join([*said, "Ctrl+C stops the sandbox."]))
    sys.stdout.flush()


def _replies(client_url: str | None, demo_url: str | None) -> str:
    if client_url is None:
        return "go nowhere yet: name your application with --client-url http://127.0.0.1:8000/sms"
    what = "   the demo survey" if client_url == demo_url else ""
    return f"posted to {settings.mask_url(client_url)}{what}"


class _OneLine(logging.Formatter):
    """Log formatter, one event a line: control characters escaped; as text, or as a JSON object."""

    def __init__(self, form: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        if self._form == "text":
            return settings.visible(super().format(record))
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


COMMANDS = (serve, config_group, openapi, version)
