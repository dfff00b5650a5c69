"""What a part of the suite youtube is."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tables import Record


Line = tuple[str, str, str, str]  # what, found, asked, verdict


@dataclass(frozen=True)
class Part:
    """Records of a part have its name in `part`, the fields of the configuration, and what was measured."""

    module: str  # whose `python -m` measures a configuration in a process of its own (benchmarks.isolated)
    configurations: Callable[[argparse.Namespace], Iterable[Any]]  # dataclasses, of the suite's options
    lines: Callable[[Sequence[Record]], list[Line]]  # of the part's records on one device, for the table
    draw: Callable[[Sequence[Record], Path], None] | None = None  # of the part's records on one device, an SVG
