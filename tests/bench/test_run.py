from bench.measurement import Measurement, of
from bench.report import Figure
from bench.run import shown

BESIDE = Figure("rate", "/s", of("rate"))
ALONE = Figure("reads", "", of("reads"), beside="")
MEASURED = Measurement("rate", "", {}, (BESIDE, ALONE))


def test_a_sample_shows_the_figures_of_its_server_only() -> None:
    assert list(shown(MEASURED, "peer", {"rate": 5})) == ["5 /s"]
    assert list(shown(MEASURED, "gapless", {"rate": 5, "reads": 1})) == ["5 /s", "1"]
