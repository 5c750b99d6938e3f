"""The reference of the rest: the command line, metrics, limits, and the care of the store."""

import ast
import inspect
from collections.abc import Iterator

import click
from prometheus_client import CollectorRegistry

from docs.generate.words import said, table
from gapless.cli import main
from gapless.core import limits
from gapless.server.metrics import METRICS
from gapless.worker.metrics import HandlerMetrics

__all__ = ["command_line_page", "handler_metrics", "limits_page", "metrics_page"]

METRICS_HEAD = """# Metrics

`GET /metrics`, with `prometheus.enabled = true`; with `prometheus.key` only for who presents it as a bearer token.
Names never change their meaning. What to watch is in [Operate](../howto/operate.md).

## Of the server
"""

HANDLERS_HEAD = """## Of workers

`gapless worker app:gl --metrics 9100` answers `GET /metrics`, and `gl.worker(metrics=registry)` fills a registry of
prometheus_client. The label `source` is the queue or stream, `group` a stream's. What waits is measured every 15 s.
"""

LIMITS_HEAD = """# Limits

What is limited besides what [options](options.md) limit. Units stand last in a name: `BYTES`, `MS` (milliseconds).
"""

COMMANDS_HEAD = """# Command line

Each command has `--help`. An error is one line on standard error; the exit code is 2 when what was asked for is wrong, 1 when
the world is. `--json` prints objects for machines: what the API answers. Commands that call a server take its URL with
`--url`, and its key with `--api-key` or `GAPLESS_HTTP_API__KEY`; or both from the server's own file with `--config`. The
commands of `gapless queue` and `gapless stream` take a file too, `--url sqlite:app.db`: they join the process that has it open, or open it. What cannot be undone is
asked for at a terminal; without one it needs `--yes`.
"""


def metrics_page() -> str:
    """Return the page of metrics."""
    lines = [
        (
            f"`{metric.name}`",
            metric.kind.value,
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.help,
        )
        for metric in METRICS
    ]
    server = table(("Metric", "Type", "Labels", "Tells"), lines)
    workers = table(("Metric", "Type", "Tells"), handler_metrics())
    return f"{METRICS_HEAD}\n{server}\n{HANDLERS_HEAD}\n{workers}"


def handler_metrics() -> list[tuple[str, str, str]]:
    """Return what a worker tells of its handlers: names as they are scraped, types, meanings."""
    registry = CollectorRegistry()
    HandlerMetrics(registry, lambda: 0)
    return [
        (f"`{metric.name}{'_total' if metric.type == 'counter' else ''}`", metric.type, metric.documentation)
        for metric in registry.collect()
    ]


def limits_page() -> str:
    """Return the page of limits."""
    lines = [(f"`{name}`", f"{value:,}", comment) for name, value, comment in _limits()]
    return f"{LIMITS_HEAD}\n{table(('Limit', 'Value', ''), lines)}"


def _limits() -> Iterator[tuple[str, int, str]]:
    """Yield each limit with the comment above it, which holds for those that follow it at once."""
    source = inspect.getsource(limits)
    lines = source.splitlines()
    comment: list[str] = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above = node.lineno - 2
        if lines[above].startswith("#"):
            first = above
            while lines[first - 1].startswith("#"):
                first -= 1
            comment = [line.removeprefix("# ") for line in lines[first : above + 1]]
        elif not lines[above]:
            comment = []
        yield node.target.id, getattr(limits, node.target.id), " ".join(comment)


def command_line_page() -> str:
    """Return the page of commands."""
    parts = [COMMANDS_HEAD]
    context = click.Context(main, info_name="gapless")
    for name in main.list_commands(context):
        parts += _command(main.get_command(context, name), f"gapless {name}")
    return "\n".join(parts)


def _command(command: click.Command | None, name: str) -> Iterator[str]:
    assert command is not None
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"## {name}\n\n{said(command.callback)}\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _command(command.get_command(context, inner), f"{name} {inner}")
        return
    records = (param.get_help_record(context) for param in command.params)
    lines = [(f"`{record[0]}`", record[1]) for record in records if record is not None]
    yield f"    {usage}\n\n{table(('Option', ''), lines)}"
