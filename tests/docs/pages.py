"""The code of a page of the documentation, run as its reader would: in order, in one folder.

What becomes of a block, its kind says (`KINDS`), and a comment right before it:

- `<!-- file: name -->` it is written to that file. A configuration (toml, json) has no mistake.
- `<!-- background: text -->` it is started, and the page goes on once it has printed `text`.
- `<!-- prints -->` it is what the last block printed; JSON in shape, the rest with `…` for anything.
- `<!-- opens: name -->` it is written to that file, and opened as a page of the application on port 9000.
- `<!-- shows -->` what was started, or opened, prints these lines, sooner or later.

`<!-- press: label -->` and `<!-- type: text -->`, without a block, do that in the page that was opened last;
`<!-- kill: text -->` is `kill -9` for what was started with that text, `<!-- stop -->` ends all that was.

Port 8000 is gapless, port 9000 an application of the reader's; each page has free ones in their place.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.program import free_port

__all__ = ["KINDS", "NODE_MODULES", "Block", "Run", "blocks"]

ROOT = Path(__file__).parent.parent.parent
NODE_MODULES = ROOT / "tests/acceptance/node/node_modules"
BLOCK = re.compile(
    r"(?:^<!-- (?P<what>file|background|prints|shows|opens)(?:: (?P<which>[^>\n]*))? -->\n)?"
    r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$|^<!-- (?P<act>press|type|kill|stop)(?:: (?P<on>[^>\n]*))? -->$",
    re.MULTILINE | re.DOTALL,
)
EXPORTED = ".exported"
PORTS = ("8000", "9000", "6379", "7800")  # of a page; in a run they are others
DEADLINE_SECONDS = 30
# Answers hold these, and no two runs the same.
VARYING = {
    "after_cursor", "at", "before_cursor", "bytes", "client", "cursor", "epoch", "expire_at", "head_cursor",
    "id", "issued_before", "oldest_cursor", "position", "time", "token", "uid", "uptime", "version",
}  # fmt: skip

WRAPPER = """#!{python}
from gapless.cli import main
here = {{"url": "http://127.0.0.1:{port}", "port": {port}}}
groups = {{
    name: {{one: here for one in main.get_command(None, name).list_commands(None)}}
    for name in ("bridge", "store", "queue", "stream")
}}
main(default_map={{**{{name: here for name in main.list_commands(None)}}, **groups}})
"""


class Block(NamedTuple):
    """A fenced block: where it ends, its kind, the comment before it, and its text; or an act without one."""

    line: int
    kind: str
    what: str
    which: str
    text: str


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page."""
    return [
        Block(
            text.count("\n", 0, found.end()),
            found["kind"] or "",
            found["what"] or found["act"] or "",
            found["which"] or found["on"] or "",
            found["text"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


class Run:
    """One reader who follows one page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in PORTS}
        self.printed = ""
        self.started = 0
        self.background: list[tuple[subprocess.Popen[str], Path]] = []
        binaries = folder / ".bin"
        binaries.mkdir()
        wrapper = binaries / "gapless"
        wrapper.write_text(WRAPPER.format(python=sys.executable, port=self.ports["8000"]))
        wrapper.chmod(0o755)
        path = f"{binaries}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        listening = {"GAPLESS_HTTP_SERVER__PORT": self.ports["8000"]}
        self.environment = {**os.environ, **listening, "PATH": path, "PYTHONUNBUFFERED": "1"}
        (folder / "node_modules").symlink_to(NODE_MODULES)
        (folder / "browser.mjs").write_text((Path(__file__).parent / "browser.mjs").read_text())

    def close(self) -> None:
        """End what is running, the last first."""
        while self.background:
            process, _ = self.background.pop()
            process.terminate()
            process.communicate(timeout=DEADLINE_SECONDS)

    def here(self, text: str) -> str:
        """Put the ports of this run into a text."""
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self.ports[found[0]], text)

    def take(self, block: Block) -> None:
        """Do with a block what its kind and its comment say."""
        text = self.here(block.text)
        if block.what == "file":
            self._write(block, text)
        elif block.what == "prints":
            compare(text, self.printed, as_json=block.kind == "json")
        elif block.what == "shows":
            self._await(lambda: all(fits(line, self._outputs()) for line in text.splitlines()), text)
        elif block.what == "background":
            self._start(text, self.here(block.which))
        elif block.what == "opens":
            self._write(block, text)
            self._start(f"node browser.mjs {block.which} http://127.0.0.1:{self.ports['9000']}/", "\n")
        elif block.what in ("press", "type"):
            self._act(f"{block.what} {block.which}\n")
        elif block.what == "kill":
            self._kill(self.here(block.which))
        elif block.what == "stop":
            self.close()
        else:
            KINDS[block.kind](self, text)

    def _write(self, block: Block, text: str) -> None:
        path = self.folder / block.which
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if block.kind in ("toml", "json"):
            self.check_configuration(path)

    # Kinds --------------------------------------------------------------------------------

    def check_configuration(self, path: Path) -> None:
        """See that `gapless config --check` has nothing to say against it."""
        self._run(["gapless", "config", "--check", "--config", str(path)])

    def configuration(self, kind: str) -> Callable[[str], None]:
        """Return what checks a configuration that is only shown."""

        def check(text: str) -> None:
            path = self.folder / f"shown.{kind}"
            path.write_text(text)
            self.check_configuration(path)

        return check

    def shell(self, text: str) -> None:
        """Run commands; what they export stays."""
        self._run(["bash", "-c", f"{self._exported()}set -e\n{text}\nexport -p > {EXPORTED}"])

    def python(self, text: str) -> None:
        """Run a script to its end."""
        self._script("script.py", text, sys.executable)

    def node(self, text: str) -> None:
        """Run a module to its end."""
        self._script("script.mjs", text, "node")

    def _script(self, name: str, text: str, interpreter: str) -> None:
        (self.folder / name).write_text(text)
        self._run(["bash", "-c", f"{self._exported()}exec {interpreter} {name}"])

    def _exported(self) -> str:
        return f". ./{EXPORTED}\n" if (self.folder / EXPORTED).exists() else ""

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self._outputs()}"
        self.printed = done.stdout

    # What goes on meanwhile ---------------------------------------------------------------

    def _start(self, text: str, until: str) -> None:
        self.started += 1
        output = self.folder / f".output-{self.started}"
        with output.open("w") as opened:
            process = subprocess.Popen(
                ["bash", "-c", f"{self._exported()}exec {text.strip()}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=opened,
                stderr=opened,
                text=True,
            )
        self.background.append((process, output))
        self._await(lambda: until in output.read_text(), until)

    def _await(self, over: Callable[[], bool], told: str) -> None:
        process, _ = self.background[-1]
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not over():
            assert process.poll() is None, f"it ended: {self._outputs()}"
            assert time.monotonic() < deadline, f"not printed: {told!r}\n{self._outputs()}"
            try:
                process.wait(0.01)
            except subprocess.TimeoutExpired:
                pass

    def _act(self, order: str) -> None:
        stdin = self.background[-1][0].stdin
        assert stdin is not None
        stdin.write(order)
        stdin.flush()

    def _kill(self, text: str) -> None:
        (started,) = [started for started in self.background if text in str(started[0].args)]
        self.background.remove(started)
        started[0].kill()
        started[0].communicate()

    def _outputs(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text()}" for _, path in self.background)


def nothing(run: Run, text: str) -> None:
    """It is shown only."""


def configuration(kind: str) -> Callable[[Run, str], None]:
    return lambda run, text: run.configuration(kind)(text)


# What is done with each kind of block. A kind that is not here fails.
KINDS: dict[str, Callable[[Run, str], None]] = {
    "sh": Run.shell,
    "python": Run.python,
    "js": Run.node,
    "toml": configuration("toml"),
    "json": configuration("json"),
    "html": nothing,
    "text": nothing,
    "nginx": nothing,  # test_proxies runs these three
    "haproxy": nothing,
    "caddy": nothing,
    "yaml": nothing,  # rules for Prometheus: test_pages looks at the metrics that they name
}


def compare(shown: str, printed: str, *, as_json: bool) -> None:
    """Hold what a page shows against what was printed."""
    if as_json:
        assert shape(json.loads(printed)) == shape(json.loads(shown)), printed
    else:
        assert fits(shown.strip(), printed.strip(), whole=True), printed


def shape(value: Any, name: str = "") -> Any:
    """Return a value without what no two runs have in common."""
    if name in VARYING and not isinstance(value, dict | list):
        return type(value).__name__
    if isinstance(value, dict):
        return {key: shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return value


def fits(shown: str, printed: str, *, whole: bool = False) -> bool:
    """Tell whether a text was printed; `…` stands for anything within a line."""
    pattern = re.compile(".*".join(map(re.escape, shown.split("…"))))
    return bool(pattern.fullmatch(printed) if whole else pattern.search(printed))
