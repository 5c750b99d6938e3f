"""The screenshots show every screen, and are small."""

import re

from docs.generate.screenshots import FOLDER, LOOKS, SCREENS
from tests.conftest import ROOT

PICTURE_BYTES_MAX = 150_000


def test_every_screen_of_the_console_and_the_demo_has_its_screenshots() -> None:
    shell = (ROOT / "src/gapless/web/console/app.js").read_text()
    screens = set(re.findall(r'from "\./screens/(\w+)\.js"', shell))
    assert screens, "the shell loads its screens otherwise now"
    places = {screen.place.removeprefix("/console/#/").split("?")[0].split("/")[0] for screen in SCREENS}
    assert screens <= places
    assert "/demo/" in {screen.place for screen in SCREENS}


def test_what_is_kept_is_of_these_screens_and_small() -> None:
    expected = {f"{screen.name}-{look}.png" for screen in SCREENS for look in LOOKS}
    kept = {path.name: path.stat().st_size for path in FOLDER.glob("*")}
    assert kept.keys() <= expected
    assert not {name: size for name, size in kept.items() if size > PICTURE_BYTES_MAX}
