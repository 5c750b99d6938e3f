"""The house rules (design 11), each with its guard; what a guard finds, it names by file and line."""

import ast
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import gapless
from gapless.core import errors, limits
from gapless.library import hooks as library_hooks

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src/gapless"

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 600
SAY_NOTHING = {"utils", "util", "common", "base", "helpers", "helper", "manager", "managers", "misc"}

PUBLIC = [
    "AppendedMessage",
    "Backoff",
    "ClaimedJob",
    "CommitRequest",
    "Deed",
    "Depends",
    "Enqueued",
    "FetchPartition",
    "FetchRequest",
    "Gapless",
    "HeartbeatRequest",
    "Job",
    "Message",
    "Middleware",
    "NewCommit",
    "NewSettlement",
    "Page",
    "Position",
    "Publication",
    "QueueSettings",
    "Refuse",
    "Reject",
    "Release",
    "Result",
    "Retry",
    "Router",
    "ScheduleRequest",
    "State",
    "StreamSettings",
    "__version__",
    "errors",
    "hooks",
]

# What the pure parts may import. A list of what is forbidden would always forget one.
PURE_STANDARD = {
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "dataclasses", "decimal", "enum",
    "functools", "hashlib", "heapq", "hmac", "itertools", "json", "math", "operator", "re", "string",
    "struct", "types", "typing", "zlib",
}  # fmt: skip
PURE = {
    "core": PURE_STANDARD | {"gapless.core", "msgspec"},
    "protocol": PURE_STANDARD | {"gapless.core", "gapless.protocol", "msgspec", "google.protobuf"},
    "ports": PURE_STANDARD | {"gapless.core", "gapless.ports", "msgspec"},
}

# Time and chance, wherever they can be taken from instead of being passed in.
TAKEN = re.compile(
    r"time\.(?!strftime$|gmtime$|struct_time$|CLOCK_)\w+|asyncio\.(sleep|timeout|timeout_at|wait_for)"
    r"|random\.(?!Random$)\w+|uuid\.\w+|secrets\.\w+|os\.u?random|datetime\.(datetime|date)\.(now|utcnow|today)"
    r"|.+\.(call_later|call_at)|.*loop(\(\))?\.time"
)
# The outermost shells, and all that each may take.
SHELLS = {
    "cli/doctor.py": {"os.urandom", "time.perf_counter_ns", "time.time_ns"},
    "cli/nearby.py": {"random.SystemRandom"},
    "cli/several/parent.py": {"random.SystemRandom"},
    "cli/several/process.py": {"random.SystemRandom"},
    "cli/passwords.py": {"random.SystemRandom"},
    "cli/pubsub.py": {"random.SystemRandom"},
    "cli/serving.py": {"random.SystemRandom"},
    "cli/supervision.py": {"time.monotonic_ns"},
    "cli/tailing.py": {"random.SystemRandom"},
    "cli/working.py": {"random.SystemRandom", "time.perf_counter_ns"},
    "library/gapless.py": {"random.SystemRandom"},
    "server/clock.py": {"_loop.call_later"},
    "testing/quiet.py": {"_loop.time", "asyncio.sleep"},
    "testing/serving.py": {"random.SystemRandom"},
    "worker/inside.py": {"time.perf_counter_ns"},
    "backends/__init__.py": {
        "asyncio.get_running_loop().call_later",
        "random.random",
        "secrets.token_hex",
        "time.clock_gettime_ns",
        "time.time_ns",
    },
}

# A duration without its unit, a size that hides it, a unit that is not ours, a qualifier that comes first.
NO_UNIT = re.compile(
    r"(\w+_)?(timeout|interval|ttl|delay|deadline|age|period|duration|latency|elapsed)"
    r"|\w+_(secs?|seconds|msecs?|millis|minutes|hours|kb|mb|kib|mib)|(max|min)_\w+",
    re.IGNORECASE,
)
# Names that keep their form all the same, and why.
UNIT_ELSEWHERE = {
    "ttl": "Centrifugo's on the wire, in seconds",
    "max_length": "Centrifugo's option",
    "DURATION": "how a name ends, no time",
    "delay": "the library's option: any duration",
    "timeout": "the library's option: any duration",
    "result_ttl": "the library's option: any duration",
    "Duration": "a type",
}

