"""What a machine can hold of the architecture: layers, one address for each outside library, no module too long."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sandbox"
LINES = 600

# Imports go down this list only, folder by folder; within a folder, in the order that its `__init__.py` states.
LAYERS = (
    *("errors", "model", "clock", "wire", "values", "settings"),
    *("system", "objects", "rules", "scenario", "store", "transfer", "webhooks", "core", "http"),
    *("api", "pages"),
    *("asgi", "demo", "server"),
    *("testkit", "client", "hostile", "testing"),
    *("commands", "cli", "pytest_plugin"),
)
SERVER = ("store", "transfer", "webhooks", "core", "http", "api", "pages", "asgi", "server")
"""What runs only where a sandbox is served."""

# Who may import what the rules above do not let it, and why.
EXCEPTIONS = {
    ("testkit.assertions", "client"): "what tests are written with is written with the public client",
    ("testkit.own_sandbox", "client"): "the same",
    ("testkit.child_process", "server"): "it is the child process that serves",
    ("testkit.own_sandbox", "server"): "a sandbox in the tests' own process",
    ("testkit.own_sandbox", "core.services"): "the same, for its types",
    ("testing", "http.server"): "a test's application is served as the sandbox is",
    ("commands.serving", "server"): "serve",
    ("commands.serving", "core.services"): "the same, for its types",
    ("commands.serving", "api.openapi"): "openapi",
    ("commands.transfer", "transfer.imports"): "a file is cut into parts as an import reads it",
    ("store.scenarios", "rules.matching"): "Difference, a noun that rows are read into",
    ("store.findings", "rules.findings"): "AttemptRecord and Paused, the same",
    ("store.database", "asyncio"): "what is read and written in threads is awaited",
}

# What the server knows and a test holds: one noun, and so one name, on both sides of the control API.
SHARED = {
    *("Attempt", "Clock", "Difference", "Fault", "Finding", "Handset", "Message", "Miss", "NearMiss", "Problem"),
    *("Run", "Waited", "WebhookDelivery"),
}

# Each outside library has one address, so that it can be weighed, and replaced, in one place.
ADDRESSES = {
    "starlette": ("http.", "api.", "pages.", "asgi.", "demo."),
    "jinja2": ("pages.",),
    "markupsafe": ("pages.", "asgi."),
    "uvicorn": ("http.server", "http.limits"),
    "uvloop": ("http.server",),
    "httptools": ("webhooks.poster", "http.limits"),
    "sqlite3": ("store.file", "store.checkpoints", "store.database"),
    "anyio": ("testkit.transport",),
    "click": ("cli", "commands."),
    "yaml": ("scenario.script",),
    "regex": ("rules.matching",),
    "pytest": ("pytest_plugin",),
}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not name.endswith("__init__"):
            found[name] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    return frozenset(found_imports(path))


def found_imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file it does so."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            assert node.module is not None
            for alias in node.names:  # `from sandbox.store import journal` imports a module
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper.removeprefix("sandbox.") in modules() else node.module


def folder_of(module: str) -> str:
    """The folder, or the module itself where it lies at the root."""
    return module.partition(".")[0]


@cache
def order_of(folder: str) -> Sequence[str]:
    """The modules of a folder as its `__init__.py` orders them."""
    said = ast.get_docstring(tree(PACKAGE / folder / "__init__.py")) or ""
    _, _, order = said.partition("In the order in which they may import each other: ")
    return order.rstrip(".").replace("\n", " ").split(", ")


def may_import(module: str, other: str) -> bool:
    """Whether `module` may import `other`, both without the package's name."""
    here, there = folder_of(module), folder_of(other)
    if (module, other) in EXCEPTIONS:
        return True
    if here == there:
        order = order_of(here)
        return order.index(other.partition(".")[2]) < order.index(module.partition(".")[2])
    if here == "store" and there == "rules":
        return False
    if {here, there} == {"api", "pages"} or (here in ("testkit", "client", "hostile", "commands") and there in SERVER):
        return False
    return LAYERS.index(there) < LAYERS.index(here)


