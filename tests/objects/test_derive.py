"""What derives from the class of an API object, held for every class there is."""

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from sandbox.objects import accounts, messages, problems, scenarios, webhooks
from sandbox.objects.derive import Error, errors, from_json, json_from, schema_of, to_json
from sandbox.objects.schema import example_of

CLASSES = [
    each
    for module in (messages, webhooks, accounts, scenarios, problems)
    for each in vars(module).values()
    if hasattr(each, "__component__") and each.__module__ == module.__name__
]
MESSAGE: dict[str, Any] = example_of(schema_of(messages.Message))


def test_an_example_fits_its_schema_and_comes_back_as_it_was_read() -> None:
    for kind in CLASSES:
        example = example_of(schema_of(kind))
        Draft202012Validator(schema_of(kind), validate_formats=True).validate(example)
        assert to_json(from_json(kind, example)) == example, kind
        assert errors(kind, example) == [], kind


def test_what_is_named_like_an_attribute_of_the_noun_is_taken_from_it() -> None:
    class Known:
        code = "missing"
        message = "to is missing."
        hint = "Send it."

    made = json_from(messages.Problem, Known, field="to")
    assert made == {"field": "to", "code": "missing", "message": "to is missing.", "hint": "Send it."}


def test_an_optional_key_is_there_only_with_a_value() -> None:
    made = from_json(problems.ArgumentError, {"field": "source", "message": "No.", "line": 3})
    assert to_json(made) == {"field": "source", "message": "No.", "line": 3}


def test_keys_of_a_newer_sandbox_are_left_out() -> None:
    assert from_json(messages.Message, {**MESSAGE, "colour": "red"}) == from_json(messages.Message, MESSAGE)


WRONG = [
    ({"seq": "12"}, Error("seq", 'is "12". It has to be a whole number.')),
    ({"seq": True}, Error("seq", "is true. It has to be a whole number.")),
    ({"text": None}, Error("text", "is null. It has to be a string.")),
    ({"segments": 0}, Error("segments", "is 0. It has to be 1 or more.")),
    ({"direction": "mtt"}, Error("direction", 'is "mtt". It has to be one of mt, mo. Did you mean mt?')),
    ({"warnings": ["one", 2]}, Error("warnings[1]", "is 2. It has to be a string.")),
    ({"id": "w12"}, Error("id", 'is "w12". It has to be an identifier such as m12.')),
    ({"request_id": "r1\n"}, Error("request_id", 'is "r1\\n". It has to be an identifier such as r12.')),
    ({"textt": "a"}, Error("textt", "is not known here. Did you mean text?")),
]


@pytest.mark.parametrize(("change", "error"), WRONG)
def test_what_is_wrong_is_said_with_its_place_and_what_would_be_accepted(change: dict[str, Any], error: Error) -> None:
    assert errors(messages.Message, {**MESSAGE, **change}) == [error]


def test_every_error_is_found_at_once() -> None:
    wrong = {name: value for name, value in MESSAGE.items() if name != "text"} | {"seq": None, "to": 5}
    assert [each.field for each in errors(messages.Message, wrong)] == ["text", "seq", "to"]
    assert errors(messages.Message, "m12") == [Error("", 'is "m12". It has to be an object.')]
    attempts = [example_of(schema_of(webhooks.Attempt)) | {"number": 0}]
    delivery = example_of(schema_of(webhooks.WebhookDeliveryObject)) | {"attempts": attempts}
    assert [each.field for each in errors(webhooks.WebhookDeliveryObject, delivery)] == ["attempts[0].number"]
