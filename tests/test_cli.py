"""The command line as a whole: which commands there are, what all have in common, what a start imports."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from sandbox.cli import MODULES, main

UNUSED = ("starlette", "uvicorn", "jinja2", "yaml", "regex", "asyncio", "importlib.metadata", "logging")
"""What a command that talks to a running sandbox does not wait for."""

WITHOUT_JSON = {  # their output is what it is
    "serve",
    "version",
    "openapi",
    "export",
}
WITHOUT_SANDBOX = {"serve", "version", "openapi", "config show", "scenario check"}


def commands(group: click.Group = main, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its whole name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


COMMANDS = dict(commands())


def test_every_command_of_a_module_is_reached_and_no_other() -> None:
    modules = {name: import_module(f"sandbox.commands.{name}") for name in set(MODULES.values())}
    there = {(each.name, name) for name, module in modules.items() for each in module.COMMANDS}
    assert there == set(MODULES.items())


def test_help_names_every_command_on_a_line_of_its_own() -> None:
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).stdout
    listed = [line for line in shown[shown.index("--help") :].splitlines()[1:] if line.startswith("  ")]
    assert [line.split()[0] for line in listed] == list(MODULES)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_a_command_that_is_none_is_exit_code_2() -> None:
    done = CliRunner().invoke(main, ["massages"])
    assert done.exit_code == 2
    assert "massages" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_in_one_line_what_it_does(name: str) -> None:
    shown = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=200)
    assert shown.exit_code == 0
    usage, _, summary, *_ = shown.stdout.splitlines()
    assert usage.startswith(f"Usage: main {name} ")
    assert summary.strip().rstrip(".").count(". ") == 0
    assert summary.endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_options_that_all_have(name: str) -> None:
    options = {option for each in COMMANDS[name].params for option in each.opts}
    assert ("--json" in options) is (name not in WITHOUT_JSON)
    assert ({"--url", "--account", "--control-token"} <= options) is (name not in WITHOUT_SANDBOX)


@pytest.mark.parametrize("name", sorted(set(MODULES.values()) - {"serving"}))
def test_a_command_does_not_import_what_it_does_not_use(name: str) -> None:
    code = f"import sandbox.cli, sandbox.commands.{name}, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    loaded = set(json.loads(done.stdout))
    assert loaded & set(UNUSED) == set()
    own = {each for each in loaded if each.startswith("sandbox.")}
    assert own - {f"sandbox.commands.{name}"} == {
        "sandbox.cli",
        "sandbox.client",
        "sandbox.commands",
        "sandbox.commands.lines",
        "sandbox.commands.options",
        "sandbox.settings",
        "sandbox.errors",
        "sandbox.testkit",
        "sandbox.testkit.transport",
        "sandbox.model",
        "sandbox.values",
        "sandbox.values.kinds",
        "sandbox.values.numbers",
        "sandbox.wire",
        "sandbox.wire.numbers",
        "sandbox.wire.problems",
    }