def imported() -> Iterator[tuple[str, str]]:
    for module, path in modules().items():
        yield from ((module, name.removeprefix("sandbox.")) for name in imports(path) if name.startswith("sandbox."))


def test_a_module_imports_only_what_stands_below_it() -> None:
    assert [pair for pair in imported() if not may_import(*pair)] == []


def test_every_exception_is_used() -> None:
    assert set(EXCEPTIONS) - {*imported(), *awaiting("store")} == set()


def awaiting(folder: str) -> set[tuple[str, str]]:
    """What in a folder imports asyncio."""
    found = (name for name, path in modules().items() if "asyncio" in imports(path))
    return {(name, "asyncio") for name in found if folder_of(name) == folder}


def test_sql_awaits_nothing() -> None:
    assert awaiting("store") - set(EXCEPTIONS) == set()


def test_nobody_imports_the_package_root() -> None:
    assert [module for module, path in modules().items() if "sandbox" in imports(path)] == []


def test_every_module_has_its_place() -> None:
    assert {folder_of(module) for module in modules()} == set(LAYERS)
    folders = {folder_of(module) for module in modules() if "." in module}
    ordered = [f"{folder}.{name}" for folder in sorted(folders) for name in order_of(folder)]
    assert sorted(ordered) == sorted(module for module in modules() if "." in module)


def test_at_most_ten_modules_lie_at_the_root() -> None:
    assert len([module for module in modules() if "." not in module]) <= 10


def test_the_name_of_a_class_has_one_meaning() -> None:
    classes = (each for path in modules().values() for each in ast.walk(tree(path)) if isinstance(each, ast.ClassDef))
    names = Counter(each.name.lstrip("_") for each in classes)
    assert {name for name, count in names.items() if count > 1} == SHARED


@pytest.mark.parametrize("library", ADDRESSES)
def test_an_outside_library_has_one_address(library: str) -> None:
    users = {name for name, path in modules().items() if any(each.split(".")[0] == library for each in imports(path))}
    allowed = ADDRESSES[library]
    assert {name for name in users if not any(name == place or name.startswith(place) for place in allowed)} == set()


def test_the_package_uses_no_other_library() -> None:
    known = {*sys.stdlib_module_names, *ADDRESSES, "sandbox"}
    used = {name.split(".")[0] for path in modules().values() for name in imports(path)}
    assert used - known == set()


def test_no_module_is_too_long() -> None:
    sizes = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: size for name, size in sizes.items() if size > LINES} == {}


def test_a_module_says_what_lives_in_it() -> None:
    assert [name for name, path in modules().items() if not ast.get_docstring(tree(path))] == []


def picture() -> str:
    """The layers as docs/architecture.md shows them: the top first, a folder with the first line of its docstring."""
    lines: list[str] = []
    modules_before = False
    for layer in reversed(LAYERS):
        is_folder = (PACKAGE / layer).is_dir()
        if is_folder:
            said = (ast.get_docstring(tree(PACKAGE / layer / "__init__.py")) or "").splitlines()[0]
            lines.append(f"{layer + '/':<12}{said}")
        elif modules_before:
            lines[-1] += f" · {layer}"
        else:
            lines.append(layer)
        modules_before = not is_folder
    return "\n".join(lines)


def test_the_architecture_page_shows_the_layers_as_they_are() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = page[page.index("## Layers") :].split("```")[1].strip()
    assert shown == picture(), "paste what `python tests/test_architecture.py` prints"


def test_the_questions_of_a_newcomer_are_answered_by_what_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    answers = re.findall(r"^\| [^|]+\? \| `([\w/]+)(\.py)?`(?:, `(\w+)`)?", page, re.MULTILINE)
    assert len(answers) >= 3
    for path, suffix, name in answers:
        assert (PACKAGE / f"{path}{suffix}").exists(), path
        assert not name or f"def {name}(" in (PACKAGE / f"{path}{suffix}").read_text(encoding="utf-8"), name


def test_the_architecture_page_names_every_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in modules() if f"{name.rpartition('.')[2]}.py" not in page] == []


if __name__ == "__main__":
    print(picture())
