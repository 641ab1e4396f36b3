"""What the control API and the gateway answer when something is wrong, and how far an import came."""

from sandbox.model import EXPORTED
from sandbox.objects.derive import Json, api_object, described, part, schema_of
from sandbox.objects.messages import Problem
from sandbox.objects.schema import component, integer, obj


@part
class ArgumentError:
    """One argument that was wrong."""

    field: str = described("The argument; `match.pattern` is one in an object.", "limit")
    message: str = described("What was wrong, and what would be accepted.")
    line: int | None = described("Where it stands in a scenario's source, from 1.", optional=True)
    column: int | None = described("From 1.", optional=True)


_COUNTS = obj({name: integer(example=0, minimum=0) for name in EXPORTED})
IMPORTED = component(
    "Imported",
    "How far an import came: how much of each was written, was there already, and is left.",
    {
        **{name: integer("How many were written.", 0, minimum=0) for name in EXPORTED},
        "already_there": {**_COUNTS, "description": "How many the account had before; they were left alone."},
        "left": {**_COUNTS, "description": "How many come after the line where it stopped; 0 when it is done."},
        "lines": integer("The file is in up to this line, counted from 1.", 3, minimum=0),
        "of_lines": integer("How many lines the file has, without blank ones at its end.", 3, minimum=0),
    },
)


@api_object
class ProblemDetails:
    """RFC 9457 problem details."""

    title: str = described(example="The call is invalid")
    status: int = described(example=400)
    detail: str = described("What happened, and what to do about it.", "limit: limit has to be a whole number …")
    errors: tuple[ArgumentError, ...] | None = described("Every argument that was wrong.", optional=True)


PROBLEM: Json = {**schema_of(ProblemDetails), "title": "Problem"}
PROBLEM["properties"] = {**PROBLEM["properties"], "imported": IMPORTED}


@api_object
class Failure:
    """What the gateway answers to a call that it refuses."""

    status_code: int = described(example=400)
    message: str = described(example="2 fields are invalid")
    errors: tuple[Problem, ...]


@part
class ProbeStatus:
    """What the probes answer."""

    status: str = described(choices=("ok",))


FAILURE = schema_of(Failure)
STATUS = schema_of(ProbeStatus)
