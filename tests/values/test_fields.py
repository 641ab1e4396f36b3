"""Kinds of arguments, by table: what is read, what is complained about, and that the schema says the same."""

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from sandbox.errors import Invalid, NotFound
from sandbox.model import Encoding, HandsetState
from sandbox.values.fields import Argument, Fields, Given, ObjectKind, body_schema, optional, required, with_default
from sandbox.values.kinds import Choice, Flag, Identifier, Kind, Name, PageCursor, Seconds, TextKind, Wait, Whole
from sandbox.values.numbers import AnyNumber, Phone, Short

SIZE = optional("size", Whole(1, 9), "How large.")
COLOUR = required("colour", Choice(("red", "green")), "Which one.", "red")
LABEL = with_default("label", TextKind(5), "none", "What it is called.")
PAINT = ObjectKind((COLOUR, SIZE))

READ: list[tuple[Kind[Any], Any, Any]] = [
    (TextKind(), "yes", "yes"),
    (TextKind(), "one\ntwo\x1b", "one\ntwo\x1b"),
    (TextKind(3), "₦₦₦", "₦₦₦"),
    (TextKind(None), "x" * 100_000, "x" * 100_000),
    (Choice(("a", "b")), "b", "b"),
    (Choice(tuple(HandsetState)), "off", HandsetState.OFF),
    (Seconds(10), 0, 0.0),
    (Seconds(10), 10, 10.0),
    (Seconds(10), 0.5, 0.5),
    (Seconds(10), "5", 5.0),
    (Seconds(10), "1.5", 1.5),
    (Seconds(10), "500ms", 0.5),
    (Seconds(300), "2m", 120.0),
    (Seconds(), "1h30m", 5400.0),
    (Seconds(), "1 d 2 h", 93600.0),
    (Whole(1, 9), 1, 1),
    (Whole(1, 9), 9.0, 9),
    (Flag(), True, True),
    (Flag(), False, False),
    (PageCursor(), "m12", 12),
    (PageCursor(), "s12", 12),
    (PageCursor(), "12", 12),
    (PageCursor(), 12, 12),
    (PageCursor(), 0, 0),
    (Wait(30.0), True, 30.0),
    (Wait(30.0), False, None),
    (Wait(30.0), 0, 0.0),
    (Wait(30.0), 300, 300.0),
    (Wait(30.0), "2m", 120.0),
    (Phone(), "2348020000000", "2348020000000"),
    (Phone(), "+2348020000000", "2348020000000"),
    (Phone(), "002348020000000", "2348020000000"),
    (Short(), "48974", "48974"),
    (AnyNumber(), "+2348020000000", "2348020000000"),
    (AnyNumber(), "48974", "48974"),
    (AnyNumber(), "012", "012"),
    (Identifier("m"), "m12", 12),
    (Name(), "happy-survey", "happy-survey"),
]

REFUSED: list[tuple[Kind[Any], Any]] = [
    (TextKind(), 5),
    (TextKind(), True),
    (TextKind(), ["x"]),
    (TextKind(3), "four"),
    (Choice(("a", "b")), "c"),
    (Choice(("a", "b")), "A"),
    (Choice(("a", "b")), 1),
    (Choice(tuple(Encoding)), "GSM7"),
    (Seconds(10), -0.1),
    (Seconds(10), 10.1),
    (Seconds(10), True),
    (Seconds(10), "-5"),
    (Seconds(10), "soon"),
    (Seconds(10), "5 weeks"),
    (Seconds(10), "5s5"),
    (Seconds(10), [5]),
    (Whole(1, 9), 0),
    (Whole(1, 9), 10),
    (Whole(1, 9), 1.5),
    (Whole(1, 9), True),
    (Whole(1, 9), "5"),
    (Flag(), "true"),
    (Flag(), 1),
    (PageCursor(), "yesterday"),
    (PageCursor(), "x12"),
    (PageCursor(), "mm12"),
    (PageCursor(), "m"),
    (PageCursor(), "-1"),
    (PageCursor(), -1),
    (PageCursor(), 1.5),
    (PageCursor(), True),
    (PageCursor(), "9" * 30),
    (PageCursor(), "m١"),
    (Wait(30.0), "long"),
    (Wait(30.0), -1),
    (Wait(30.0), 301),
    (Wait(30.0), [1]),
    (Phone(), "08020000000"),
    (Phone(), "cinema"),
    (Phone(), "123456"),
    (Phone(), 2348020000000),
    (Short(), "12"),
    (Short(), "1" * 16),
    (Short(), "+48974"),
    (AnyNumber(), "cinema"),
    (AnyNumber(), "12"),
    (AnyNumber(), "1" * 16),
    (AnyNumber(), 48974),
    (Identifier("m"), "r12"),
    (Identifier("m"), "m"),
    (Identifier("m"), "m1x"),
    (Identifier("m"), "m" + "9" * 25),
    (PAINT, []),
    (PAINT, "red"),
    (PAINT, {}),
    (PAINT, {"colour": "blue"}),
    (PAINT, {"colour": None}),
    (PAINT, {"colour": "red", "size": 10}),
    (PAINT, {"colour": "red", "shape": "round"}),
]


