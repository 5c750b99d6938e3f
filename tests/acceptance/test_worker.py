"""`gapless worker` from outside: its processes and itself are killed, stopped, filled up and told to end."""

import http.client
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.program import GAPLESS, POLL_SECONDS, Program, free_port

DEADLINE_SECONDS = 40
HEAD = """
import asyncio, os, re, resource, signal, time
from gapless import Backoff, Gapless, Job, errors

gl = Gapless("{url}", api_key="key")
AT_ONCE = Backoff(3, base="1ms", cap="1ms")

def note(*words):
    with open("noted", "a") as noted:
        print(*words, os.getpid(), file=noted)
"""


class WorkerProgram:
    """`gapless worker app:gl` on a program that is written into a folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.started: list[subprocess.Popen[bytes]] = []

    def write(self, body: str) -> None:
        """Write the program."""
        (self.folder / "app.py").write_text(HEAD.replace("{url}", self.url) + body)

    def start(
        self, *options: str, target: str = "app:gl", before: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a worker, by the command `before` if there is one."""
        with (self.folder / "worker.log").open("ab") as output:
            process = subprocess.Popen(
                [*before, GAPLESS, "worker", target, *options],
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        self.started.append(process)
        return process

    def noted(self) -> list[list[str]]:
        """Return what handlers noted: words, and the process's id last."""
        path = self.folder / "noted"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def output(self) -> str:
        """Return all that workers have printed."""
        return (self.folder / "worker.log").read_text()

    def close(self) -> None:
        """End what still runs."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Program]:
    folder = tmp_path / "server"
    folder.mkdir()
    program = Program(folder)
    program.start()
    yield program
    program.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[WorkerProgram]:
    """A worker whose store is its own."""
    program = WorkerProgram(tmp_path, f"sqlite:{tmp_path / 'app.db'}")
    yield program
    program.close()


@pytest.fixture
def worker(server: Program, tmp_path: Path) -> Iterator[WorkerProgram]:
    program = WorkerProgram(tmp_path, f"http://127.0.0.1:{server.port}")
    yield program
    program.close()


def until(condition: Callable[[], Any], told: Callable[[], str] = str) -> Any:
    """Poll for a condition; return what it gave."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, told()
        signal.sigtimedwait([], POLL_SECONDS)


def push(server: Program, queue: str, *payloads: object) -> list[str]:
    """Enqueue jobs as soon as the queue is there, and return their ids."""
    jobs = [{"queue": queue, "data": each} for each in payloads]
    until(lambda: any(each["queue"] == queue for each in call(server, "queue/list")["queues"]))
    return [item["result"]["id"] for item in call(server, "queue/enqueue", jobs=jobs)["jobs"]]


def call(server: Program, method: str, /, **request: Any) -> dict[str, Any]:
    answer = server.api(method, **request)
    assert "result" in answer, answer
    result: dict[str, Any] = answer["result"]
    return result


def job(server: Program, id: str) -> dict[str, Any]:
    """Return a job as it stands; nothing if it is gone."""
    found: dict[str, Any] = server.api("queue/job", id=id).get("result", {})
    return found


def is_dead(server: Program, id: str) -> bool:
    return job(server, id).get("state") == "dead"


# Processes of handlers ------------------------------------------------------------------------


def test_a_killed_process_is_replaced_and_its_jobs_run_again(server: Program, worker: WorkerProgram) -> None:
    worker.write("""
@gl.queue("mail", lease="5s", retry=AT_ONCE)
async def send(n: int, job: Job) -> None:
    note("begun", n)
    if not os.path.exists("go"):
        await asyncio.Event().wait()
    note("done", n, job.alone)
""")
    process = worker.start()
    ids = push(server, "mail", 1, 2, 3)
    until(lambda: len(worker.noted()) == 3, worker.output)
    [child] = psutil.Process(process.pid).children()
    (worker.folder / "go").touch()
    child.kill()
    until(lambda: not any(job(server, id) for id in ids), worker.output)
    done = [words for words in worker.noted() if words[0] == "done"]
    assert sorted(words[1:3] for words in done) == [["1", "True"], ["2", "True"], ["3", "True"]]
    assert str(child.pid) not in {words[-1] for words in done}
    assert f"process {child.pid} ended unexpectedly (killed by SIGKILL) with mail" in worker.output()
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 0


def test_a_job_that_kills_its_process_is_dead_in_the_end_and_its_neighbours_are_done(
    server: Program, worker: WorkerProgram
) -> None:
    worker.write("""
@gl.queue("mail", lease="5s", retry=Backoff(2, base="1ms", cap="1ms"))
async def send(n: int) -> None:
    if n == 2:
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
        try:
            bytearray(2 << 30)
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does it
    note("done", n)
""")
    worker.start()
    ids = push(server, "mail", 1, 2, 3)
    until(lambda: is_dead(server, ids[1]) and not job(server, ids[0]), worker.output)
    until(lambda: not job(server, ids[2]), worker.output)
    dead = job(server, ids[1])
    assert dead["reason"] == "its process ended: killed by SIGKILL"
    assert {words[1] for words in worker.noted()} == {"1", "3"}


@pytest.mark.parametrize(
    ("kills", "why"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "its process ended: killed by SIGKILL"),
        ("os._exit(3)", "its process ended: exit code 3"),
        ("while True: pass", "timeout after 300ms"),
    ],
)
def test_a_message_that_kills_its_process_is_passed_over_and_its_neighbours_are_handled(
    server: Program, worker: WorkerProgram, kills: str, why: str
) -> None:
    worker.write(f"""
@gl.stream("orders", group="billing", partitions=2, timeout="300ms", retry=AT_ONCE, dead="unbilled")
async def bill(n: int) -> None:
    if n == 7:
        {kills}
    note(n)
""")
    call(server, "stream/declare", stream="orders", options={"partitions": 2})
    for partition in (0, 1):
        messages = [{"data": n, "partition": partition} for n in range(10 * partition, 10 * partition + 10)]
        call(server, "stream/append", stream="orders", messages=messages)
    worker.start()
    group = {"source": "orders", "group": "billing"}
    until(lambda: server.api("stream/lag", **group).get("result", {}).get("lag") == 0, worker.output)
    assert {words[0] for words in worker.noted()} == {str(n) for n in range(20)} - {"7"}
    assert max(Counter(words[0] for words in worker.noted()).values()) <= 2
    [record] = call(server, "stream/audit", what="pass_over")["records"]
    assert (record["details"]["reason"], record["details"]["attempts"]) == (why, 3)
    [dead] = call(server, "queue/claim", queue="unbilled", worker="me")["jobs"]
    assert (dead["data"], dead["headers"]["dead-offset"]) == (7, str(record["details"]["offset"]))


