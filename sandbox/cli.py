"""The command line's entry point: the commands, and the module of sandbox/commands that has each.

Only the module of the command that is called is imported, so that commands start quickly. Exit codes: 0 ok, 1 assertion
false or refused, 2 usage or settings, 3 cannot bind or reach, 4 database unusable, 5 already running. Text from the
wire is printed with control characters made visible.
"""

import atexit
import gc
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from sandbox.commands.options import CommandGroup

SECTIONS: Mapping[str, Mapping[str, str]] = {  # title -> command -> module
    "The sandbox": {"serve": "serving", "ready": "lifecycle", "config": "serving", "version": "serving"},
    "Talking": {"send": "messages", "reply": "messages"},
    "Looking": {
        "messages": "messages",
        "requests": "messages",
        "webhooks": "webhooks",
        "tail": "messages",
        "findings": "messages",
        "doctor": "webhooks",
    },
    "Testing": {
        "wait": "messages",
        "verify": "messages",
        "scenario": "scenarios",
        "fault": "faults",
        "clock": "clock",
    },
    "Housekeeping": {
        "accounts": "accounts",
        "reset": "lifecycle",
        "export": "transfer",
        "import": "transfer",
        "openapi": "serving",
    },
}
MODULES = {name: module for commands in SECTIONS.values() for name, module in commands.items()}


class _Lazy(CommandGroup):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        atexit.register(gc.freeze)  # nothing is collected at the end, which takes 11 ms that a shell script would wait
        return super().__call__(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MODULES:
            return None
        commands = import_module(f"sandbox.commands.{MODULES[cmd_name]}").COMMANDS
        found: click.Command = next(each for each in commands if each.name == cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in SECTIONS.items():
            with formatter.section(title):
                known = [(name, self.get_command(ctx, name)) for name in names]
                formatter.write_dl([(name, each.get_short_help_str(80)) for name, each in known if each is not None])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A local mock of the 9bits SMS gateway: the gateway, the handsets and the retries."""


if __name__ == "__main__":
    main()
