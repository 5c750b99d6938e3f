"""What browsers load: little, safe by its form, and part of what is shipped."""

import gzip
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.conftest import WEB_PACKAGES

ROOT = Path(__file__).parent.parent
WEB = ROOT / "src/gapless/web"
LOADED = (".css", ".html", ".js", ".svg")

CONSOLE_BYTES_MAX = 120_000
MODULE_LINES_MAX = 600

# What makes a text into more than text, or a script or style of what a policy cannot tell from ours.
UNSAFE = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(|srcdoc"
    r"|setAttribute\(\s*[\"'](style|on)|\sstyle=[\"'`]|\son\w+=[\"'`]|javascript:"
)


JOINED = ("begin.min.js", "console.min.css", "console.min.js")


def own() -> list[Path]:
    """What is written here, as it is written."""
    paths = [path for folder in ("console", "demo", "shared") for path in sorted((WEB / folder).rglob("*"))]
    return [path for path in paths if path.suffix in LOADED and path.name not in JOINED]


def console() -> list[Path]:
    """What a browser loads of the console: its page, and all that this names."""
    page = WEB / "console/index.html"
    named = re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg))"', page.read_text())
    return [page, *(WEB / name if "/" in name else WEB / "console" / name for name in named)]


def test_the_whole_console_is_small() -> None:
    paths = console()
    assert {path.name for path in paths} == {*JOINED, "index.html", "centrifuge.js", "first.js", "icon.svg"}
    sizes = {str(path.relative_to(WEB)): len(gzip.compress(path.read_bytes(), 9)) for path in paths}
    told = "\n".join(f"{size:7,} {path}" for path, size in sorted(sizes.items(), key=lambda item: -item[1]))
    total = sum(sizes.values())
    assert total < CONSOLE_BYTES_MAX, f"{total:,} bytes, where {CONSOLE_BYTES_MAX:,} are the limit:\n{told}"


def test_what_is_shipped_is_made_of_what_stands_beside_it(tmp_path: Path) -> None:
    if not (WEB_PACKAGES / "esbuild").is_dir():
        pytest.skip("no packages for browsers: `make test` installs them")
    subprocess.run(["node", str(ROOT / "tools/web/bundle.mjs"), str(tmp_path)], check=True)
    for name in JOINED:
        same = (tmp_path / name).read_bytes() == (WEB / "console" / name).read_bytes()
        assert same, f"{name} is not made of the modules as they are now: `make web`"


def test_text_in_a_page_stays_text() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in own()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if UNSAFE.search(line)
    ]
    assert not found


def test_a_script_can_be_read_in_one_sitting() -> None:
    lines = {
        str(path.relative_to(WEB)): len(path.read_text().splitlines())
        for path in own()
        if path.suffix == ".js"
    }
    assert not {path: count for path, count in lines.items() if count > MODULE_LINES_MAX}


def test_what_is_shipped_holds_all_that_browsers_load(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as shipped:
        names = {name for name in shipped.namelist() if name.startswith("gapless/web/")}
    others = [path for folder in ("demo", "shared", "vendor") for path in (WEB / folder).rglob("*")]
    files = {*(path for path in others if path.is_file()), *console()}
    assert names == {f"gapless/web/{path.relative_to(WEB)}" for path in files}
    assert any(name.startswith("gapless/web/vendor/LICENSES/") for name in names)