@pytest.mark.parametrize(
    "hangs",
    [
        "while True: pass",
        're.match(r"(a+)+$", "a" * 64 + "b")',
        "time.sleep(3600)",
    ],
)
def test_a_timeout_is_a_hard_limit(server: Program, worker: WorkerProgram, hangs: str) -> None:
    worker.write(f"""
@gl.queue("mail", timeout="300ms", lease="5s", retry=Backoff(1))
def send(n: int) -> None:
    if n == 1:
        {hangs}
    note("done", n)

@gl.queue("loop", timeout="300ms", lease="5s", retry=Backoff(1))
async def on_the_loop(n: int) -> None:
    {hangs}
""")
    process = worker.start()
    ids = push(server, "mail", 1) + push(server, "loop", 1)
    until(lambda: all(is_dead(server, id) for id in ids), worker.output)
    assert {job(server, id)["reason"] for id in ids} == {"timeout after 300ms"}
    push(server, "mail", 2)
    until(lambda: any(words[:2] == ["done", "2"] for words in worker.noted()), worker.output)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 0


def test_an_async_handler_over_its_timeout_leaves_its_process_to_the_others(
    server: Program, worker: WorkerProgram
) -> None:
    worker.write("""
@gl.queue("mail", timeout="200ms", lease="5s", retry=Backoff(1))
async def send(n: int) -> None:
    await asyncio.Event().wait()

@gl.queue("beside")
async def beside(n: int) -> None:
    note("begun", n)
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    note("done", n)
""")
    worker.start()
    push(server, "beside", 1)
    until(worker.noted, worker.output)
    [id] = push(server, "mail", 1)
    until(lambda: is_dead(server, id), worker.output)
    (worker.folder / "go").touch()
    until(lambda: len(worker.noted()) == 2, worker.output)
    assert len({words[-1] for words in worker.noted()}) == 1


