"""Quick replies: the answers that a text offers its reader, as somebody would type them.

Pure. In doubt nothing is offered, as for a text that only looks like a list. 9bits documents nothing of this.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST = 5  # options that are worth a button each
LONGEST = 40  # characters of a text on a button
SEEN = 500  # characters of a text that are looked at


@dataclass(frozen=True, slots=True)
class Offer:
    """A quick reply: the text to send and its meaning, `1` and `Yes`; the meaning is empty where the text says it."""

    text: str
    meaning: str = ""


def offered(text: str) -> Sequence[Offer]:
    """The options that a text lists, at most MOST and none of them twice; empty if it lists none."""
    text = text[:SEEN]
    for rule in (_listed, _asked_for, _ranged, _yes_or_no):
        found = {offer.text.casefold(): offer for offer in rule(text)}
        if found:
            return list(found.values())[:MOST]
    return ()


def lately(texts: Iterable[str], offers: Sequence[Offer], most: int) -> Sequence[Offer]:
    """Of texts that somebody sent, the latest first, those that fit on a button, each once and none that is offered."""
    known = {each.text.casefold() for each in offers}
    found: list[Offer] = []
    for text in texts:
        if len(found) == most:
            break
        if text.casefold() in known or not 0 < len(text) <= LONGEST or not text.isprintable() or text.isspace():
            continue
        known.add(text.casefold())
        found.append(Offer(text))
    return found


# "1. Yes 2. No", "1) Yes, 2) No", "1=Yes 2=No", "1 - Yes 2 - No", "A. Lagos B. Abuja" ---------------------------------

_MARK = re.compile(r"(?:^|(?<=[\s(,;:]))\(?([0-9]|[A-H])(?:[.)=:](?:\s*(?=[^\W\d_])|\s+(?=[\w₦\"'“]))|\s[-–]\s+(?=\w))")


_BEFORE_LIST = re.compile(
    r"(?:^|[\n.?!:;,(\-–]|\b(?:options?|choose|pick|select|reply|answer|press|with|either|are))\s*$", re.IGNORECASE
)


def _listed(text: str) -> Iterable[Offer]:
    """Marks that begin with 1 or A where a list may begin, and follow one another, each with something to say."""
    marks = list(_MARK.finditer(text))
    for first in (place for place, mark in enumerate(marks) if mark[1] in "1A"):
        run = marks[first:]
        if _BEFORE_LIST.search(text, 0, run[0].start()) is None:
            continue
        found = []
        for place, mark in enumerate(run):
            if ord(mark[1]) != ord(run[0][1]) + place:
                break
            end = run[place + 1].start() if place + 1 < len(run) else len(text)
            found.append(Offer(mark[1], _meaning(text[mark.end() : end])))
        if len(found) > 1 and all(each.meaning for each in found):
            return found
    return ()


def _meaning(text: str) -> str:
    """The beginning of what an option says: up to the end of its line or sentence."""
    said = re.split(r"[\n;,]|[.?!](?:\s|$)", text.strip(), maxsplit=1)[0].strip(" \t\"'“”()")
    said = re.sub(r"\s+(?:or|and)$", "", said, flags=re.IGNORECASE)
    return said if len(said) <= LONGEST else ""


# "Reply YES to confirm or NO to decline", "Press 1 for English, 2 for Hausa" ------------------------------------------

_VERB = r"\b(?:reply|answer|respond|text|send|type|press|enter|choose)\b"
_ANSWER = r"[\"'“]?\b([A-Z][A-Z0-9]{0,11}|[0-9])\b[\"'”]?"
_FOR = re.compile(rf"{_ANSWER}\s+(for|if|to)\s+(\w[^\n,;.!?]*?)(?=\s+(?:or|and)\s|[\n,;.!?]|$)")
_BEGIN = re.compile(rf"{_VERB}\s+(?:with\s+|the\s+word\s+|back\s+)*(?={_ANSWER}\s+(?:for|if|to)\s)", re.IGNORECASE)


def _asked_for(text: str) -> Iterable[Offer]:
    """What follows `reply` and the like, and stands for something."""
    if _shouts(text):
        return ()
    begin = _BEGIN.search(text)
    if begin is None or text[begin.end()].islower():
        return ()
    found = []
    place = begin.end()
    while (each := _FOR.match(text, place)) is not None:
        meaning = each[3].strip()[:LONGEST]
        if each[1].isdecimal() and each[2] == "to" and not meaning[0].islower():  # "1 to 5", "1 to 48974", "5 to Ada"
            return ()
        found.append(Offer(each[1], meaning if meaning[0].isalpha() else ""))
        joint = re.compile(r"\s*(?:[,;.]?\s*(?:or|and)\s+|[,;.\n]\s*)", re.IGNORECASE).match(text, each.end())
        if joint is None:
            break
        again = _BEGIN.match(text, joint.end())
        place = joint.end() if again is None else again.end()
    return found


# "from 1 to 5", "1-5" ------------------------------------------------------------------------------------------------

_CUE = re.compile(rf"{_VERB}|\b(?:rate|rating|scale|score|number|pick|between|from)\b", re.IGNORECASE)
_RANGE = re.compile(
    r"(?<![\w.,:₦$/+-])([01])\s?(?:-|–|to|and|through)\s?([2-9])(?![\w%/+₦-]|[.,:]\d)"
    r"(?!\s*(?:[ap]\.?m\b|o'?clock|%|per\b|(?:second|sec|minute|min|hour|hr|day|week|month|year|naira|metre|km)s?\b))",
    re.IGNORECASE,
)


def _ranged(text: str) -> Iterable[Offer]:
    """The only range in a text that asks for a number, if it is short enough for a button each."""
    found = _RANGE.findall(text)
    if len(found) != 1 or _CUE.search(text) is None:
        return ()
    first, last = int(found[0][0]), int(found[0][1])
    return [Offer(str(number)) for number in range(first, last + 1)] if last - first < MOST else ()


# "YES or NO", "Y/N" --------------------------------------------------------------------------------------------------

_WORD = r"[\"'“]?\b([A-Z][A-Z0-9]{0,11})\b[\"'”]?"
_EITHER = re.compile(rf"{_WORD}(?:\s*,\s*{_WORD})?(?:\s*,\s*{_WORD})?\s*(?:,?\s+or\s+|/){_WORD}(?![\w/])")
_VERB_BEFORE = re.compile(_VERB, re.IGNORECASE)
_PAIRS = re.compile(r"\b(?:(yes)\s*(?:/|\bor\b)\s*(no)|(y)\s*(?:/|\bor\b)\s*(n))\b", re.IGNORECASE)


def _yes_or_no(text: str) -> Iterable[Offer]:
    """Words in capitals with an `or` between them, where a text asks for one; `yes or no` in any letters."""
    pair = _PAIRS.search(text)
    if pair is not None and (pair[1] or pair[3]) and (pair[1] is None or _is_asked(text, pair)):
        return [Offer(each) for each in pair.groups() if each]
    if _shouts(text):
        return ()
    either = _EITHER.search(text)
    if either is None or _VERB_BEFORE.search(text, 0, either.start()) is None:
        return ()
    return [Offer(each) for each in either.groups() if each]


def _is_asked(text: str, pair: re.Match[str]) -> bool:
    """Whether somebody wants to hear yes or no: "yes or no" may as well be part of a story."""
    return "?" in text or _VERB_BEFORE.search(text, 0, pair.start()) is not None or pair[0].isupper()


def _shouts(text: str) -> bool:
    """Whether all of it is in capitals, so that capitals say nothing."""
    return not any(letter.islower() for letter in text)
