"""Who is started, when again, and what becomes of all: the parent of several processes, its clock in hand."""

from collections.abc import Callable

from msgspec.structs import replace

from gapless.cli.several.frames import (
    Begin,
    Down,
    Failed,
    Gather,
    Gathered,
    Ready,
    Reload,
    Reloaded,
    Stop,
    Tell,
    Told,
    Up,
)
from gapless.cli.several.overseer import Overseer
from gapless.core.errors import GaplessError, StoreRefused
from gapless.core.limits import (
    SERVER_WORKER_CUT_MS,
    SERVER_WORKER_LASTS_MS,
    SERVER_WORKER_PAUSE_MS,
    SERVER_WORKER_PAUSE_MS_MAX,
    SERVER_WORKER_STARTS_MAX,
    SERVER_WORKERS_TELL_MS,
)
from gapless.server.checking import mistakes
from gapless.server.config import Effective
from gapless.server.config.model import Config, HttpServer, Node, Shutdown, Store
from gapless.server.sums import Measured
from gapless.sharing.frames import Refusal
from tests.server.serving import HandClock, on_a_loop

STOP_MS = 3_000
COUNTER = "gapless_publications_total"
KILLED = -9
ORIGINS = {"http_server.port": "--set"}


class Fake:
    """A process: what it was told, and what it says when the test wants it to."""

    def __init__(self, heard: Callable[[Up], object], ended: Callable[[int], object]) -> None:
        self.say = heard
        self.end = ended
        self.told: list[Down] = []
        self.is_killed = False

    def send(self, frame: Down) -> None:
        self.told.append(frame)

    def kill(self) -> None:
        self.is_killed = True

    @property
    def number(self) -> int:
        [begin] = [frame for frame in self.told if isinstance(frame, Begin)]
        return begin.number

    def count(self, kind: type) -> int:
        return sum(isinstance(frame, kind) for frame in self.told)


class Crew:
    """An overseer with its processes."""

    def __init__(self, workers: int = 2) -> None:
        self.clock = HandClock()
        self.started: list[Fake] = []
        self.config = Config(
            http_server=HttpServer(port=8000, workers=workers),
            shutdown=Shutdown(timeout_ms=STOP_MS),
            node=Node(name="here"),
        )
        effective = Effective(self.config, ORIGINS)
        self.overseer = Overseer(effective, "app:gl", self.clock, self._spawn, "secret")
        self.overseer.start()

    def _spawn(self, heard: Callable[[Up], object], ended: Callable[[int], object]) -> Fake:
        self.started.append(Fake(heard, ended))
        return self.started[-1]

    def of(self, number: int, config: Config | None = None) -> Config:
        """Return a configuration as one of them is given it."""
        return replace(config or self.config, node=Node(name=f"here_{number}"))

    def up(self) -> "Crew":
        for fake in self.started:
            fake.say(Ready())
        return self

    def error(self) -> GaplessError | None:
        return self.overseer.over.result()


@on_a_loop
async def test_all_begin_with_a_number_and_the_same_configuration_and_secret() -> None:
    crew = Crew(3)
    begun = [[Begin(n, crew.of(n), "app:gl", ORIGINS, "secret")] for n in (1, 2, 3)]
    assert [fake.told for fake in crew.started] == begun
    for fake in crew.started:
        assert not crew.overseer.up.done()
        fake.say(Ready())
    assert crew.overseer.up.done()


@on_a_loop
async def test_who_ends_after_a_while_is_started_again_at_once() -> None:
    crew = Crew().up()
    crew.clock.move(SERVER_WORKER_LASTS_MS)
    crew.started[1].end(KILLED)
    crew.clock.move(0)
    assert [fake.number for fake in crew.started] == [1, 2, 2]


@on_a_loop
async def test_who_does_not_last_waits_longer_each_time_up_to_a_bound_as_long_as_others_serve() -> None:
    crew = Crew().up()
    pauses = []
    for _ in range(12):
        count = len(crew.started)
        crew.started[-1].end(1)
        waited = 0
        while len(crew.started) == count:
            crew.clock.move(SERVER_WORKER_PAUSE_MS)
            waited += SERVER_WORKER_PAUSE_MS
        pauses.append(waited)
    doubled = [SERVER_WORKER_PAUSE_MS * 2**n for n in range(12)]
    assert pauses == [min(pause, SERVER_WORKER_PAUSE_MS_MAX) for pause in doubled]
    crew.started[-1].say(Ready())
    crew.clock.move(SERVER_WORKER_LASTS_MS)
    crew.started[-1].end(1)
    crew.clock.move(0)
    assert len(crew.started) == 15, "one that lasts is forgiven all that"


@on_a_loop
async def test_one_that_says_why_it_cannot_start_ends_the_server_with_that_error() -> None:
    crew = Crew()
    first, second = crew.started
    second.say(Ready())
    first.say(Failed(Refusal.of(StoreRefused("it is damaged"))))
    first.end(1)
    assert second.count(Stop) == 1
    assert not crew.overseer.over.done()
    second.end(0)
    error = crew.error()
    assert (type(error), str(error)) == (StoreRefused, "it is damaged")
    assert crew.overseer.up.done(), "nobody waits for it any more"


