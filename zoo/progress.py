"""Progress on stderr: a bar on a terminal, lines elsewhere."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
    )


def tell(quiet: bool, text: str) -> None:
    """A line, where no bar is drawn."""
    if not (quiet or sys.stderr.isatty()):
        print(text, file=sys.stderr, flush=True)
