"""Commands for scripted handsets: scenario list, show, check, run, stop, record.

A run is played by the sandbox and followed here. See scenario/script.py for what a file may say.
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sandbox.client import Json, Refused, SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import as_json, duration, for_client, print_error
from sandbox.settings import visible

if TYPE_CHECKING:  # brings a YAML parser along
    from sandbox.scenario.script import SourceError
    from sandbox.scenario.steps import Scenario

MOST = 1024 * 1024 + 1  # bytes that are read of a file: enough to see that it is larger than one may be
LOOK_S = 0.1  # between two looks at a run for which no message comes
PATIENCE_S = 60

_FILE = click.Path(path_type=Path)


@click.group()
def scenario() -> None:
    """Handsets that react by themselves: list, check, run, record."""


@scenario.command("list")
@as_json
@for_client
def scenario_list(client: SandboxClient, as_json: bool) -> None:
    """List the scenarios that can be played, built-in ones and the account's own."""
    found = client.list("scenarios")
    if as_json:
        lines.show_json(found)
    else:
        lines.show_table(
            (each["name"], each["origin"], _size(each["steps"], each["rules"]), each["description"])
            for each in found["scenarios"]
        )


def _size(steps: int, rules: int) -> str:
    said = [
        f"{number} {noun}{'s' if number > 1 else ''}" for number, noun in ((steps, "step"), (rules, "rule")) if number
    ]
    return ", ".join(said) or "empty"


@scenario.command("show")
@click.argument("name")
@click.option("-o", "--output", type=_FILE, help="Into this file, not to stdout.")
@as_json
@for_client
def scenario_show(client: SandboxClient, name: str, output: Path | None, as_json: bool) -> None:
    """Show a scenario's file, for one of your own to begin with.

    On a terminal control characters are made visible; a file or a pipe gets the text as it is.

    \b
    ninebits-sandbox scenario show happy-survey -o cinema.yaml
    """
    found = client.get("scenarios", name)
    if as_json:
        lines.show_json(found)
    else:
        lines.show_source(found["source"], output)


@scenario.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@as_json
def scenario_check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check scenario files, without any sandbox: exit 0 if they can be played, else 2.

    Every error of every file is printed at once, as file:line:column: what is wrong.
    """
    checked = [(path, _read(path)[1]) for path in files]
    errors = [each for _, found in checked if isinstance(found, tuple) for each in found]
    if as_json:
        told = [{"file": it.file, "line": it.line, "column": it.column, "message": it.message} for it in errors]
        lines.show_json({"ok": not errors, "errors": told})
    else:
        for path, found in checked:
            if isinstance(found, tuple):
                for each in found:
                    click.echo(visible(str(each)))
            else:
                click.echo(visible(f"{path}: good, {_size(len(found.steps), len(found.rules))}"))
    if errors:
        sys.exit(2)


def _read(path: Path) -> "tuple[str, Scenario | tuple[SourceError, ...]]":
    """The text of a file, and the scenario in it or every error about it."""
    from sandbox.scenario import script

    def unread(line: int, column: int, message: str) -> "tuple[str, tuple[SourceError, ...]]":
        return "", (script.SourceError(file=str(path), line=line, column=column, message=message),)

    try:
        with path.open("rb") as file:
            raw = file.read(MOST)
        # A file that is too large is complained about by its size, and not by what stands where it was cut off.
        source = raw.decode("utf-8-sig", "strict" if len(raw) < MOST else "replace")
    except OSError as error:
        return unread(1, 1, f"The file cannot be read: {error.strerror}.")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        message = "Here is something that is no UTF-8. Save the file as UTF-8."
        return unread(before.count("\n") + 1, len(before) - before.rfind("\n"), message)
    return source, script.read(source, name=str(path))


# Runs --------------------------------------------------------------------------------------------------------------


@scenario.command("run")
@click.argument("what", metavar="NAME|FILE")
@click.option("--handset", "msisdn", help="The handset's number; else the scenario's, or the first that is texted.")
@click.option(
    "--wait",
    "wait_s",
    type=duration,
    default=PATIENCE_S,
    show_default=True,
    help="How long it may take; 0 starts it and leaves it running.",
)
@as_json
@for_client
def scenario_run(client: SandboxClient, what: str, msisdn: str | None, wait_s: float, as_json: bool) -> None:
    """Run a scenario, and print each step as it is done: exit 0 if it finishes, 1 if it fails or takes too long.

    A file (*.yaml, or anything with a slash) is first uploaded under the name that it says. A run that takes too long
    is stopped. A scenario that has rules alone goes on for ever: it is left running.

    \b
    ninebits-sandbox scenario run happy-survey --handset 2348020000000
    ninebits-sandbox scenario run ./cinema.yaml --wait 2m
    """
    script = _uploaded(client, Path(what)) if _is_file(what) else _known(client, what)
    run = client.start_run(what if script is None else script.name, msisdn)
    if not wait_s or not run["steps"]:
        lines.show(run, as_json, _run_line)
        return
    try:
        run = _followed(client, run, script, wait_s)
    except KeyboardInterrupt:
        _stop(client, run)
        raise
    if late := run["state"] == "running":
        run = _stop(client, run)
    lines.show(run, as_json, _run_line)
    if run["state"] != "finished":
        if not as_json:
            print_error(_failure(run, script, wait_s if late else None))
        sys.exit(1)


def _is_file(what: str) -> bool:
    return what.endswith((".yaml", ".yml")) or "/" in what or "\\" in what


def _uploaded(client: SandboxClient, path: Path) -> "Scenario":
    source, found = _read(path)
    if isinstance(found, tuple):
        print_error("\n".join(["the scenario cannot be played:", *map(str, found)]))
        sys.exit(2)
    client.put_scenario(found.name, source)
    return found


def _known(client: SandboxClient, name: str) -> "Scenario | None":
    """A scenario of the sandbox; None if only the sandbox's version can read it."""
    from sandbox.scenario import script

    found = script.read(client.get("scenarios", name)["source"])
    return None if isinstance(found, tuple) else found


