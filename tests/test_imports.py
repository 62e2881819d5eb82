"""Imports point one way: the core knows nothing of the edges."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import diffagiqa

SOURCE = Path(diffagiqa.__file__).parent

# Each package may import from those of lower rank, and from itself.
RANK = {
    "errors": 0,
    "startup": 0,
    "overlap": 0,
    "assets": 0,
    "checks": 1,
    "device": 1,
    "data": 2,
    "backbones": 3,
    "model": 4,
    "accel": 5,
    "dina": 5,
    "pretrained": 6,
    "convert": 7,
    "evaluation": 7,
    "batches": 7,
    "prompt_encoding": 7,
    "scorer": 8,
    "rows": 9,
    "training": 9,
    "explain": 10,
    "jobs": 10,
    "serving": 11,
    "bench": 12,
    "report": 12,
    "integrations": 12,
    "app": 13,
    "cli": 14,
    "__main__": 15,
}


def imported(file: Path) -> set[str]:
    """Packages of ours that a file imports: inside functions too, and by ``import_module``."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module == "diffagiqa":
            names = [f"diffagiqa.{alias.name}" for alias in node.names if alias.name in RANK]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(value.value) for value in node.args if isinstance(value, ast.Constant)]
        found |= {n.split(".")[1] for n in names if n.startswith("diffagiqa.")}
    return found


def test_imports_point_one_way() -> None:
    wrong = []
    for file in SOURCE.rglob("*.py"):
        package = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        if package == "__init__":
            continue
        assert package in RANK, f"{package} has no rank in {Path(__file__).name}"
        for other in imported(file) - {package}:
            if RANK[other] >= RANK[package]:
                wrong.append(f"{file.relative_to(SOURCE)} imports {other}")
    assert not wrong


def files_imported(file: Path) -> set[str]:
    """Modules of ours that a file imports, by full name: inside functions too, not for types alone."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diffagiqa"):
            modules |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


def test_no_file_imports_itself_by_way_of_others() -> None:
    files = {
        ".".join(("diffagiqa", *file.relative_to(SOURCE).with_suffix("").parts)): file
        for file in SOURCE.rglob("*.py")
        if file.stem not in ("__init__", "__main__")
    }
    graph = {name: files_imported(file) & set(files) - {name} for name, file in files.items()}
    with pytest.raises(CycleError):  # what the check below would say of a circle
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
    TopologicalSorter(graph).prepare()


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, diffagiqa.cli.main; "
        "print([m for m in ('torch','diffusers','transformers','pandas','ray','gradio',"
        "'matplotlib','scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_what_is_wrong_is_said_before_a_network_is_loaded(tmp_path: Path) -> None:
    """A refusal imports no PyTorch, which alone takes a second and more."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (tmp_path / "rated.csv").write_text("image,prompt\na.png,a fox\n", encoding="utf-8")
    (tmp_path / "broken.png").write_text("no image", encoding="utf-8")
    wrong = [
        "score absent.png", "score empty", "score table.csv", "score empty --out x.txt",
        "report absent.csv", "report table.csv", "rank table.csv", "rank absent.csv --copy-to empty",
        "compare absent.csv absent.csv", "tag absent.csv", "explain absent.png", "explain broken.png",
        "explain broken.png --out why.jpg", "evaluate absent.csv", "evaluate table.csv",
        "evaluate rated.csv --label perception=quality", "demo table.csv/demo",
    ]  # fmt: skip
    code = (
        "import sys; from diffagiqa.cli.main import run\n"
        f"for line in {wrong}:\n"
        "    assert run(line.split()) == 2, line\n"
        "    assert 'torch' not in sys.modules, line"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("error: ") == len(wrong)