# Errors that say nothing more on the wire than their parent does.
SAME_CODE_AS_PARENT = {errors.BadRequest}

PLACES = re.compile(
    r"(?<!\w)/(root|work|home|Users)/|/opt/wheels|\.pyenv/versions/\d"
    r"|pypi\.org/simple|files\.pythonhosted|registry\.npmjs|proxy\.golang\.org|deb\.debian\.org"
)
IMAGES = {".png"}
UNOWNED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\(\w+\))")


@cache
def files() -> list[Path]:
    """All that belongs to the project: what .gitignore leaves."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line]

    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.name != ".git" and not any(fnmatch(path.name, pattern) for pattern in ignored):
                yield from walk(path) if path.is_dir() else [path]

    return list(walk(ROOT))


def lines() -> Iterator[tuple[Path, int, str]]:
    """Every line of text, but for that of this file."""
    for path in files():
        if path != Path(__file__) and path.suffix not in IMAGES:
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
                yield path, number, line


def modules(*folders: str) -> list[Path]:
    """The Python that is written by hand, below `folders`."""
    roots = [ROOT / folder for folder in folders]
    found = [
        path
        for path in files()
        if path.suffix == ".py" and not path.stem.endswith("_pb2")
        if any(path.is_relative_to(root) for root in roots)
    ]
    assert found, f"a guard that looks at nothing: {folders}"
    return found


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def nodes(*folders: str) -> Iterator[tuple[Path, ast.AST]]:
    for path in modules(*folders):
        for node in ast.walk(parse(path)):
            yield path, node


def at(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line} {what}"


def imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str, str]]:
    """Every imported name: where, the name it gets here, and its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                yield node, alias.asname or first, alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node, alias.asname or alias.name, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def spelled(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Every use of a dotted name, in full: after `from time import time as t`, `t` is `time.time`.

    What is not imported begins with a dot: an argument called `random` is no module.
    """
    full = {name: meaning for _, name, meaning in imports(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, dot, rest = ast.unparse(node).partition(".")
            yield node, full.get(first, f".{first}") + dot + rest


def taken(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module takes from the clock or the dice.

    A bare yield to the loop takes nothing; dice without a seed take theirs from the machine.
    """
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node, name in spelled(tree):
        call = calls.get(id(node))
        if name == "asyncio.sleep" and call and is_zero(call.args):
            continue
        if TAKEN.fullmatch(name) or (name == "random.Random" and call and not call.args):
            yield node.lineno, name.removeprefix(".").removeprefix("self.")


def is_zero(args: list[ast.expr]) -> bool:
    return len(args) == 1 and isinstance(args[0], ast.Constant) and args[0].value == 0


def test_a_function_fits_on_a_screen() -> None:
    long = [
        at(path, node.lineno, f"{node.name}: {lines} lines")
        for path, node in nodes("src", "tests", "bench", "examples")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long


def test_a_module_can_be_read_in_one_sitting() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in modules("src", "tests", "bench", "examples")
        if (lines := len(path.read_text().splitlines())) > MODULE_LINES_MAX
    }
    assert not long


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [
        path for path in modules("src", "tests", "bench") if {path.stem, *path.parent.parts} & SAY_NOTHING
    ]


def test_the_pure_parts_cannot_touch_the_world() -> None:
    def allowed(name: str, pure: set[str]) -> bool:
        return any(name == module or name.startswith(module + ".") for module in pure)

    found = [
        at(path, node.lineno, name)
        for part, pure in PURE.items()
        for path in modules(f"src/gapless/{part}")
        for node, _, name in imports(parse(path))
        if not allowed(name, pure) and name != "random.Random"
    ]
    assert not found


def test_time_and_chance_are_passed_in() -> None:
    found: dict[str, set[str]] = {}
    forbidden = []
    for path in modules("src"):
        shell = path.relative_to(SRC).as_posix()
        for line, name in taken(parse(path)):
            found.setdefault(shell, set()).add(name)
            if name not in SHELLS.get(shell, set()):
                forbidden.append(at(path, line, name))
    assert not forbidden
    assert found == SHELLS, "a shell takes less than the table lets it"


def test_no_test_waits_on_the_clock() -> None:
    waits = [
        at(path, node.lineno, ast.unparse(node))
        for path, node in nodes("tests")
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep"
        if not is_zero(node.args)
    ]
    assert not waits


def test_what_is_left_to_do_has_an_owner() -> None:
    found = [at(path, number, line.strip()) for path, number, line in lines() if UNOWNED.search(line)]
    assert not found


def named(node: ast.AST) -> Iterable[str]:
    """The names that a node gives to values."""
    match node:
        case ast.arg(arg=name):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)]):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name)):
            return [name]
    return []