def told(kind: Kind[Any], value: object) -> dict[str, str]:
    """What is complained about."""
    fields = Fields({"it": value}, json=True)
    try:
        fields.take(optional("it", kind))
    except NotFound as error:
        return {"it": str(error)}
    assert fields.errors, "it was read"
    return fields.errors


@pytest.mark.parametrize(("kind", "value", "read"), READ)
def test_what_is_accepted_is_read(kind: Kind[Any], value: object, read: object) -> None:
    found = kind.read(value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(("kind", "value", "_"), READ)
def test_what_is_accepted_fits_the_schema(kind: Kind[Any], value: object, _: object) -> None:
    Draft202012Validator(kind.schema).validate(value)


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_what_is_not_accepted_is_complained_about_by_name(kind: Kind[Any], value: object) -> None:
    for name, reason in told(kind, value).items():
        assert name.split(".")[0] == "it"
        assert name.split(".")[-1] in reason or isinstance(kind, Identifier)


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_what_is_not_accepted_does_not_fit_the_schema(kind: Kind[Any], value: object) -> None:
    assert not Draft202012Validator(kind.schema).is_valid(value)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"])
def test_a_text_that_cannot_be_stored_is_complained_about(text: str) -> None:
    assert "Leave it out" in told(TextKind(), text)["it"]


def test_a_error_shows_hostile_text_harmlessly_and_not_at_length() -> None:
    for kind in (Choice(("a",)), PageCursor(), Phone(), AnyNumber(), Identifier("m"), Flag()):
        (reason,) = told(kind, "\x1b[2J\u202e" + "x" * 200).values()
        assert reason.isprintable()
        assert len(reason) < 220


# Fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "read"),
    [
        ("5", Whole(1, 9), 5),
        ("5", Seconds(9), 5.0),
        ("0.5", Seconds(9), 0.5),
        ("1e0", Seconds(9), 1.0),
        ("2m", Seconds(120), 120.0),
        ("true", Flag(), True),
        ("false", Flag(), False),
        ("m5", PageCursor(), 5),
        ("5", TextKind(), "5"),
    ],
)
def test_in_a_query_everything_is_text(text: str, kind: Kind[Any], read: object) -> None:
    fields = Fields({"it": text})
    assert fields.take(optional("it", kind, "")) == read
    fields.done()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0", Whole(1, 9)),
        ("1.0", Whole(1, 9)),
        ("１", Whole(1, 9)),
        ("1_0", Whole(1, 20)),
        ("9" * 5000, Whole(1, 9)),
        ("nan", Seconds(9)),
        ("inf", Seconds(9)),
        ("1_0", Seconds(20)),
        ("１", Seconds(9)),
        ("long", Seconds(9)),
        ("yes", Flag()),
        ("True", Flag()),
    ],
)
def test_a_text_that_stands_for_no_such_value_is_complained_about(text: str, kind: Kind[Any]) -> None:
    fields = Fields({"it": text})
    argument: Argument[Any] = optional("it", kind, "")
    assert fields.take(argument) is None
    assert list(fields.errors) == ["it"]


