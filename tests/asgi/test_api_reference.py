"""The control API as a page: complete, of our own making, and fit to copy from."""

import html
import re
import shlex
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from sandbox.api import openapi
from sandbox.asgi.api_reference import in_words
from sandbox.objects.schema import Schema, array, choice, mapping, nullable, obj, text
from sandbox.values.kinds import Flag, PageCursor, Seconds, TextKind, Wait, Whole
from sandbox.values.numbers import Phone, Short

if TYPE_CHECKING:
    from tests.conftest import Bench, Running


@pytest.fixture
def page(sandbox_server: "Running") -> str:
    response = sandbox_server.request("GET", "/_sandbox/docs")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    return response.text


def test_every_operation_stands_on_the_page_with_its_arguments(page: str) -> None:
    shown = html.unescape(page)
    words = re.sub("</?code>", "`", shown)
    for it in openapi.OPERATIONS:
        assert f"<code>{it.method} {it.path}</code>" in shown
        assert it.summary in words
        for argument in (*it.places, *it.query):
            assert f"<code>{argument.name}</code>" in shown
            assert argument.help in words
    for nested in ("match.pattern", "times.exactly", "effect.status"):
        assert f"<code>{nested}</code>" in shown


def test_the_page_asks_nothing_of_anybody_else_and_runs_no_script(page: str) -> None:
    assert "<script" not in page
    assert "style=" not in page
    assert all(each.startswith(("/", "#")) for each in re.findall(r'(?:href|src)="([^"]*)"', page))


def test_every_link_leads_somewhere(page: str, sandbox_server: "Running") -> None:
    targets = set(re.findall(r'(?:href|src)="([^"]*)"', page))
    assert {each[1:] for each in targets if each.startswith("#")} <= set(re.findall(r'id="([^"]*)"', page))
    for each in targets:
        if each.startswith("/"):
            assert sandbox_server.request("GET", each).status_code == 200, each


def test_its_names_are_given_once(page: str) -> None:
    names = re.findall(r' id="([^"]*)"', page)
    assert len(names) == len(set(names))


def commands(page: str) -> list[str]:
    found = re.findall(r'<pre[^>]*aria-label="Example of a call">(.*?)</pre>', page, re.DOTALL)
    return [html.unescape(each) for each in found]


def test_every_example_is_a_command_that_a_shell_understands(page: str, sandbox_server: "Running") -> None:
    found = commands(page)
    assert len(found) == len(openapi.OPERATIONS)
    for each in found:
        words = shlex.split(each)
        assert words[0] == "curl"
        assert any(word.startswith(f"{sandbox_server.url}/_sandbox/") for word in words)


def test_an_example_can_be_pasted(start_sandbox: Callable[..., "Bench"]) -> None:
    running = start_sandbox().sandbox
    shown = commands(running.request("GET", "/_sandbox/docs").text)
    (command,) = [each for each in shown if "-X POST" in each and f"{running.url}/_sandbox/v1/faults" in each]
    done = subprocess.run(
        ["bash", "-c", f"{command} --noproxy '*' -sS --fail-with-body"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert '"id": "f' in done.stdout


def test_with_a_control_token_the_examples_say_where_it_goes(start_sandbox: Callable[..., "Bench"]) -> None:
    token = "0123456789abcdef-control"
    running = start_sandbox(control_token=token).sandbox
    assert running.request("GET", "/_sandbox/docs").status_code == 401
    shown = running.request("GET", "/_sandbox/docs", headers={"Authorization": f"Bearer {token}"}).text
    assert all('-H "Authorization: Bearer $CONTROL_TOKEN"' in each for each in commands(shown))
    assert token not in shown


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (TextKind(80).schema, "text of at most 80 characters"),
        (TextKind(None).schema, "text"),
        (Whole(1, 500).schema, "a whole number from 1 to 500"),
        ({**Whole(1, 500).schema, "default": 50}, "a whole number from 1 to 500, usually 50"),
        (Seconds(300).schema, "seconds from 0 to 300, or a time such as 2m"),
        ({**Seconds(300).schema, "default": 0.0}, "seconds from 0 to 300, or a time such as 2m, usually 0"),
        (Flag().schema, "true or false"),
        (Wait(30.0).schema, "true or false, or seconds from 0 to 300, or a time such as 2m, usually true"),
        (PageCursor().schema, "text or a whole number"),
        (Phone().schema, "text"),
        (Short().schema, "text"),
        (choice(("a", "b")), "one of a, b"),
        (nullable(choice(("a", "b"))), "one of a, b"),
        (array(text()), "an array: text"),
        (mapping(True), "an object"),
        (obj({"a": text()}), "an object"),
        ({"anyOf": [text(), array(text()), {"type": "null"}]}, "text or an array: text"),
        ({}, "anything"),
    ],
)
def test_what_a_value_may_be_is_said_in_words(schema: Schema, words: str) -> None:
    assert in_words(schema) == words