def test_units_stand_last_in_names() -> None:
    found = [
        at(path, getattr(node, "lineno", 0), name)
        for path, node in nodes("src")
        for name in named(node)
        if NO_UNIT.fullmatch(name.lstrip("_")) and name not in UNIT_ELSEWHERE
    ]
    assert not found


def listed(tree: ast.Module) -> set[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and "__all__" in named(node):
            return set(ast.literal_eval(node.value))
    return None


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__")


def test_a_module_that_defines_something_lists_what_is_for_others() -> None:
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert not [
        path
        for path in modules("src")
        if any(isinstance(node, defining) for node in parse(path).body) and listed(parse(path)) is None
    ]


def test_modules_use_only_what_others_list() -> None:
    lists = {dotted(path): listed(parse(path)) for path in modules("src")}
    found = []
    for path in modules("src"):
        tree = parse(path)
        names = [(node.lineno, name) for node, _, name in imports(tree)]
        for line, name in {*names, *((node.lineno, name) for node, name in spelled(tree))}:
            module = next((part for part in prefixes(name) if part in lists), "")
            public = lists.get(module)
            rest = name.removeprefix(module + ".").split(".")[0]
            if public is not None and name != module and rest not in {*public, "*"}:
                found.append(at(path, line, name))
    assert not found


def prefixes(name: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def test_the_public_names_are_pinned() -> None:
    assert gapless.__all__ == PUBLIC
    assert all(getattr(gapless, name) is not None for name in PUBLIC)


def test_the_modules_for_users_have_all_that_theirs_have() -> None:
    for shown, own in ((gapless.hooks, library_hooks), (gapless.errors, errors)):
        assert {name: getattr(own, name) for name in own.__all__}.items() <= vars(shown).items()


def error_classes(
    parent: type[errors.GaplessError] = errors.GaplessError,
) -> Iterator[type[errors.GaplessError]]:
    """The tree that callers know; a module may have kinds of its own that it tells nobody of."""
    yield parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [error.code for error in error_classes() if error not in SAME_CODE_AS_PARENT]
    assert all("code" in vars(error) for error in error_classes() if error not in SAME_CODE_AS_PARENT)
    assert len(codes) == len(set(codes))


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [at(path, number, match[0]) for path, number, line in lines() if (match := PLACES.search(line))]
    assert not found


def test_every_limit_is_positive_and_used() -> None:
    names = {name for name in vars(limits) if name.isupper()}
    assert all(getattr(limits, name) > 0 for name in names)
    written = "\n".join(path.read_text() for path in modules("src") if path != SRC / "core/limits.py")
    assert not {name for name in names if not re.search(rf"\b{name}\b", written)}


def test_limits_that_depend_on_each_other_agree() -> None:
    assert limits.MESSAGE_BYTES_MAX <= limits.PAGE_BYTES_MAX <= limits.TAIL_BYTES_MAX
    assert limits.MESSAGE_BYTES_MAX <= limits.COMMIT_BYTES_MAX <= limits.WRITER_BYTES_MAX
    assert limits.COMMIT_ENTRIES_MAX <= limits.WRITER_ENTRIES_MAX
    assert limits.CLOSE_REASON_BYTES_MAX == 125 - 2, "a control frame's payload less the code (RFC 6455, 5.5)"


def test_the_name_of_a_test_is_a_sentence() -> None:
    short = [
        at(path, node.lineno, node.name)
        for path, node in nodes("tests", "src/gapless/testing")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if node.name.count("_") < 3
    ]
    assert not short