@pytest.mark.parametrize("nothing", [{}, {"size": None, "label": None}, {"size": "", "label": ""}])
def test_null_and_the_empty_text_count_as_not_given(nothing: dict[str, object]) -> None:
    for json in (True, False):
        fields = Fields(nothing, json=json)
        assert (fields.take(SIZE), fields.take(LABEL)) == (None, "none")
        fields.done()


@pytest.mark.parametrize("value", [None, ""])
def test_what_is_required_and_missing_is_told_with_what_to_send(value: object) -> None:
    fields = Fields({"colour": value}, json=True)
    fields.take(COLOUR)
    assert fields.errors == {"colour": "colour is missing or empty. Use one of: red, green."}


def test_all_errors_come_at_once_and_unknown_names_last() -> None:
    fields = Fields({"shape": 1, "size": 10, "colour": "blue", "label": "too long"}, json=True)
    fields.values((COLOUR, SIZE, LABEL))
    with pytest.raises(Invalid) as caught:
        fields.done()
    assert [name for name, _ in caught.value.fields] == ["colour", "size", "label", "shape"]


def test_what_was_said_of_an_argument_first_stands() -> None:
    fields = Fields({})
    fields.wrong("size", "first")
    fields.wrong("size", "second")
    assert fields.errors == {"size": "first"}


def test_an_object_has_arguments_of_its_own() -> None:
    paint = optional("paint", PAINT, "")
    given = Fields({"paint": {"colour": "red", "size": 3}}, json=True).take(paint)
    assert given is not None
    assert (given[COLOUR], given[SIZE]) == ("red", 3)


def test_errors_about_an_object_name_the_way_to_what_is_wrong() -> None:
    wall = ObjectKind((required("paint", PAINT, ""), optional("height", Seconds(9), "")))
    fields = Fields({"wall": {"paint": {"size": 10, "shape": 1}, "height": -1}}, json=True)
    fields.take(optional("wall", wall, ""))
    assert list(fields.errors) == ["wall.paint.colour", "wall.paint.size", "wall.paint.shape", "wall.height"]


def test_a_flood_of_unknown_arguments_is_not_repeated() -> None:
    with pytest.raises(Invalid) as caught:
        Fields({f"x{number}": 1 for number in range(1000)}).done()
    assert len(caught.value.fields) == 20


def test_what_was_given_is_asked_for_by_argument() -> None:
    assert Given({SIZE: 3})[SIZE] == 3
    with pytest.raises(KeyError):
        Given({SIZE: 3})[LABEL]


def test_a_body_may_hold_null_for_whatever_is_not_required() -> None:
    schema = Draft202012Validator(body_schema((COLOUR, SIZE, LABEL, optional("wait", Wait(30.0), ""))))
    assert schema.is_valid({"colour": "red"})
    assert schema.is_valid({"colour": "red", "size": None, "label": None, "wait": None})
    assert not schema.is_valid({"size": 1})
    assert not schema.is_valid({"colour": None})
    assert not schema.is_valid({"colour": "red", "shape": 1})


def test_an_argument_shows_its_usual_value_and_its_example() -> None:
    assert LABEL.schema["default"] == "none"
    assert "default" not in SIZE.schema
    assert COLOUR.schema["examples"] == ["red"]
    assert with_default("on", Flag(), False, "").schema["default"] is False


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("siez", "Did you mean size?"),
        ("COLOUR", "Did you mean colour?"),
        ("weight", "Use one of: size, colour."),
    ],
)
def test_an_unknown_argument_is_told_the_nearest_or_what_there_is(name: str, hint: str) -> None:
    fields = Fields({name: 1, "colour": "red"}, json=True)
    fields.values((SIZE, COLOUR))
    fields.unknown()
    assert fields.errors == {name: f'There is no "{name}" here. {hint}'}


def test_a_word_that_is_almost_a_choice_is_told_which() -> None:
    assert told(Choice(("red", "green")), "Gren")["it"].endswith(
        'is "Gren". Use one of: red, green. Did you mean green?'
    )


def test_what_arrived_is_told_as_it_arrived() -> None:
    for value, shown in ((True, "true"), ([5], "[5]"), ({}, "{}"), (1.5, "1.5"), ("5x", '"5x"')):
        assert told(Whole(1, 9), value)["it"] == f"it is {shown}. Use a whole number from 1 to 9."
