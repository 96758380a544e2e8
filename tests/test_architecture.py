"""The shape of the house: who imports whom, how long files and functions are, what is swallowed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("engine", "exports", "training", "annotator")
MAY_IMPORT = {
    "engine": set(),
    "exports": {"engine"},
    "training": {"engine", "exports"},
    "annotator": {"engine", "exports"},
    "app.py": {"annotator"},
}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
# The edge where one photo that breaks a pipeline must not stop a run of ten thousand.
BROAD_EXCEPTS = {Path("annotator/suggest.py"): 1, Path("annotator/assist.py"): 1}

SOURCES = [
    Path("app.py"),
    *sorted(
        path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    ),
]
TESTS = sorted(
    path.relative_to(ROOT)
    for folder in ("tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
SCRIPTS = sorted(
    path.relative_to(ROOT)
    for folder in ("annotator", "tests")
    for pattern in ("*.js", "*.css", "*.html")
    for path in (ROOT / folder).rglob(pattern)
)


def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imported_packages(tree: ast.AST) -> set[str]:
    """Top-level names of everything imported, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            names.add(str(node.module).partition(".")[0])
    return names


def test_the_walk_finds_the_sources() -> None:
    assert Path("engine/types.py") in SOURCES
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_down(path: Path) -> None:
    ours = imported_packages(tree_of(path)) & {*PACKAGES, "tests", "benchmarks", "app"}
    assert ours <= MAY_IMPORT[path.parts[0]] | {path.parts[0]}


@pytest.mark.parametrize("path", [*SOURCES, *TESTS, *SCRIPTS], ids=str)
def test_no_file_is_too_long(path: Path) -> None:
    lines = (ROOT / path).read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_function_is_too_long(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_errors_are_not_swallowed(path: Path) -> None:
    broad = 0
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            broad += caught in ("everything", "Exception", "BaseException")
            assert not all(isinstance(line, ast.Pass) for line in node.body), caught
    assert broad <= BROAD_EXCEPTS.get(path, 0)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_file_says_in_its_first_lines_what_it_does(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_libraries_do_not_print(path: Path) -> None:
    if path == Path("annotator/__main__.py"):  # its two lines on stderr are the answer
        return
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)


def test_no_torch_load_without_weights_only() -> None:
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert given.get("weights_only") == "True", path
