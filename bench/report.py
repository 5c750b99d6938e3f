"""What was measured, set beside its target: medians, ratios, verdicts and the table. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

__all__ = [
    "Figure",
    "Row",
    "Sample",
    "Target",
    "judge",
    "notes",
    "number",
    "section",
    "table",
    "with_section",
]

Sample = Mapping[str, float]
NOTED = ("p50_ms", "p99_ms", "server_busy", "generator_busy", "fdatasync", "commit_")


@dataclass(frozen=True)
class Target:
    """A limit for a figure, or for its ratio to the figure of the server it stands beside."""

    limit: float
    at_least: bool = False
    ratio: bool = True

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.limit)}{' ×' if self.ratio else ''}"


@dataclass(frozen=True)
class Figure:
    """One number to take from every sample of `server`, and of the server it stands beside, if any."""

    label: str
    unit: str
    of: Callable[[Sample], float]
    target: Target | None = None
    server: str = "gapless"
    beside: str = "peer"


@dataclass(frozen=True)
class Row:
    """A figure's median on gapless and on the server beside it; None where it was not measured."""

    figure: Figure
    gapless: float | None
    beside: float | None

    @property
    def ratio(self) -> float | None:
        return self.gapless / self.beside if self.gapless is not None and self.beside else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or without what it judges."""
        target = self.figure.target
        value = self.ratio if target and target.ratio else self.gapless
        return target.met(value) if target and value is not None else None


def judge(figures: Iterable[Figure], samples: Mapping[str, Sequence[Sample]]) -> list[Row]:
    """Turn the samples of a measurement, by server, into a row for each figure."""
    return [
        Row(
            figure,
            middle(figure, samples.get(figure.server, ())),
            middle(figure, samples.get(figure.beside, ())),
        )
        for figure in figures
    ]


def notes(samples: Sequence[Sample]) -> str:
    """The medians of what explains the figures: latency, how busy both cores were, the disk, the store."""
    keys = [key for key in samples[0] if key.startswith(NOTED)] if samples else []
    return ", ".join(f"{key} {number(median(sample[key] for sample in samples))}" for key in keys)


def middle(figure: Figure, samples: Sequence[Sample]) -> float | None:
    return median(figure.of(sample) for sample in samples) if samples else None


def number(value: float | None) -> str:
    """Three significant digits, and no exponent."""
    if value is None:
        return "–"
    digits = next((digits for digits, least in ((0, 100), (1, 10), (2, 1)) if abs(value) >= least), 3)
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table that is aligned for a terminal too."""
    verdicts = {True: "met", False: "**missed**", None: ""}
    lines: list[tuple[str, ...]] = [
        ("measured", "unit", "gapless", "beside it", "", "ratio", "target", "verdict")
    ]
    lines += [
        (
            row.figure.label,
            row.figure.unit,
            number(row.gapless),
            number(row.beside) if row.figure.beside else "",
            row.figure.beside,
            number(row.ratio) if row.figure.beside else "",
            str(row.figure.target or ""),
            verdicts[row.met],
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


def section(page: str, title: str) -> str:
    """Return what stands under a heading of a page, without it; empty if there is no such heading."""
    _, _, rest = page.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0].strip("\n")


def with_section(page: str, title: str, text: str) -> str:
    """Return a page that ends with a section: in the place of the one of that title, or added."""
    before, _, rest = page.partition(f"\n## {title}\n")
    _, heading, after = rest.partition("\n## ")
    kept = f"{before.rstrip()}\n{heading}{after}".rstrip()
    return f"{kept}\n\n## {title}\n\n{text}\n" if text else f"{kept}\n"