def _followed(client: SandboxClient, run: Json, script: "Scenario | None", seconds: float) -> Json:
    """The run when it has ended, or the time is over. Its steps are told on stderr as they are done."""
    from sandbox.clock import stopwatch  # brings asyncio along

    end, seen, told = stopwatch() + seconds, run["seq"], 0
    while True:
        run = client.get_run(run["scenario"], run["id"])
        for step in range(told, run["step"]):
            click.echo(_step_line(step, run, script), err=True)
        told, left = run["step"], end - stopwatch()
        if run["state"] != "running" or left <= 0:
            return run
        # In a wait a clock that stands still jumps to what is due next.
        seen = client.wait(timeout=min(left, _look_s(client, run["account"])), after=seen)["seq"]


def _look_s(client: SandboxClient, account: str) -> float:
    """How long to wait for a message before the next look."""
    clock = client.clock()
    due = next((each for each in clock["due"] if each["account"] == account), None)
    if not clock["frozen"] or due is None or due["kind"] != "window":
        return LOOK_S
    # The time that a step gives the application has to pass in earnest before a clock that stands still jumps.
    gap = datetime.fromisoformat(due["due_at"]) - datetime.fromisoformat(clock["now"])
    return gap.total_seconds() + LOOK_S


def _stop(client: SandboxClient, run: Json) -> Json:
    try:
        return client.stop_run(run["scenario"], run["id"])
    except Refused:  # it has ended meanwhile
        return client.get_run(run["scenario"], run["id"])


def _run_line(run: Json) -> str:
    steps = f"{run['step']} of {run['steps']} steps" if run["steps"] else "rules alone"
    return visible(f"{run['id']}  {run['scenario']}  {run['state']}, {steps}  {run['msisdn'] or ''}").rstrip()


def _step_line(step: int, run: Json, script: "Scenario | None") -> str:
    total = str(run["steps"])
    return f"  {step + 1:>{len(total)}}/{total}  {_words(step, script)}".rstrip()


def _words(step: int, script: "Scenario | None") -> str:
    from sandbox.commands.steps import words

    return "" if script is None or step >= len(script.steps) else visible(words(script.steps[step]))


def _failure(run: Json, script: "Scenario | None", late_s: float | None) -> str:
    """Why a run did not finish, and which messages it had no use for."""
    how = "has failed" if run["state"] == "failed" else "was stopped"
    if late_s is not None:
        how += f", because it had not finished within {lines.span(late_s)}"
    told = [
        f"the scenario {run['scenario']} {how}",
        f"  at step {run['step'] + 1} of {run['steps']}: {_words(run['step'], script)}".removesuffix(": "),
    ]
    if run["reason"]:
        told.append(f"  {run['reason']}")
    for miss in run["misses"]:
        told += [f"  {miss['message_id']} did not fit {miss['about']}:", *lines.difference_lines(miss["differences"])]
    return "\n".join(told)


@scenario.command("stop")
@click.argument("id", metavar="RUN")
@as_json
@for_client
def scenario_stop(client: SandboxClient, id: str, as_json: bool) -> None:
    """Stop a run that was left running.

    What it had planned does not happen, and its faults are removed.
    """
    running = client.list("runs", state="running", limit=500)["runs"]
    run = next((each for each in running if each["id"] == id), None)
    if run is None:
        ids = ", ".join(each["id"] for each in running) or "none"
        print_error(f"{id} is no run that is running; running: {ids}")
        sys.exit(1)
    lines.show(_stop(client, run), as_json, _run_line)


@scenario.command("record")
@click.argument("msisdn")
@click.option("--shortcode", help="Only the conversation with this one.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["scenario", "pytest", "text"]),
    default="scenario",
    show_default=True,
    help="To be played again, as a test, or for people.",
)
@click.option("-o", "--output", type=_FILE, help="Into this file, not to stdout.")
@as_json
@for_client
def scenario_record(
    client: SandboxClient, msisdn: str, shortcode: str | None, form: str, output: Path | None, as_json: bool
) -> None:
    """Make a scenario, a pytest test or a transcript of what a handset and the application said.

    \b
    ninebits-sandbox scenario record 2348020000000 -o cinema.yaml
    ninebits-sandbox scenario record 2348020000000 --as pytest -o test_cinema.py
    """
    written = client.transcript(msisdn, form, shortcode)
    if as_json:
        lines.show_json({"msisdn": msisdn, "as": form, "content": written})
    else:
        lines.show_source(written, output)


COMMANDS = (scenario,)
