"""What is there whatever a test has put in place of the file system: the package's files, and its modules."""

import ast
import builtins
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from sandbox import server
from sandbox.pages import render
from sandbox.scenario import catalogue
from sandbox.store import file
from sandbox.system import package_files
from tests.processes import own_environment

PACKAGE = Path(server.__file__).parent
NOT_SERVED = ("commands", "testkit", "cli.py", "pytest_plugin.py", "testing.py", "settings.py")


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be opened, and no folder be looked into, by what a test can replace."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise FileNotFoundError("in the fake file system")

    for module, name in (
        (builtins, "open"), (io, "open"), (os, "open"), (os, "listdir"), (os, "scandir"), (os, "stat"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.usefixtures("no_files")
def test_scenarios_templates_static_files_and_the_schema_are_there_without_a_file_system() -> None:
    assert catalogue.built_in.__wrapped__() == catalogue.built_in()
    assert render.environment.__wrapped__().get_template("error.html")
    assert render._asset.__wrapped__("page.css")[0]
    connection, _ = file.open_writer(":memory:")
    connection.close()


def test_every_shipped_scenario_is_in_the_catalogue() -> None:
    assert sorted(catalogue.built_in()) == sorted(each.stem for each in (PACKAGE / "scenario/shipped").iterdir())


def test_a_file_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(OSError, match="nothing"):
        package_files.read("nothing")


def imported_late(path: Path) -> Iterator[str]:
    """The modules that functions of a file import."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    yield from (each.name for each in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module is not None:
                    yield node.module
                    if node.module.startswith("sandbox."):
                        yield from (f"{node.module}.{each.name}" for each in node.names)


def test_all_that_a_server_imports_late_can_be_imported_before() -> None:
    script = "import sys; from sandbox import server; server.import_late(); print(*sys.modules)"
    done = subprocess.run(
        (sys.executable, "-c", script), env=own_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    there = set(done.stdout.split())
    modules = [each for each in PACKAGE.rglob("*.py") if each.relative_to(PACKAGE).parts[0] not in NOT_SERVED]
    exists = {".".join(each.relative_to(PACKAGE.parent).with_suffix("").parts) for each in modules}
    missing = {
        name
        for path in modules
        for name in imported_late(path)
        if name not in there and (name in exists or not name.startswith("sandbox."))
    }
    # An event loop of the system's is imported at the start, and the sample application by `serve --demo` alone.
    assert missing - {"uvloop", "sandbox.demo.survey"} == set()
