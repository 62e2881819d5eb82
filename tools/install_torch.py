"""Install PyTorch without dragging gigabytes of CUDA libraries onto a machine that has no GPU.

Asks pip what it would fetch; where that includes CUDA packages and no NVIDIA driver is here, the CPU
build is taken through uv, which knows PyTorch's own index. Run by ``make setup`` inside the virtual
environment; ``make setup TORCH=cuda`` leaves the choice to pip.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *arguments], check=True)


def would_fetch_cuda(requirement: str) -> bool:
    plan = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet"),
            *("--dry-run", "--report", "-", requirement),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    names = [item["metadata"]["name"] for item in json.loads(plan.stdout)["install"]]
    return any(name.lower().startswith(("nvidia", "cuda")) for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("requirement", nargs="?", default="torch")
    parser.add_argument("--build", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    if importlib.util.find_spec("torch"):
        return
    wants_cpu = options.build == "cpu" or (
        options.build == "auto" and not shutil.which("nvidia-smi")
    )
    if wants_cpu and would_fetch_cuda(options.requirement):
        pip("uv")
        uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
        subprocess.run([*uv, "--torch-backend", "cpu", options.requirement], check=True)
    else:
        pip(options.requirement)


if __name__ == "__main__":
    main()
