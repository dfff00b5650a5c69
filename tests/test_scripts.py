"""scripts/setup with interpreters that only pretend: which one it takes, and when it installs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def python(path: Path, version: tuple[int, int], missing: str = "none") -> Path:
    """A real interpreter that says it is of this version and has no module `missing`."""
    pretend = f"import sys; sys.version_info = {version}; sys.modules[{missing!r}] = None; exec(sys.argv[1])"
    return executable(path, f'[ "$1" = -c ] && exec \'{sys.executable}\' -I -S -c "{pretend}" "$2"\n')


def which(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """scripts/setup --which, where PATH is folder/bin and home is folder/home."""
    environment = {"PATH": str(folder / "bin"), "HOME": str(folder / "home")} | environment
    setup = str(ROOT / "scripts" / "setup")
    return subprocess.run(["/bin/sh", setup, "--which"], env=environment, capture_output=True, text=True, timeout=60)


def test_passes_over_an_old_default(tmp_path):
    python(tmp_path / "bin/python3", (3, 11))
    wanted = python(tmp_path / "bin/python3.12", (3, 12))
    assert which(tmp_path).stdout == f"{wanted}\n"


def test_takes_the_only_one(tmp_path):
    wanted = python(tmp_path / "bin/python3.14", (3, 14))
    assert which(tmp_path).stdout == f"{wanted}\n"


def test_takes_python3_when_it_is_new_enough(tmp_path):
    wanted = python(tmp_path / "bin/python3", (3, 13))
    assert which(tmp_path).stdout == f"{wanted}\n"


def test_passes_over_a_shim_that_fails_and_one_without_pip(tmp_path):
    executable(tmp_path / "bin/python3.13", "exit 127\n")
    python(tmp_path / "bin/python3.12", (3, 12), missing="ensurepip")
    wanted = python(tmp_path / "home/.pyenv/versions/3.13.0/bin/python", (3, 13))
    assert which(tmp_path).stdout == f"{wanted}\n"


def test_finds_pyenv_elsewhere(tmp_path):
    python(tmp_path / "my pyenv/versions/3.11.7/bin/python", (3, 11))
    wanted = python(tmp_path / "my pyenv/versions/3.12.1/bin/python", (3, 12))
    assert which(tmp_path, PYENV_ROOT=str(tmp_path / "my pyenv")).stdout == f"{wanted}\n"


def test_the_named_one_comes_first(tmp_path):
    python(tmp_path / "bin/python3.14", (3, 14))
    wanted = python(tmp_path / "mine/python", (3, 12))
    assert which(tmp_path, PYTHON=str(wanted)).stdout == f"{wanted}\n"


def test_says_so_when_the_named_one_is_too_old(tmp_path):
    old = python(tmp_path / "mine/python", (3, 11))
    wanted = python(tmp_path / "bin/python3.12", (3, 12))
    result = which(tmp_path, PYTHON=str(old))
    assert result.stdout == f"{wanted}\n"
    assert str(old) in result.stderr


def test_uv_comes_last(tmp_path):
    python(tmp_path / "bin/python3", (3, 11))
    executable(tmp_path / "bin/uv", "exit 1\n")
    assert which(tmp_path).stdout.startswith("uv venv --python")


def test_one_line_when_there_is_none(tmp_path):
    python(tmp_path / "bin/python3", (3, 11))
    result = which(tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    for tried in ("$PYTHON", "python3.14", "python3.13", "python3.12", "python3,", "pyenv", "uv", "PYTHON=/"):
        assert tried in result.stderr


PRETENDED = """
case "$*" in
-c*) exit 0 ;;
-V*) echo Python 3.12.0 ;;
*-m\\ venv*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*--version*) ;;
*) echo "$*" >>"$LOG"; exit "${FAILS:-0}" ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A copy of what setup needs, and a function that runs it and returns the log of its installations."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "scripts" / "setup", tmp_path / "scripts")
    log = tmp_path / "log"

    def setup(*options: str, **environment: str) -> tuple[int, list[str]]:
        log.write_text("")
        named = {"PYTHON": str(executable(tmp_path / "pretended", PRETENDED)), "LOG": str(log)}
        command = ["/bin/sh", str(tmp_path / "scripts" / "setup"), *options]
        result = subprocess.run(command, env=os.environ | named | environment, capture_output=True, timeout=60)
        return result.returncode, [line.split()[-1] for line in log.read_text().splitlines()]

    setup.folder = tmp_path
    return setup


def test_installs_once(clone):
    assert clone() == (0, [".[test]"])
    assert clone() == (0, [])
    assert clone("--dev") == (0, [".[test,dev]"])
    assert clone() == (0, [])


def test_installs_again_when_pyproject_changed(clone):
    clone("cuda13")
    with open(clone.folder / "pyproject.toml", "a") as file:
        file.write("# changed\n")
    assert clone() == (0, [".[test,cuda13]"])


def test_a_failed_installation_is_tried_again(clone):
    assert clone(FAILS="1") == (1, [".[test]"] * 2)
    assert clone() == (0, [".[test]"])


def test_an_interrupted_installation_is_made_anew(clone):
    clone()
    finished = subprocess.Popen(["true"])
    finished.wait()
    (clone.folder / ".venv/zoo-setup.running").write_text(f"{finished.pid}\n")
    (clone.folder / ".venv/half").touch()
    assert clone() == (0, [".[test]"])
    assert not (clone.folder / ".venv/half").exists()


def test_two_do_not_install_at_once(clone):
    clone()
    (clone.folder / ".venv/zoo-setup.running").write_text(f"{os.getpid()}\n")
    assert clone() == (1, [])


def test_a_venv_that_does_not_run_is_made_anew(clone):
    clone()
    (clone.folder / ".venv/bin/python").unlink()
    assert clone() == (0, [".[test]"])


def test_unknown_arguments(clone):
    assert clone("--devel") == (1, [])
    assert clone("cuda") == (1, [])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run(script):
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["/bin/sh", "-n", script], check=True)


def test_ci_can_be_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