@on_a_loop
async def test_if_all_end_again_and_again_it_is_given_up() -> None:
    crew = Crew(1)
    for _ in range(SERVER_WORKER_STARTS_MAX - 1):
        crew.started[-1].end(KILLED)
        crew.clock.move(SERVER_WORKER_PAUSE_MS_MAX)
    crew.started[-1].end(KILLED)
    assert len(crew.started) == SERVER_WORKER_STARTS_MAX
    assert "ends again and again: killed by SIGKILL" in str(crew.error())


@on_a_loop
async def test_one_that_cannot_start_again_is_tried_while_others_serve() -> None:
    crew = Crew().up()
    crew.started[0].end(KILLED)
    for _ in range(3 * SERVER_WORKER_STARTS_MAX):
        crew.clock.move(SERVER_WORKER_PAUSE_MS_MAX)
        crew.started[-1].say(Failed(Refusal.of(StoreRefused("not now"))))
        crew.started[-1].end(1)
    assert not crew.overseer.over.done()
    assert crew.started[1].count(Stop) == 0


@on_a_loop
async def test_a_stop_reaches_all_and_starts_nobody_again() -> None:
    crew = Crew().up()
    crew.started[0].end(KILLED)  # it waits to be started again
    crew.overseer.stop()
    crew.overseer.stop()
    assert crew.started[1].count(Stop) == 1
    crew.started[1].end(0)
    assert crew.error() is None
    crew.clock.move(SERVER_WORKER_PAUSE_MS_MAX)
    assert len(crew.started) == 2
    assert not crew.clock.waiting()


@on_a_loop
async def test_who_does_not_end_in_time_is_ended_and_that_is_told() -> None:
    crew = Crew().up()
    crew.overseer.stop()
    crew.started[0].end(0)
    crew.clock.move(STOP_MS + SERVER_WORKER_CUT_MS)
    assert [fake.is_killed for fake in crew.started] == [False, True]
    crew.started[1].end(KILLED)
    assert "worker 2 did not end in good order: killed by SIGKILL" in str(crew.error())


@on_a_loop
async def test_a_reload_is_over_when_all_have_done_it_or_are_gone() -> None:
    crew, done = Crew(3), list[int]()
    crew.started[0].say(Ready())
    read = replace(
        crew.config, shutdown=Shutdown(timeout_ms=9_000), http_server=HttpServer(port=1, workers=7)
    )
    origins = {"shutdown.timeout": "g.toml:9", "http_server.port": "g.toml:2"}
    crew.overseer.reload(Effective(read, origins), lambda: done.append(1))
    assert [fake.told[-1] for fake in crew.started] == [Reload(crew.of(n, read), origins) for n in (1, 2, 3)]
    crew.started[0].say(Reloaded())
    crew.started[1].end(KILLED)
    assert not done
    crew.started[2].say(Reloaded())
    assert done == [1]
    crew.clock.move(SERVER_WORKER_PAUSE_MS_MAX)
    [begin] = crew.started[-1].told
    assert isinstance(begin, Begin)
    assert begin.config.shutdown.timeout_ms == 9_000, "who is started later has it too"
    assert begin.config.http_server == crew.config.http_server, "but for what needs a restart of all"
    assert begin.origins == {"shutdown.timeout": "g.toml:9", "http_server.port": "--set"}


def told(number: int) -> Measured:
    return Measured(False, {COUNTER: [((), number)]})


def gathered(fake: Fake) -> list[tuple[int, object]]:
    return [
        (frame.number, dict(frame.measured.rows[COUNTER])[()])
        for frame in fake.told
        if isinstance(frame, Gathered)
    ]


@on_a_loop
async def test_a_scrape_of_one_tells_the_sum_of_all() -> None:
    crew = Crew(3).up()
    asker = crew.started[1]
    asker.say(Gather(5))
    for count, fake in enumerate(crew.started, start=1):
        [tell] = [frame for frame in fake.told if isinstance(frame, Tell)]
        fake.say(Told(tell.number, told(count)))
    assert gathered(asker) == [(5, 6)]
    assert not crew.clock.waiting()


@on_a_loop
async def test_who_does_not_tell_is_counted_with_what_it_told_before_and_who_ended_too() -> None:
    crew = Crew().up()
    asker, other = crew.started
    asker.say(Gather(1))
    asker.say(Told(1, told(10)))
    other.say(Told(1, told(100)))
    asker.say(Gather(2))
    asker.say(Told(2, told(11)))
    assert len(gathered(asker)) == 1
    crew.clock.move(SERVER_WORKERS_TELL_MS)
    other.say(Told(2, told(101)))  # too late for this one
    asker.say(Gather(3))
    asker.say(Told(3, told(12)))
    other.end(KILLED)
    assert gathered(asker) == [(1, 110), (2, 111), (3, 113)]


def test_what_is_one_process_own_is_refused_for_several() -> None:
    for workers in (1, 2):
        config = Config(http_server=HttpServer(workers=workers), store=Store(url="memory:"))
        found = [mistake for mistake in mistakes(config, 0) if "cannot share memory:" in mistake]
        assert len(found) == workers - 1