# The worker itself ----------------------------------------------------------------------------


def test_the_jobs_of_a_killed_worker_come_back_after_their_leases(
    server: Program, worker: WorkerProgram
) -> None:
    worker.write("""
@gl.queue("mail", lease="300ms", retry=AT_ONCE)
async def send(n: int) -> None:
    note("begun", n)
    if not os.path.exists("go"):
        await asyncio.Event().wait()
    note("done", n)
""")
    first = worker.start()
    [id] = push(server, "mail", 1)
    until(worker.noted, worker.output)
    children = psutil.Process(first.pid).children()
    first.kill()
    first.wait()
    psutil.wait_procs(children, DEADLINE_SECONDS)
    assert not any(child.is_running() for child in children)
    (worker.folder / "go").touch()
    worker.start()
    until(lambda: not job(server, id), worker.output)
    assert [words[0] for words in worker.noted()] == ["begun", "begun", "done"]


def test_a_worker_that_was_stopped_past_its_leases_is_refused_and_the_job_ran_elsewhere(
    server: Program, worker: WorkerProgram
) -> None:
    worker.write("""
@gl.queue("mail", lease="300ms", retry=AT_ONCE)
async def send(n: int, job: Job) -> None:
    note("begun", job.attempt)
    while job.attempt == 1 and not os.path.exists("go"):
        await asyncio.sleep(0.01)
    note("done", job.attempt)
""")
    first = worker.start()
    [id] = push(server, "mail", 1)
    until(worker.noted, worker.output)
    first.send_signal(signal.SIGSTOP)
    second = worker.start()
    until(lambda: not job(server, id), worker.output)
    (worker.folder / "go").touch()
    until(lambda: ["done", "1"] in [words[:2] for words in worker.noted()], worker.output)
    first.send_signal(signal.SIGCONT)
    until(lambda: "its lease" in worker.output(), worker.output)
    for process in (first, second):
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
    [queue] = call(server, "queue/stats", queue="mail")["queues"]
    assert (queue["acked"], queue["ready"], queue["dead"]) == (1, 0, 0)


def test_a_worker_that_is_told_to_stop_finishes_what_runs(server: Program, worker: WorkerProgram) -> None:
    worker.write("""
@gl.queue("mail")
def send(n: int) -> None:
    note("begun", n)
    while not os.path.exists("go"):
        time.sleep(0.01)
    note("done", n)
""")
    process = worker.start("--concurrency", "2")
    ids = push(server, "mail", 1, 2, 3)
    until(lambda: len(worker.noted()) == 2, worker.output)
    process.send_signal(signal.SIGTERM)
    until(lambda: "stopping; 2 are running" in worker.output(), worker.output)
    (worker.folder / "go").touch()
    assert process.wait(DEADLINE_SECONDS) == 0
    assert [words[0] for words in worker.noted()] == ["begun", "begun", "done", "done"]
    assert [bool(job(server, id)) for id in ids] == [False, False, True]
    assert job(server, ids[2])["attempt"] == 0


def test_a_worker_that_is_told_twice_gives_back_what_runs(server: Program, worker: WorkerProgram) -> None:
    worker.write("""
@gl.queue("mail", lease="1h")
def send(n: int) -> None:
    note("begun", n)
    while True:
        time.sleep(1)
""")
    process = worker.start()
    [id] = push(server, "mail", 1)
    until(worker.noted, worker.output)
    process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in worker.output(), worker.output)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 0
    view = job(server, id)
    assert (view["state"], view["attempt"]) == ("waiting", 0)


