"""What a worker says of a target that it cannot serve."""

import os
from importlib import import_module
from pathlib import Path

import pytest

from gapless.core.errors import ConfigError
from gapless.worker.changes import Files
from gapless.worker.finding import find


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("needy", "import nothing_like_it", "cannot be imported: ModuleNotFoundError: No module named 'noth"),
        ("broken", "def (", "cannot be imported: SyntaxError"),
        ("failing", "1 / 0", r"cannot be imported: ZeroDivisionError: division by zero \(.*failing.py:1\)"),
        ("empty", "x = 1", "has no 'gl'$"),
    ],
)
def test_why_a_module_cannot_be_served_is_told(tmp_path: Path, name: str, body: str, told: str) -> None:
    (tmp_path / f"{name}.py").write_text(body)
    with pytest.raises(ConfigError, match=told):
        find(f"{name}:gl")


@pytest.mark.parametrize("target", ["", ":gl", ".gl"])
def test_a_target_names_a_module(target: str) -> None:
    with pytest.raises(ConfigError, match="names no module"):
        find(target)


def test_the_name_of_a_gapless_is_gl_unless_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "found_gl.py").write_text("from gapless import Gapless\ngl = other = Gapless('memory:')")
    assert find("found_gl") is find("found_gl:other")


def test_files_of_a_program_that_change_are_found_also_while_they_cannot_be_imported(tmp_path: Path) -> None:
    path = tmp_path / "found_broken.py"
    path.write_text("def (")
    files = Files()
    assert files.changed() == []
    path.unlink()
    assert files.changed() == [str(path)]


def test_a_module_that_was_imported_is_watched_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    files = Files()
    path = tmp_path / "found_elsewhere.py"
    path.write_text("")
    import_module("found_elsewhere")
    assert files.changed() == []
    os.utime(path, (1, 1))
    assert files.changed() == [str(path)]


def test_files_that_come_later_are_watched_and_those_of_others_are_not(tmp_path: Path) -> None:
    folders = [tmp_path / folder for folder in ("shop/rules", "env/lib", ".git", "node_modules/x")]
    for folder in folders:
        folder.mkdir(parents=True)
    (tmp_path / "env/pyvenv.cfg").write_text("")
    files = Files()
    for folder in folders:
        (folder / "a.py").write_text("")
        (folder / "noted.txt").write_text("")
    assert files.changed() == [f"{tmp_path}/shop/rules/a.py"]
