"""Commands that write and read files of an account's records: export, import.

A file is sent in parts of a size that the sandbox takes in one call. See transfer/imports.py for what a line may say.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sandbox.client import Json, Refused, SandboxClient
from sandbox.commands import lines
from sandbox.commands.options import as_json, for_client, print_error, visible_lines
from sandbox.errors import SandboxError
from sandbox.model import EXPORTED
from sandbox.settings import visible

if TYPE_CHECKING:
    from sandbox.transfer.imports import Import

PART = 768 * 1024
"""Bytes of a part: a sandbox takes 1 MiB, unless its settings say otherwise."""


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
    with lines.ProgressLine() as progress:
        for piece in pieces:
            size += len(piece)
            progress.say(f"{size / 1024 / 1024:.1f} MiB")
            yield piece


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@as_json
@for_client
def import_(client: SandboxClient, file: str, as_json: bool) -> None:
    """Import a file that export wrote into the account; `-` is stdin.

    What the account has already is told by what it says, and left alone: the same file may be imported again, to go on
    where it stopped, and files may overlap. A file with errors is refused as a whole, with their lines. Nothing is
    posted to any application because of it.

    \b
    ninebits-sandbox import monday.jsonl
    """
    with click.open_file(file, "rb") as source:
        written = source.read().split(b"\n")
    found = _check(written, visible(file))
    so_far = _Sum(found)
    with lines.ProgressLine() as progress:
        for first, part in _parts(written, found):
            progress.say(f"line {first} of {found.lines}")
            try:
                so_far.add(client.import_(part), first)
            except SandboxError as error:
                progress.say("")
                if isinstance(error, Refused):
                    so_far.stopped(error, first)
                if as_json:
                    lines.show_json(so_far.answer())
                how_far = so_far.words(visible(file), is_all=isinstance(error, Refused))
                print_error("\n".join([*_reasons(error, first), f"  {how_far}"]))
                sys.exit(error.exit_code)
    lines.show(so_far.answer(), as_json, _imported)


def _check(written: Sequence[bytes], name: str) -> "Import":
    """Check the whole file before anything is sent, with every error at once. Limits are the sandbox's to watch."""
    from sandbox.transfer import imports

    no_limits = imports.Limits(messages=imports.MOST_LINES, text=sys.maxsize, body=sys.maxsize)
    found = imports.read(written, no_limits)
    if not isinstance(found, imports.Import):
        print_error("\n".join(["the file cannot be taken in:", *(f"  {name}:{it.line}: {it.message}" for it in found)]))
        sys.exit(2)
    return found


def _parts(written: Sequence[bytes], found: "Import") -> Iterator[tuple[int, bytes]]:
    """The file in parts, each headed by the file's own first line, and with the number of the line that is its second.

    A message and what belongs to it stay together. Of messages that are alike, each says which of them it is, since
    the one before may be in another part.
    """
    occurrences = {each.line: each.occurrence for each in found.entries}
    start = next(number for number, line in enumerate(written) if line.strip())
    head = written[start]
    part, first, size = [head], start + 2, 0
    for number, line in enumerate(written[start + 1 :], start + 2):
        if size and size + len(line) > PART and number in occurrences:
            yield first, b"\n".join(part)
            part, first, size = [head], number, 0
        if (occurrence := occurrences.get(number) or 1) > 1:
            line = json.dumps({**json.loads(line), "occurrence": occurrence}).encode()
        part.append(line)
        size += len(line) + 1
    yield first, b"\n".join(part)


class _Sum:
    """How far the file has come, over the parts that were answered, with its own numbers of lines."""

    def __init__(self, found: "Import") -> None:
        self._written: Counter[str] = Counter()
        self._there: Counter[str] = Counter()
        self._all = found.counts
        self._lines = found.start.lines
        self._of_lines = found.lines

    def add(self, answered: Json, first: int) -> None:
        """Count what a part was answered, whose second line is the file's line `first`."""
        self._written.update({name: answered[name] for name in EXPORTED})
        self._there.update(answered["already_there"])
        self._lines = min(first + answered["lines"] - 2, self._of_lines)

    def stopped(self, refused: Refused, first: int) -> None:
        """Count what a part was answered that came not to its end."""
        if "imported" in refused.problem:
            self.add(refused.problem["imported"], first)
        elif refused.status in (404, 409):  # the account is gone, or was reset, and all of it went along
            self._written.clear()
            self._there.clear()
            self._lines = 0

    def answer(self) -> Json:
        """What the control API would have answered to the file as a whole."""
        left = self._all - self._written - self._there
        return {
            **{name: self._written[name] for name in EXPORTED},
            "already_there": {name: self._there[name] for name in EXPORTED},
            "left": {name: left[name] for name in EXPORTED},
            "lines": self._lines,
            "of_lines": self._of_lines,
        }

    def words(self, name: str, *, is_all: bool) -> str:
        """How far it came before it was stopped, and what to do; without `is_all`, the last part was not answered."""
        if not self._written and not self._there:
            return f"Nothing of {name} is in." if is_all else f"Whether anything of {name} is in is not known."
        upto = "up to" if is_all else "at least up to"
        return (
            f"{name} is in {upto} line {self._lines} of {self._of_lines}: {'; '.join(_parts_words(self.answer()))}.\n"
            "  Import it again when that is mended: it goes on from there."
        )


def _reasons(error: SandboxError, first: int) -> Sequence[str]:
    """Why a part was not taken in, with the file's own numbers of lines."""
    if not isinstance(error, Refused):
        return [str(error)]
    errors = error.problem.get("errors") or []
    told = [f"  line {first + each['line'] - 2}: {each['message']}" for each in errors if each.get("line")]
    return [str(error).split("\n")[0], *told]


def _imported(answered: Json) -> str:
    return visible_lines("\n".join(_parts_words(answered)))


def _parts_words(answered: Json) -> Sequence[str]:
    """How much was written; and how much was there already, unless that is nothing."""
    said = [f"imported {_counts_words(answered)}"]
    if any(answered["already_there"].values()):
        said.append(f"already there {_counts_words(answered['already_there'])}")
    return said


def _counts_words(counts: Json) -> str:
    return ", ".join(f"{name.replace('_', ' ')}: {counts[name]}" for name in EXPORTED)


COMMANDS = (export, import_)
