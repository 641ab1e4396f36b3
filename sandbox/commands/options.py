"""Options that commands share: which sandbox is meant, filters, durations; and the exit codes of errors.

No command is here, and only errors are printed.
"""

import os
import sys
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TypeVar

import click

from sandbox import settings as config
from sandbox.errors import SandboxError
from sandbox.values.kinds import InvalidValue, Seconds

Command = TypeVar("Command", bound=Callable[..., Any])


class CommandGroup(click.Group):
    """A click group that turns a SandboxError into one message and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show ₦ shows \u20a6, and no command fails
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except SandboxError as error:
            print_error(str(error))
            ctx.exit(error.exit_code)


def print_error(text: str) -> None:
    """Print an error to stderr: why a command does not end with 0."""
    click.echo(f"ninebits-sandbox: {visible_lines(text)}", err=True)


def visible_lines(text: str) -> str:
    """`text` with every control character made visible but the line breaks."""
    return "\n".join(map(config.visible, text.split("\n")))


def load(file: Path | None = None, flags: Mapping[str, object] | None = None) -> config.Loaded:
    return config.load(flags=flags or {}, environ=os.environ, cwd=Path.cwd(), file=file)


# The sandbox -------------------------------------------------------------------------------------------------------


def for_client(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that gives a command its `client`: of the sandbox that is named, or that `serve` would start here."""

    def with_client(url: str | None, account: str | None, control_token: str | None, **rest: Any) -> None:
        from sandbox.client import SandboxClient  # brings an HTTP client along, which a start of `serve` can do without

        settings = load().settings
        url = url or config.url_of(settings.host, settings.port, tls=settings.ssl_certfile is not None)
        token = control_token or settings.control_token
        with SandboxClient(url, account=account, control_token=token) as client:
            command(client=client, **rest)

    with_client.__name__, with_client.__doc__ = command.__name__, command.__doc__
    with_client.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    options = (
        click.option("--control-token", help="What the sandbox asks for [NINEBITS_SANDBOX_CONTROL_TOKEN]."),
        click.option(
            "--account",
            envvar=f"{config.PREFIX}ACCOUNT",
            help="Account to act for; else the default one [NINEBITS_SANDBOX_ACCOUNT].",
        ),
        click.option("--url", envvar=f"{config.PREFIX}URL", help="Address of the sandbox [NINEBITS_SANDBOX_URL]."),
    )
    wrapped: Callable[..., None] = with_client
    for option in options:
        wrapped = option(wrapped)
    return wrapped


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
limit = click.option("--limit", type=int, default=50, show_default=True, help="How many at most, the newest.")


def settings_options(command: Command) -> Command:
    """Decorator with a flag for every setting, made from the table in settings.py."""
    for key in reversed(config.KEYS):
        command = _setting(key, f"{key.env}; ")(command)
    return command


def account_options(command: Command) -> Command:
    """The same for the settings of an account, except its name."""
    for key in reversed(config.KEYS):
        if key.scope == "account" and key.name != "name":
            command = _setting(key, "")(command)
    return command


def _setting(key: config.Key, origin: str) -> Callable[[Command], Command]:
    kind: Any = click.Choice(key.choices) if key.choices else str
    return click.option(
        f"{key.flag}/--no-{key.flag[2:]}" if key.is_bool else key.flag,
        key.name,
        default=None,
        type=bool if key.is_bool else kind,
        help=f"{key.help} [{origin}default {key.default_text}]",
    )


# Arguments ---------------------------------------------------------------------------------------------------------


def duration(value: object) -> float:
    """Seconds of a time such as `500ms`, `5m`, `1h30m`; a number alone is seconds. As a type of an option."""
    try:
        return Seconds().from_text(str(value))
    except InvalidValue as error:
        raise click.BadParameter(f"The time {error}") from None


_FILTERS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("to", {"help": "Only to this number."}),
    ("from", {"help": "Only from this number."}),
    ("session_id", {"help": "Only of this session."}),
    ("direction", {"type": click.Choice(["mt", "mo"]), "help": "From the application (mt), or from a handset (mo)."}),
    ("text", {"help": "Only texts like this, with * and ?."}),
    ("pattern", {"help": "Only texts in which this regular expression is found."}),
    ("ignore_case", {"is_flag": True, "help": "Let --text and --pattern take A for a."}),
    ("state", {"help": "Only in this state: accepted, arrived, delivered, retrying …"}),
    ("segments", {"type": int, "help": "Only texts that take so many SMS."}),
    ("encoding", {"type": click.Choice(["GSM-7", "UCS-2"]), "help": "Only texts that need this encoding."}),
)


def filters(*, leave_out: str = "") -> Callable[[Command], Command]:
    """Decorator with the filters of the control API as options, passed on under the API's own names."""

    def with_filters(command: Command) -> Command:
        for name, how in reversed(_FILTERS):
            if name != leave_out:
                flag = "--session" if name == "session_id" else f"--{name.replace('_', '-')}"
                command = click.option(flag, name, **how)(command)
        return command

    return with_filters


def given(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Those filters that were given."""
    return {name: value for name, value in filters.items() if value is not None and value is not False}
