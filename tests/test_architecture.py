"""What a machine can hold of the architecture: layers, one address for each outside library, no module too long."""

import ast
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
    *("system", "rules", "scenario", "store", "transfer", "webhooks", "core", "http"),
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
    if {here, there} == {"api", "pages"} or (here in ("testkit", "client", "hostile", "commands") and there in SERVER):
        return False
    return LAYERS.index(there) < LAYERS.index(here)


def imported() -> Iterator[tuple[str, str]]:
    for module, path in modules().items():
        yield from ((module, name.removeprefix("sandbox.")) for name in imports(path) if name.startswith("sandbox."))


def test_a_module_imports_only_what_stands_below_it() -> None:
    assert [pair for pair in imported() if not may_import(*pair)] == []


def test_every_exception_is_used() -> None:
    assert set(EXCEPTIONS) - set(imported()) == set()


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


def test_the_architecture_page_names_every_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in modules() if f"{name.rpartition('.')[2]}.py" not in page] == []
