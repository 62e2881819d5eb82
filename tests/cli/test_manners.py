"""What a terminal may expect of every command: help, exit codes, one sentence, no stray colour."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
import typer
from typer.utils import get_params_from_function

import diffagiqa
from diffagiqa import __version__
from diffagiqa.cli import doctor
from diffagiqa.cli.main import app
from diffagiqa.cli.main import run as command

COMMANDS = [info.name for info in app.registered_commands]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert "Example" in said
    assert f"$ diffagiqa {name}" in said


@pytest.mark.parametrize("name", [*COMMANDS, "data", "data check"])
def test_help_names_types_in_plain_words(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert not re.search(r"<[a-z]+|bool|list\[", said)
    assert "Example" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_name_options_that_exist(name: str) -> None:
    """Of every command that an example shows, the flags are flags of that command."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = commands[name].help
    assert max(map(len, text.split("Example")[1].splitlines())) <= 78  # they stay on one line
    lines = [line for line in text.replace("\\\n", "").splitlines() if line.startswith("$ ")]
    assert lines
    known = {flag for option in commands[name].params for flag in option.opts}
    for line in lines:
        words = shlex.split(line)[1:]
        assert words[:2] == ["diffagiqa", name]
        assert {word for word in words if word.startswith("--")} <= known


OF_OTHER_PROGRAMS = {"--always", "--dirty", "--abbrev", "--local-dir", "--mixed_precision"}


def test_options_that_a_sentence_names_exist() -> None:
    """Advice such as "give --root FOLDER" can be followed."""
    known, commands = {"--help"} | OF_OTHER_PROGRAMS, [typer.main.get_command(app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        known |= {flag for o in command.params for flag in (*o.opts, *o.secondary_opts)}
    package = Path(diffagiqa.__file__).parent
    for file in set(package.rglob("*.py")) - {package / "cli/help.py"}:  # its example is made up
        named = re.findall(r"(?<![\w-])--[a-z][a-z_-]+", file.read_text(encoding="utf-8"))
        assert set(named) <= known, file


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--version"]) == 0
    assert capsys.readouterr().out == f"diffagiqa {__version__}\n"


def test_wrong_use_is_two_and_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["report", "absent.csv"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert command(["no-such-command"]) == 2


def test_no_colour_outside_a_terminal_and_with_no_color(tmp_path: Path) -> None:
    for changes in ({}, {"NO_COLOR": "1"}):
        done = subprocess.run(
            [sys.executable, "-m", "diffagiqa.cli.main", "report", "absent.csv"],
            capture_output=True, text=True, env={**os.environ, **changes}, check=False,
        )  # fmt: skip
        assert done.returncode == 2  # the module runs, as ``accelerate launch -m`` wants
        assert "\x1b[" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("plain", [False, True])
def test_colour_on_a_terminal_unless_no_color(plain: bool) -> None:
    import pty

    keeper, terminal = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    subprocess.run(
        [sys.executable, "-m", "diffagiqa.cli.main", "report", "absent.csv"],
        stdout=terminal, stderr=terminal, check=False,
        env={**environment, "TERM": "xterm", **({"NO_COLOR": "1"} if plain else {})},
    )  # fmt: skip
    os.close(terminal)
    said = os.read(keeper, 10_000)
    os.close(keeper)
    assert b"error: absent.csv" in said
    assert (b"\x1b[31m" in said) != plain


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    from typer.completion import get_completion_script

    script = get_completion_script(
        prog_name="diffagiqa", complete_var="_DIFFAGIQA_COMPLETE", shell=shell
    )
    assert "_DIFFAGIQA_COMPLETE" in script


def test_tab_completes_a_command_and_an_option() -> None:
    for words, wanted in (("diffagiqa ra", "rank"), ("diffagiqa report --ti", "--title")):
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", "from diffagiqa.cli.main import app; app(prog_name='diffagiqa')"],
            capture_output=True, text=True, check=False,
            env={**os.environ, "_DIFFAGIQA_COMPLETE": "complete_bash", **asked},
        )  # fmt: skip
        assert done.stdout.split() == [wanted], done.stderr


def test_doctor(capsys: pytest.CaptureFixture[str], tiny_model: Path) -> None:
    assert command(["doctor", "--model", str(tiny_model), "--json"]) == 0
    checks = {check["topic"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["model"]["state"] == "ok"
    assert "torch" in checks["libraries"]["found"]
    assert "large backbones in" in checks["device"]["found"]
    assert command(["doctor", "--model", str(tiny_model)]) == 0
    assert "perception, alignment" in " ".join(capsys.readouterr().out.split())


def test_doctor_asks_for_what_the_package_declares() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = {"": project["dependencies"], **project["optional-dependencies"]}
    names = {k: [re.split(r"[^\w.-]", one)[0] for one in v] for k, v in declared.items()}
    assert doctor._wanted() == names


@pytest.mark.parametrize(("fault", "state"), [("", "ok"), ("Triton is not installed", "note")])
def test_doctor_says_whether_the_kernels_are_used(
    fault: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffagiqa.accel.fused.fault_of_kernels", lambda device: fault)
    check = doctor._kernels(torch.device("cuda"))
    assert check.state == state
    assert fault in check.found
    assert bool(check.advice) == bool(fault)


def test_doctor_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert command(["doctor", "--model", str(tmp_path / "empty"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert next(c for c in found if c["topic"] == "model")["state"] == "bad"
    monkeypatch.setattr(doctor, "_wanted", lambda: {"magic": ["no-such-library"], "test": ["x"]})
    with pytest.raises(typer.Exit):
        doctor.doctor(as_json=True)
    last = json.loads(capsys.readouterr().out)[-1]
    assert last["advice"] == "pip install 'diffagiqa[magic]'"


def test_doctor_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A service's user often has none."""
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "absent" / "hub"))
    with pytest.raises(typer.Exit) as ended:
        doctor.doctor(model=None, as_json=True)
    assert ended.value.exit_code == 0
    (disk,) = doctor._hub(None)  # a backbone that the package's model does not need is not missed
    assert disk.topic == "disk"
    assert str(tmp_path) in disk.found


def test_callbacks_are_annotated_as_python_3_10_can_take_them() -> None:
    """There, Typer's ``issubclass`` raises for ``list[str]``, and no command starts."""
    options = [
        option
        for command in app.registered_commands
        for hint in get_type_hints(command.callback, include_extras=True).values()
        for option in getattr(hint, "__metadata__", ())
    ]
    callbacks = {option.callback for option in options if option.callback is not None}
    assert callbacks
    for callback in callbacks:
        assert not any(get_args(p.annotation) for p in get_params_from_function(callback).values())