def test_a_signal_that_comes_twice_at_once_is_one(server: Program, worker: WorkerProgram) -> None:
    worker.write("""
@gl.queue("mail")
def send(n: int) -> None:
    note("begun", n)
    while not os.path.exists("go"):
        time.sleep(0.01)
    note("done", n)
""")
    timeout = worker.start(before=["timeout", "1h"])  # tells its child, and the group of both
    push(server, "mail", 1)
    until(worker.noted, worker.output)
    timeout.send_signal(signal.SIGTERM)
    until(lambda: "stopping" in worker.output(), worker.output)
    (worker.folder / "go").touch()
    assert timeout.wait(DEADLINE_SECONDS) == 0
    assert [words[0] for words in worker.noted()] == ["begun", "done"]
    assert "a second time" not in worker.output()


def test_a_job_whose_lease_ran_out_while_its_worker_stood_still_is_not_begun(
    server: Program, worker: WorkerProgram
) -> None:
    worker.write("""
@gl.queue("mail", lease="300ms", retry=AT_ONCE)
async def send(n: int, job: Job) -> None:
    note("begun", job.attempt)
""")
    process = worker.start()
    until(lambda: "serving" in worker.output(), worker.output)
    [first] = push(server, "mail", 1)
    until(worker.noted, worker.output)
    until(lambda: not job(server, first), worker.output)
    process.send_signal(signal.SIGSTOP)
    [id] = push(server, "mail", 2)
    until(lambda: job(server, id)["attempt"] == 1 and job(server, id)["state"] == "waiting")
    process.send_signal(signal.SIGCONT)
    until(lambda: not job(server, id), worker.output)
    assert [words[1] for words in worker.noted()] == ["1", "2"]


def test_a_worker_outlives_its_server(server: Program, worker: WorkerProgram) -> None:
    worker.write("""
@gl.queue("mail")
async def send(n: int) -> None:
    note("done", n)
""")
    worker.start()
    push(server, "mail", 1)
    until(worker.noted, worker.output)
    server.kill()
    until(lambda: "the server does not answer claims from mail" in worker.output(), worker.output)
    server.start()
    push(server, "mail", 2)
    until(lambda: len(worker.noted()) == 2, worker.output)


def test_a_changed_program_is_started_anew(server: Program, worker: WorkerProgram) -> None:
    body = """
@gl.queue("mail")
async def send(n: int) -> None:
    note("{}", n)
"""
    worker.write(body.format("old"))
    process = worker.start("--reload")
    push(server, "mail", 1)
    until(worker.noted, worker.output)
    worker.write(body.format("new") + "\nsyntax error")
    until(lambda: "cannot be imported: SyntaxError" in worker.output(), worker.output)
    worker.write(body.format("new"))
    push(server, "mail", 2)
    until(lambda: len(worker.noted()) == 2, worker.output)
    assert [words[:2] for words in worker.noted()] == [["old", "1"], ["new", "2"]]
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 0


def test_a_mistake_in_a_module_that_the_program_imports_is_waited_out(worker: WorkerProgram) -> None:
    helper = worker.folder / "rules.py"
    helper.write_text("LIMIT = 1")
    worker.write("""
import rules

@gl.queue("mail")
async def send(n: int) -> None: ...
""")
    process = worker.start("--reload")
    until(lambda: "serving" in worker.output(), worker.output)
    helper.write_text("def (")
    until(lambda: "cannot be imported: SyntaxError" in worker.output(), worker.output)
    helper.write_text("LIMIT = 2")
    until(lambda: worker.output().count("serving") == 2, worker.output)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 0


