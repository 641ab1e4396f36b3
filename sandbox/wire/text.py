"""Encoding of SMS texts: GSM-7 or UCS-2, how many segments, and which characters force UCS-2.

Only what the 3GPP standards say about any text. See requests.py for the limits of the gateway. TS 23.038 defines the
alphabets, TS 23.040 the segments.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from sandbox.model import Encoding

# TS 23.038, 6.2.1: the default alphabet in code order, sixteen to a line. 0x1B is missing on purpose: it announces a
# character of the extension table and is none itself, so a text that holds U+001B needs UCS-2.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅå"  # 0x00
    "Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ"  # 0x10, without 0x1B
    " !\"#¤%&'()*+,-./"  # 0x20
    "0123456789:;<=>?"  # 0x30
    "¡ABCDEFGHIJKLMNO"  # 0x40
    "PQRSTUVWXYZÄÖÑÜ§"  # 0x50
    "¿abcdefghijklmno"  # 0x60
    "pqrstuvwxyzäöñüà"  # 0x70
)
# TS 23.038, 6.2.1.1: the default extension table. Each character takes two septets, 0x1B and its own code; \f is the
# page break. National language shift tables (annex A) are left out: a handset must be told of them, and few senders do.
_EXTENSION = "\f^{}\\[~]|€"

_ESCAPE = "\x1b"
_LOW_SURROGATE = range(0xDC, 0xE0)  # the first byte of the second half of a pair, in UTF-16 big-endian

# Possessive (*+): giving characters back cannot help, so a foreign one ends the search at once.
_is_basic = re.compile(f"[{re.escape(_BASIC)}]*+").fullmatch
_is_gsm7 = re.compile(f"[{re.escape(_BASIC + _EXTENSION)}]*+").fullmatch
_extended = re.compile(f"[{re.escape(_EXTENSION)}]")
_foreign = re.compile(f"[^{re.escape(_BASIC + _EXTENSION)}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Encoding, units and segments of a text. A unit is a septet in GSM-7 and a UTF-16 code unit in UCS-2."""

    encoding: Encoding
    segments: int  # at least 1: an empty text is still one SMS
    units: int  # of the text itself; a unit left empty before a pair that did not fit is not counted
    units_left: int  # free in the last segment
    segment_units: int  # what one segment holds: 160 or 153 septets, 70 or 67 UTF-16 units


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq=False: hashed by identity, an Enum's hash is slow
class _Alphabet:
    encoding: Encoding
    single: int  # units in a message that is one segment
    part: int  # units in each segment of several


# TS 23.040, 9.2.3.24.1: user data is 160 septets or 140 octets, which are 70 UCS-2 units. The header that joins several
# short messages leaves 153 (160-7) septets or 67 ((140-6)/2) units of each.
_GSM7 = _Alphabet(encoding=Encoding.GSM7, single=160, part=153)
_UCS2 = _Alphabet(encoding=Encoding.UCS2, single=70, part=67)


def measure(text: str) -> Measure:
    """Encoding and segments of `text`. Never fails: a lone surrogate counts as the one unit that it is."""
    if _is_basic(text):
        return _filled(_GSM7, len(text))
    if _is_gsm7(text):
        units = len(text) + len(_extended.findall(text))
        if units <= _GSM7.single:
            return _filled(_GSM7, units)
        septets = _extended.sub(_ESCAPE + "?", text)  # where the pairs are; which ones does not matter
        # "A character represented by an escape-sequence shall not be split in the middle" (TS 23.040, 9.2.3.24.1).
        return _packed(_GSM7, units, lambda cut: septets[cut - 1] == _ESCAPE)
    octets = text.encode("utf-16-be", "surrogatepass")
    units = len(octets) // 2
    if units == len(text) or units <= _UCS2.single:
        return _filled(_UCS2, units)
    # "A UCS2 character shall not be split in the middle" (TS 23.040, 9.2.3.24.1). UCS-2 has no surrogate pairs, but
    # handsets read UTF-16, so what must stay whole is the pair.
    return _packed(_UCS2, units, lambda cut: octets[2 * cut] in _LOW_SURROGATE)


def forcing(text: str) -> tuple[tuple[int, str], ...]:
    """Position and character of whatever GSM-7 cannot carry: any one of them makes the whole text UCS-2."""
    return tuple((match.start(), match[0]) for match in _foreign.finditer(text))


@lru_cache(maxsize=4096)  # a frozen dataclass takes longer to build than a short text to read
def _filled(alphabet: _Alphabet, units: int) -> Measure:
    """One segment, or several that are full but for the last: nothing in the text has to be kept together."""
    segments, capacity = (
        (1, alphabet.single) if units <= alphabet.single else (-(-units // alphabet.part), alphabet.part)
    )
    return Measure(
        encoding=alphabet.encoding,
        segments=segments,
        units=units,
        units_left=segments * capacity - units,
        segment_units=capacity,
    )


def _packed(alphabet: _Alphabet, units: int, splits_pair: Callable[[int], bool]) -> Measure:
    """Several segments, each cut one unit early where a cut at its end would split a pair."""
    start, segments = 0, 1
    while units - start > alphabet.part:
        start += alphabet.part
        start -= splits_pair(start)
        segments += 1
    return Measure(
        encoding=alphabet.encoding,
        segments=segments,
        units=units,
        units_left=alphabet.part - (units - start),
        segment_units=alphabet.part,
    )
