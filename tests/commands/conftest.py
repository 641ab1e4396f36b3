"""The command line as people and shell scripts use it: against a real sandbox, in an empty folder."""

import os
from pathlib import Path

import pytest

from tests.commands.shell import PREFIX, Shell
from tests.conftest import Bench


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and nothing of the sandbox in the environment."""
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(alone: None, routed: Bench) -> Shell:
    """`run("messages", "--json")`: a command, for the account of this test."""
    return Shell(routed)
