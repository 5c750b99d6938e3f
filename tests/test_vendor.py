"""What browsers load of others: each file is what its pinned package holds, and brings its licence along."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WEB_PACKAGES

ROOT = Path(__file__).parent.parent
VENDOR = ROOT / "src/gapless/web/vendor"
VERSIONS: list[dict[str, Any]] = json.loads((VENDOR / "versions.json").read_text())
PINS: dict[str, str] = json.loads((ROOT / "tools/web/package.json").read_text())["dependencies"]

IMPORTED = re.compile(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""")


def below(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("about", VERSIONS, ids=lambda about: str(about["file"]))
def test_a_file_of_others_is_the_one_that_was_taken(about: dict[str, Any]) -> None:
    assert hashlib.sha256((VENDOR / about["file"]).read_bytes()).hexdigest() == about["sha256"]
    assert about["version"] == PINS[about["package"]]


def test_every_file_of_others_is_told_of_with_its_licence() -> None:
    told = {about["file"] for about in VERSIONS}
    licences = {name for about in VERSIONS for name in about["licence_files"]}
    assert below(VENDOR).keys() == {"versions.json"} | told | licences
    assert all(about["licence"] in ("MIT", "Apache-2.0") and about["licence_files"] for about in VERSIONS)


def test_modules_of_others_find_each_other_without_a_map_of_imports() -> None:
    for about in VERSIONS:
        text = (VENDOR / about["file"]).read_text()
        if about["file"].endswith(".js") and about["package"] != "centrifuge":
            assert {name.removeprefix("./") for name in IMPORTED.findall(text)} <= below(VENDOR).keys()
            assert "sourceMappingURL" not in text


def test_taking_the_same_versions_again_changes_nothing(tmp_path: Path) -> None:
    if not (WEB_PACKAGES / "preact").is_dir():
        pytest.skip("no packages for browsers: `make test` installs them")
    subprocess.run([sys.executable, str(ROOT / "tools/vendor"), str(tmp_path / "vendor")], check=True)
    assert below(tmp_path / "vendor") == below(VENDOR)
    sdk = WEB_PACKAGES / "centrifuge/dist/centrifuge.js"
    assert (VENDOR / "centrifuge.js").read_bytes() == sdk.read_bytes(), "the public SDK, unchanged"
