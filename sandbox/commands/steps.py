"""One line of words for a step of a scenario, for those who watch a run.

See scenario/engine.py for what a step means.
"""

from typing import assert_never

from sandbox.commands.lines import span
from sandbox.rules.matching import Match
from sandbox.scenario.steps import ChangeHandset, Expect, ExpectNone, MakeFault, Send, Step


def words(step: Step) -> str:
    match step:
        case Expect(when=when, within_ms=within_ms):
            return f"expect{_like(when.match)}{_within(within_ms)}"
        case ExpectNone(match=match, within_ms=within_ms):
            return f"expect none{_like(match)}{_within(within_ms)}"
        case Send(texts=texts, starts=starts, after_ms=after_ms):
            return f"{'send' if starts else 'reply'} {', '.join(map(_quoted, texts))}{_after(after_ms)}"
        case MakeFault(on=on, effect=effect, times=times):
            what = effect.status or effect.drop or ("hold" if effect.hold else f"delay of {effect.delay_s:g} s")
            return f"fault on {on}: {what}, {'always' if times is None else f'{times} times'}"
        case ChangeHandset(state=state, telco=telco):
            return f"handset {' '.join(filter(None, (state, telco)))}"
        case never:
            assert_never(never)


def _like(match: Match) -> str:
    if match.text is not None:
        return f" {_quoted(match.text)}"
    return "" if match.pattern is None else f" /{match.pattern}/"


def _within(ms: int | None) -> str:
    return "" if ms is None else f" within {_seconds(ms)}"


def _after(ms: int) -> str:
    return f" after {_seconds(ms)}" if ms else ""


def _seconds(ms: int) -> str:
    return span(ms / 1000)


def _quoted(text: str) -> str:
    return f'"{text}"' if len(text) <= 60 else f'"{text[:59]}…"'
