"""The texts of failed expectations: what a test wanted, what came instead, and what happened.

Pure: values of the control API in, text out. Text from the wire is quoted, with what nobody would see made visible.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sandbox.objects.messages import Difference, Message, NearMiss, Request
from sandbox.objects.scenarios import Finding, Miss
from sandbox.settings import visible

SHOWN = 10
"""How many messages, calls or findings a section names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The state that a failure message shows: what there was when an expectation was not met."""

    url: str
    called: bool  # whether the gateway was, with the account's token
    refused: Sequence[Request] = ()
    unowned: Sequence[Request] = ()  # calls with a token that no account has
    transcript: str = ""


def unmet(
    headline: str,
    *,
    match: Mapping[str, object],
    scene: Situation,
    fits: Sequence[Message] = (),
    near: Sequence[NearMiss] = (),
    passed: Sequence[Message] = (),
) -> str:
    """The whole message of an expectation that was not met. `fits` are too few or too many, `passed` would fit but came
    before the message that a wait gave last."""
    return _text(
        _section(
            f"{headline}, with:" if match else f"{headline}.",
            (f"{name:<12} {_quoted(value)}" for name, value in match.items()),
        ),
        _section("That fit:", map(_line, fits)),
        _section("Nearest to it:", _nearest(near)),
        _section("Would fit, but came before the message that was waited for last:", map(_line, passed)),
        *_sections(scene),
    )


def failed(headline: str, scene: Situation) -> str:
    """The whole message of something that failed by itself."""
    return _text(headline, *_sections(scene))


def _sections(scene: Situation) -> Iterator[str]:
    if scene.transcript:
        yield _section("The conversation:", map(visible, scene.transcript.split("\n")))
    refused = refusals(scene)
    if not scene.called and not refused:
        yield f"The application has not called the gateway, POST {scene.url}/ng/v1/sendsms."
    yield refused


def refusals(scene: Situation) -> str:
    """Calls that the gateway refused, and why."""
    unowned = "Calls came with a token that no account has (does the application use ninebits.token?):"
    return _text(
        _section("The gateway refused:", (line for each in scene.refused[:SHOWN] for line in _refusal(each))),
        _section(unowned, (line for each in scene.unowned[:SHOWN] for line in _refusal(each))),
    )


def near_misses(near: Sequence[NearMiss]) -> str:
    """Messages that were not what was waited for."""
    return _section("Messages that came close:", _nearest(list(dict.fromkeys(near))[:SHOWN]))


def findings(found: Sequence[Finding]) -> str:
    """What is suspicious about the application."""
    return _section(
        "Worth a look:",
        (visible(f"{' '.join(each.message_ids)}  {each.message} {each.hint}") for each in found[:SHOWN]),
    )


def misses(found: Sequence[Miss]) -> str:
    """Messages that a scenario's run had no use for."""
    return _section(
        "It had no use for:",
        (
            line
            for each in found[:SHOWN]
            for line in (f"{each.message_id}, nearest to {visible(each.about)}", *_differences(each.differences))
        ),
    )


def _text(*sections: str) -> str:
    return "\n\n".join(filter(None, sections))


def _section(title: str, lines: Iterable[str]) -> str:
    """A title with what it is about below, or nothing if there is nothing."""
    body = [f"    {line}".rstrip() for line in lines]
    while body and not body[-1]:
        body.pop()
    return "\n".join([title, *body]) if body or not title.endswith(":") else ""


def _line(message: Message) -> str:
    way = f"{message.from_} → {message.to}"
    return visible(f"{message.id:<5} {way}  session {message.session_id}  {message.state}  ") + _quoted(message.text)


def _nearest(near: Iterable[NearMiss]) -> Iterator[str]:
    for miss in near:
        yield _line(miss.message)
        yield from _differences(miss.differences)


def _differences(found: Iterable[Difference]) -> Iterator[str]:
    for each in found:
        yield f"  {each.field:<10} wanted  {_quoted(each.wanted)}"
        yield f"  {'':<10} found   {_quoted(each.found)}"


def _refusal(request: Request) -> Iterator[str]:
    status = request.status_code or "no answer"
    yield visible(f"{request.id:<5} {status}  {request.method} {request.path}  ") + _quoted(request.body)
    for each in request.problems:
        yield visible(f"  {each.message} {each.hint}".rstrip())


def _quoted(value: object) -> str:
    """A value as Python writes it, in which nothing is invisible; the middle of a long one is left out."""
    written = repr(value)
    return written if len(written) <= 300 else f"{written[:200]} … {written[-80:]}"
