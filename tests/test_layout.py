"""Imports inside colorcv run one way: the graph has no cycle and keeps to the allowed edges."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "colorcv"

# What everything may import. "__init__" is colorcv itself, for its version: at run time it imports
# nothing but errors.
LEAVES = {
    *("__init__", "errors", "_typing", "_opencv", "_logging", "_parallel", "_atomic"),
    *("_signatures", "_naming"),
}
# What each part of the package may import besides the leaves and itself.
ALLOWED: dict[str, set[str]] = {
    "__main__": {"cli"},
    "cli": {
        *("video", "api", "colorizer", "predictor", "steering"),
        *("models", "network", "image", "color"),
    },
    "video": {
        *("api", "colorizer", "frames", "steering", "temporal", "anchors"),
        *("models", "image", "color"),
    },
    "api": {"colorizer", "predictor", "steering", "models", "image"},
    "colorizer": {
        *("predictor", "frames", "steering"),
        *("image", "color"),
    },
    "predictor": {"network", "models", "tensors"},
    "tensors": {"models", "color"},
    "steering": {"network", "image", "color"},
    "frames": {"temporal", "anchors", "image", "color"},
    "image": {"color"},
    "network": set(),
    "models": set(),
    "temporal": {"anchors", "cuts"},
    "cuts": set(),
    "anchors": set(),
    "color": set(),
}

# Inside a package: its modules from the top layer to the bottom. A module may import those of the
# layers below its own. A subpackage stands for all of its modules.
LAYERS = {
    "colorcv.video": (
        {"__init__"},
        {"api"},
        {"backends", "pipeline", "steering"},
        {"pyav"},
        {"opencv"},
        {"ffmpeg"},
        {"transcode", "workers"},
        {"border", "options", "output", "result"},
    ),
    "colorcv.video.pyav": (
        {"backend"},
        {"probe"},
        {"reader", "writer", "sampling"},
        {"demuxer", "inspection", "codecs"},
        {"passthrough"},
        {"planes", "timestamps", "matroska"},
    ),
    "colorcv.video.opencv": ({"backend"}, {"writer"}, {"reader"}),
    "colorcv.network": (
        {"__init__"},
        {"api"},
        {"inference"},
        {"forms"},
        {"engine"},
        {"profiles"},
        {"onnx_import"},
        {"rewrites", "caffe", "loading", "cost"},
        {"onnx", "device", "files"},
        {"graph", "protobuf", "adapter", "lightness", "memory"},
    ),
    "colorcv.steering": (
        {"methods"},
        {"session"},
        {"editing"},
        {"hints", "suggestions"},
        {"regression"},
        {"kernel"},
    ),
    "colorcv.network.caffe": (
        {"importer"},
        {"layers"},
        {"convolution"},
        {"context"},
        {"caffemodel", "prototxt", "centers"},
    ),
    "colorcv.network.onnx_import": (
        {"__init__"},
        {"importer"},
        {"operators", "features", "fusions"},
        {"activations", "convolution", "matrix", "normalization"},
        {"padding"},
        {"layout"},
        {"elementwise", "constants", "resampling"},
        {"call"},
        {"context"},
        {"model"},
        {"tensors"},
        {"varints"},
    ),
    "colorcv.network.rewrites": (
        {"channels_last"},
        {"dilation", "tiles"},
        {"winograd", "head"},
        {"transforms"},
    ),
    "colorcv.models": (
        {"__init__"},
        {"cache"},
        {"transfer"},
        {"hashes", "settings"},
        {"registry", "conventions"},
        {"info"},
    ),
    "colorcv.models.transfer": (
        {"downloader"},
        {"mirrors"},
        {"response"},
        {"http", "partial"},
        {"locks"},
    ),
}
Graph = dict[str, set[str]]


def module_name(path: Path, package: Path) -> str:
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported_names(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[str, bool]]:
    """Yield each imported dotted name, and whether it stands below `if TYPE_CHECKING`.

    ``from .a import b`` yields ``package.a.b``; `resolve` finds out whether b is a module.
    """
    typing_only = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.unparse(guard.test)
        for statement in guard.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".") if is_package else module.split(".")[:-1]
            parents = parents[: len(parents) - (node.level - 1)] if node.level else []
            base = ".".join([*parents, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}", id(node) in typing_only


def import_graph(package: Path, *, typing_only: bool = False) -> Graph:
    """Return which module of the package imports which, also inside functions.

    Imports for type checkers only are a graph of their own: they never run.
    """
    files = {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    graph: Graph = {}
    for module, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = set()
        names = imported_names(tree, module, is_package=path.name == "__init__.py")
        for name, is_typing_only in names:
            while name and name not in files:
                name = name.rpartition(".")[0]
            if name and name != module and is_typing_only == typing_only:
                found.add(name)
        graph[module] = found
    return graph


def find_cycle(graph: Graph) -> list[str]:
    """Return the modules of one import cycle in order, or an empty list."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph[module]):
            if cycle := visit(target, [*path, module]):
                return cycle
        done.add(module)
        return []

    return next((cycle for module in sorted(graph) if (cycle := visit(module, []))), [])


