"""Answers of the control API as plain lines for a terminal: one object a line, columns aligned, nothing repainted.

Words only; the commands decide what is printed, and on which stream.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import click

from sandbox.client import Json
from sandbox.commands.options import visible_lines
from sandbox.settings import visible


def show(value: Json, as_json: bool, line: Callable[[Json], str], plural: str | None = None) -> None:
    """Print one object, or those in the list `plural`, oldest first as a terminal reads."""
    if as_json:
        show_json(value)
        return
    for each in reversed(value[plural]) if plural else [value]:
        click.echo(line(each))


def show_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=True))


def show_table(rows: Iterable[Sequence[object]]) -> None:
    """Print rows with their columns aligned; the last column may have any width."""
    shown = [[visible("" if each is None else str(each)) for each in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        click.echo("  ".join(f"{each:<{width}}" for each, width in zip(row, widths, strict=True)).rstrip())


def show_source(source: str, path: Path | None) -> None:
    """Print the text of a file: into a file or a pipe as it is, on a terminal with control characters made visible."""
    if path is not None:
        write_whole(path, [source.encode(errors="backslashreplace")])
    else:
        click.echo(visible_lines(source) if sys.stdout.isatty() else source, nl=False)


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file atomically: until it is complete, what was there before stays.

    Raises click.FileError.
    """
    beside = path.with_name(f"{path.name}.part")
    try:
        with beside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        beside.replace(path)
    except OSError as error:
        raise click.FileError(visible(str(path)), hint=error.strerror) from None
    finally:
        beside.unlink(missing_ok=True)


class ProgressLine:
    """A progress line on stderr, overwritten while something takes long; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.say("")

    def say(self, text: str) -> None:
        if self._on:
            click.echo(f"\r{visible(text):<{self._width}}\r{visible(text)}", err=True, nl=False)
            self._width = len(visible(text))


# Things ------------------------------------------------------------------------------------------------------------


def message_line(it: Json) -> str:
    arrow = "→" if it["direction"] == "mt" else "←"
    handset, shortcode = (it["to"], it["from"]) if it["direction"] == "mt" else (it["from"], it["to"])
    return visible(f"{it['at'][11:19]}  {it['id']:<6} {shortcode} {arrow} {handset}  {it['state']:<10} {it['text']}")


def request_line(it: Json) -> str:
    why = "; ".join(each["message"] for each in it["problems"])
    status = it["status_code"] or "---"  # a fault took the answer
    return visible(f"{it['at'][11:19]}  {it['id']:<6} {status} {it['method']} {it['path']}  {why}").rstrip()


def delivery_line(it: Json) -> str:
    attempts = it["attempts"] if isinstance(it["attempts"], int) else len(it["attempts"])
    due = f"  next {it['next_attempt_at'][11:19]}" if it["next_attempt_at"] else ""
    return visible(f"{it['created_at'][11:19]}  {it['id']:<6} {it['state']:<10} {attempts}×  {it['url']}{due}")


def attempt_line(it: Json) -> str:
    result = it["status_code"] or it["outcome"] or "under way"
    took = f"{it['duration_ms']:.0f} ms" if it["duration_ms"] is not None else ""
    notes = " ".join(filter(None, [it["error"], *it["warnings"]]))
    return visible(f"  #{it['number']:<2} +{it['offset_s']:g} s  {result} {took}  {it['trigger']}  {notes}").rstrip()


def delivery_lines(it: Json) -> str:
    return "\n".join([delivery_line(it), *(attempt_line(each) for each in it["attempts"])])


def texted_lines(it: Json) -> str:
    if it["message"] is None:
        return visible(f"planned for {it['due_at']}")
    lines = [message_line(it["message"])]
    if it["webhook_delivery"] is None:
        lines.append("  The account has no client_url, so nothing was posted.")
    else:
        lines += [attempt_line(each) for each in it["webhook_delivery"]["attempts"]]
    return "\n".join(lines)


def event_line(event: Json) -> str:
    start = f"{event['at'][11:23]}  {event['kind']:<21}"
    if event.get("message"):
        return f"{visible(start)} {message_line(event['message'])[10:]}"
    if event.get("request"):
        return f"{visible(start)} {request_line(event['request'])[10:]}"
    if event.get("webhook_delivery"):
        delivery = event["webhook_delivery"]
        last = f" {attempt_line(delivery['attempts'][-1]).strip()}" if delivery["attempts"] else ""
        return visible(f"{start} {delivery['id']:<6} {delivery['state']:<10}") + last
    about = event.get("run_id") or event.get("fault_id") or event["msisdn"] or event["account"] or ""
    return visible(f"{start} {about}").rstrip()


def near_lines(near_misses: Iterable[Json]) -> str:
    """The messages that came closest, and below each in what it differs."""
    lines = []
    for each in near_misses:
        lines += [f"  {message_line(each['message'])}", *difference_lines(each["differences"])]
    return "\n".join(["The nearest:", *lines]) if lines else ""


def difference_lines(differences: Iterable[Json]) -> Iterable[str]:
    for each in differences:
        wanted, found = quoted(each["wanted"]), quoted(each["found"])
        yield f"    {visible(each['field']):<10}  wanted {wanted}, found {found}"


def quoted(text: str) -> str:
    """`text` in double quotes on one line; the middle of a long one is left out."""
    shown = visible(text)
    return f'"{shown}"' if len(shown) <= 200 else f'"{shown[:120]} … {shown[-60:]}"'


def match_words(match: Json) -> str:
    """The filters of a match in words; empty if any message fits."""
    return ", ".join(f"{name} {quoted(str(value))}" for name, value in match.items())


def span(seconds: float) -> str:
    """A duration in words: `0.5 s`, `1 m 30 s`, `2 h`, `1 d 2 h`."""
    if seconds < 60:
        return f"{seconds:g} s"
    left, said = round(seconds), []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if left >= size:
            said.append(f"{left // size} {unit}")
            left %= size
    return " ".join(said)
