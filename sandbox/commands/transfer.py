"""What is recorded of an account, in files: export, import.

What a line may say is checked by the store's own reader; here a file is cut into parts that a sandbox takes at once.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from sandbox.client import Json, Refused, SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import as_json, complain, for_client
from sandbox.config import visible

PART = 768 * 1024
"""Bytes of a part: a sandbox takes 1 MiB, unless its settings say otherwise."""

_FOLLOWING = ("webhook_delivery", "attempt")  # lines that belong to the message before


@click.command("export")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Into this file, not to stdout.")
@for_client
def export(client: SandboxClient, output: Path | None) -> None:
    """Write what is recorded of the account as JSON Lines.

    Secrets are masked, and nothing is removed. A file is there when it is complete.

    \b
    ninebits-sandbox export -o monday.jsonl
    ninebits-sandbox export | ninebits-sandbox import - --account copy
    """
    pieces = client.exported()
    if output is not None:
        lines.write_whole(output, _counted(pieces))
        return
    for piece in pieces:
        sys.stdout.buffer.write(piece)


def _counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, with their size on a terminal while they pass."""
    size = 0
    with lines.Progress() as progress:
        for piece in pieces:
            size += len(piece)
            progress.say(f"{size / 1024 / 1024:.1f} MiB")
            yield piece


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@as_json
@for_client
def import_(client: SandboxClient, file: str, as_json: bool) -> None:
    """Take in what export wrote, under the account; `-` is stdin.

    A file with faults is refused as a whole, with its lines. Nothing is posted to any application because of it.

    \b
    ninebits-sandbox import monday.jsonl
    """
    with click.open_file(file, "rb") as source:
        written = source.read().split(b"\n")
    _check(written, visible(file))
    counts: Counter[str] = Counter()
    with lines.Progress() as progress:
        for first, part in _parts(written):
            progress.say(f"line {first} of {len(written)}")
            try:
                counts.update(client.import_(part))
            except Refused as refused:
                complain(_refusal(refused, first))
                sys.exit(refused.exit_code)
    lines.show(dict(counts), as_json, _imported)


def _check(written: Sequence[bytes], name: str) -> None:
    """Complain about everything that is wrong before anything is sent. Limits are the sandbox's to watch."""
    from sandbox.store import imports

    no_limits = imports.Limits(messages=imports.MOST_LINES, text=sys.maxsize, body=sys.maxsize)
    found = imports.read(written, no_limits)
    if not isinstance(found, imports.Import):
        complain("\n".join(["the file cannot be taken in:", *(f"  {name}:{it.line}: {it.message}" for it in found)]))
        sys.exit(2)


def _parts(written: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """The file in parts, each headed by the file's own first line, and with the number of the line that is its second.

    A message and its webhook deliveries stay together.
    """
    start = next(number for number, line in enumerate(written) if line.strip())
    head = written[start]
    part, first, size = [head], start + 2, 0
    for number, line in enumerate(written[start + 1 :], start + 2):
        if size + len(line) > PART and line.strip() and json.loads(line)["type"] not in _FOLLOWING:
            yield first, b"\n".join(part)
            part, first, size = [head], number, 0
        part.append(line)
        size += len(line) + 1
    yield first, b"\n".join(part)


def _refusal(refused: Refused, first: int) -> str:
    """What is wrong with a part, with the file's own numbers of lines."""
    errors = refused.problem.get("errors") or []
    told = [f"  line {first + each['line'] - 2}: {each['message']}" for each in errors if each.get("line")]
    if first > 2:
        told.append(f"  What stands before line {first} was taken in.")
    return "\n".join([str(refused).split("\n")[0], *told])


def _imported(counts: Json) -> str:
    said = (f"{name.replace('_', ' ')}: {number}" for name, number in counts.items())
    return visible(f"imported {', '.join(said)}")


COMMANDS = (export, import_)