def forbidden_edges(graph: Graph) -> list[str]:
    """Return the imports that go against the direction above, as ``importer -> imported``."""
    found = []
    for module, targets in graph.items():
        for target in targets:
            a, b = part_of(module), part_of(target)
            if a != b and b not in ALLOWED.get(a, set()) | LEAVES:
                found.append(f"{module} -> {target}")
            found += [
                f"{module} -> {target} ({package}: wrong way)"
                for package, layers in LAYERS.items()
                if not goes_down(module, target, package, layers)
            ]
    return sorted(found)


def part_of(module: str) -> str:
    """Return the name right below ``colorcv``: ``video`` for ``colorcv.video.pyav.reader``."""
    return ([*module.split("."), "__init__"])[1]


def goes_down(module: str, target: str, package: str, layers: tuple[set[str], ...]) -> bool:
    """Return True unless both are in the package, in different modules, and not from top down."""
    levels, names = [], []
    for name in (module, target):
        if name != package and not name.startswith(f"{package}."):
            return True
        names.append(([*name.removeprefix(package).split("."), "__init__"])[1])
        level = next((i for i, layer in enumerate(layers) if names[-1] in layer), None)
        if level is None:
            return False  # a module that the table does not know
        levels.append(level)
    return names[0] == names[1] or levels[0] < levels[1]


def test_imports_have_no_cycle() -> None:
    assert find_cycle(import_graph(PACKAGE)) == []


def test_imports_follow_the_layers() -> None:
    assert forbidden_edges(import_graph(PACKAGE)) == []


def test_imports_for_type_checkers_follow_the_layers() -> None:
    graph = import_graph(PACKAGE, typing_only=True)
    graph.pop("colorcv")  # the public names, which are imported on first use
    assert forbidden_edges(graph) == []


def test_the_package_itself_imports_only_its_errors() -> None:
    assert import_graph(PACKAGE)["colorcv"] <= {"colorcv.errors"}


@pytest.mark.parametrize(
    ("module", "statement", "cycle"),
    [
        pytest.param(
            "color/lab.py",
            "from ..image import source",
            {"colorcv.color.lab", "colorcv.image.source"},
            id="relative import of a module",
        ),
        pytest.param(
            "errors.py",
            "def f():\n    from colorcv.colorizer import Colorizer",
            {"colorcv.errors", "colorcv.colorizer"},
            id="absolute import inside a function",
        ),
    ],
)
def test_planted_cycle_is_found(
    tmp_path: Path, module: str, statement: str, cycle: set[str]
) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "colorcv", ignore=shutil.ignore_patterns("lite"))
    path = copy / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{statement}\n", encoding="utf-8")
    graph = import_graph(copy)
    assert cycle <= set(find_cycle(graph))
    assert forbidden_edges(graph)


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        pytest.param("network/graph.py", "from ..models import info", id="between packages"),
        pytest.param("video/workers.py", "from . import transcode", id="inside a layer"),
        pytest.param("models/registry.py", "from .hashes import *", id="upwards in a package"),
    ],
)
def test_planted_import_the_wrong_way_is_found(tmp_path: Path, module: str, statement: str) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "colorcv", ignore=shutil.ignore_patterns("lite"))
    before = forbidden_edges(import_graph(copy))
    path = copy / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{statement}\n", encoding="utf-8")
    assert len(forbidden_edges(import_graph(copy))) > len(before)


def test_type_checking_imports_are_listed_apart(tmp_path: Path) -> None:
    copy = tmp_path / "colorcv"
    copy.mkdir()
    (copy / "__init__.py").write_text("")
    (copy / "a.py").write_text("if TYPE_CHECKING:\n    from .b import B\n")
    (copy / "b.py").write_text("from .a import A\n")
    assert import_graph(copy)["colorcv.a"] == set()
    assert import_graph(copy, typing_only=True)["colorcv.a"] == {"colorcv.b"}
    assert find_cycle(import_graph(copy)) == []


@pytest.mark.parametrize("module", ["anchors", "cuts", "steering.kernel"])
def test_pure_array_modules_import_only_leaves(module: str) -> None:
    imported = import_graph(PACKAGE)[f"colorcv.{module}"]
    assert {part_of(name) for name in imported} <= LEAVES
