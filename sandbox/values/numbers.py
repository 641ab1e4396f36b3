"""Kinds of telephone numbers: MSISDN, shortcode, or either; wire/numbers.py says how one is written."""

from typing import Any

from sandbox.model import Msisdn, Shortcode
from sandbox.values.kinds import InvalidValue, Kind, TextKind
from sandbox.wire.numbers import MSISDN, SHORTCODE, NumberFault, parse_msisdn, parse_shortcode
from sandbox.wire.problems import problem, quote

_TEXT = TextKind()


class Phone(Kind[Msisdn]):
    """An MSISDN in any accepted form."""

    def __init__(self) -> None:
        super().__init__(
            {"type": "string", "pattern": f"^{MSISDN}$"},
            'a phone number in international form, for example "2348020000000"',
        )

    def read(self, value: Any) -> Msisdn:
        parsed = parse_msisdn(_TEXT.read(value))
        if isinstance(parsed, NumberFault):
            digits = value.removeprefix("+").removeprefix("00")
            found = problem(parsed, "to", value=quote(value), length=len(digits))
            raise InvalidValue(f"{found.message.removeprefix('to ')} {found.hint}")
        return parsed


class Short(Kind[Shortcode]):
    """A shortcode."""

    def __init__(self) -> None:
        super().__init__({"type": "string", "pattern": f"^{SHORTCODE}$"}, "a shortcode of 3 to 15 digits")

    def read(self, value: Any) -> Shortcode:
        parsed = parse_shortcode(_TEXT.read(value))
        if isinstance(parsed, NumberFault):
            raise self.invalid(value)
        return parsed


class AnyNumber(Kind[str]):
    """A number to look for: an MSISDN in any accepted form, or a shortcode."""

    def __init__(self) -> None:
        super().__init__(
            {"type": "string", "pattern": f"^({MSISDN}|{SHORTCODE})$"},
            "an MSISDN or a shortcode; it is compared exactly",
        )

    def read(self, value: Any) -> str:
        given = _TEXT.read(value)
        for parse in (parse_msisdn, parse_shortcode):
            parsed = parse(given)
            if not isinstance(parsed, NumberFault):
                return parsed
        raise self.invalid(value)