def test_health_tells_of_a_loop_that_stands_still(server: Program, worker: WorkerProgram) -> None:
    worker.write("""
@gl.queue("mail")
async def send(n: int) -> None:
    note("begun", n)
    while not os.path.exists("go"):
        time.sleep(0.01)
""")
    port = free_port()
    worker.start("--health", str(port))
    until(lambda: health(port)[0] == 200, worker.output)
    push(server, "mail", 1)
    until(lambda: health(port)[0] == 503, worker.output)
    [place] = health(port)[1]["processes"]
    assert "its loop has not turned" in place["why"]
    (worker.folder / "go").touch()
    until(lambda: health(port)[0] == 200, worker.output)


@pytest.mark.parametrize(("processes", "second"), [(1, 503), (2, 200)])
def test_a_worker_is_well_while_a_process_is_replaced_unless_that_was_its_only_one_and_not_for_the_first_time(
    server: Program, worker: WorkerProgram, processes: int, second: int
) -> None:
    worker.write("""
while os.path.exists("hold"):
    time.sleep(0.01)

@gl.queue("mail")
async def send(n: int) -> None: ...
""")
    port = free_port()
    process = worker.start("--health", str(port), "--processes", str(processes))
    hold = worker.folder / "hold"
    until(lambda: psutil.Process(process.pid).children() and not replaced(port), worker.output)
    for status in (200, second):
        hold.touch()
        psutil.Process(process.pid).children()[0].kill()
        until(lambda: replaced(port), worker.output)
        assert health(port)[0] == status
        hold.unlink()
        until(lambda: health(port)[0] == 200 and not replaced(port), worker.output)


def replaced(port: int) -> list[dict[str, Any]]:
    """Return the processes of handlers that take nothing yet; one that is not, before the worker answers."""
    _, told = health(port)
    return [place for place in told["processes"] if "why" in place] if "processes" in told else [{}]


def health(port: int) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except ConnectionRefusedError:
        return 0, {}
    finally:
        connection.close()


# Where the store is the worker's own ----------------------------------------------------------


def test_handlers_in_processes_use_the_store_that_the_worker_has_open(alone: WorkerProgram) -> None:
    alone.write("""
@gl.queue("second")
async def second(n: int) -> None:
    page = await gl.history("news")
    try:
        await gl.publish("nobody:1", n)
    except errors.UnknownChannel as error:
        note(error.code)
    note("second", n, [each.data for each in page.publications])

@gl.queue("third", executor="process")
def third(n: int) -> None:
    second.send_sync(n)

@gl.every("1s", name="first")
async def first(job: Job) -> None:
    await gl.publish("news", "hello")
    await third.enqueue(1, message_id="once")
""")
    process = alone.start()
    until(lambda: len(alone.noted()) == 2, alone.output)
    assert alone.noted()[0][0] == "unknown_channel"
    assert alone.noted()[1][:2] == ["second", "1"]
    assert "'hello'" in alone.noted()[1][2]
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 0


# Mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        ("nowhere:gl", [], "nowhere:gl: there is no module 'nowhere' here"),
        ("app:other", [], "app:other: app has no 'other'; there is gl"),
        ("app:note", [], "app:note is no Gapless but function; there is gl"),
        ("app:gl", ["--queues", "mial"], "no handler was declared for mial; there are: mail"),
        ("app:gl", ["--drain-timeout", "long"], "'long' is no duration"),
    ],
)
def test_a_mistake_is_one_clear_line(
    alone: WorkerProgram, target: str, options: list[str], told: str
) -> None:
    alone.write("""
@gl.queue("mail")
async def send(n: int) -> None: ...
""")
    process = alone.start(*options, target=target)
    assert process.wait(DEADLINE_SECONDS) == 2
    last = alone.output().splitlines()[-1]
    assert last.startswith("Error: ")
    assert told in last


def test_a_lifespan_that_fails_is_told(alone: WorkerProgram) -> None:
    alone.write("""
@gl.queue("mail")
async def send(n: int) -> None: ...

@gl.lifespan
async def life():
    raise ValueError("no database")
    yield
""")
    process = alone.start()
    assert process.wait(DEADLINE_SECONDS) == 2
    assert alone.output().splitlines()[-1] == "Error: ValueError: no database"
