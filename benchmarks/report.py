"""python -m benchmarks report: tables of README.md and of pages of docs, and what zoo list shows, from the records.

A table stands between `<!-- report:NAME -->` and `<!-- /report:NAME -->`; the names are those of TABLES.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    claim_tables,
    claims,
    convolutions,
    lesson_tables,
    optimizer_tables,
    scaling,
    sizes,
    tables,
    throughput_tables,
    youtube_parts,
)
from benchmarks.isolated import ROOT
from benchmarks.tables import Record, Table
from zoo.errors import InputError


RECORDS = ROOT / "benchmarks" / "records"
EXPECTED = ROOT / "zoo" / "expected.json"
FILES = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{page}.md"
        for page in ("benchmarks", "convolutions", "feature-interactions", "optimizers", "youtube")
    ),
)

TABLES: dict[str, Callable[[Sequence[Record]], Table]] = {
    "quality": lambda records: claim_tables.quality(records, claims.CLAIMS),
    "results": lambda records: claim_tables.quality(records, claims.headlines()),
    "throughput": throughput_tables.throughput,
    "speed": throughput_tables.speed,
    "rows": tables.rows,
    "sizes": sizes.table,
    "scaling": scaling.table,
    "convolutions": convolutions.table,
    "limits": tables.limits,
    "peers": tables.peers,
    "streaming": tables.streaming,
    "tune": tables.tune,
    "graph": tables.graph,
    "trees": claim_tables.trees,
    "batch_scaling": tables.batch_scaling,
    "optimizers": optimizer_tables.table,
    "sweep": optimizer_tables.sweep,
    "lessons": lesson_tables.table,
    "youtube": youtube_parts.table,
}
MARKED = re.compile(r"(<!-- report:([\w-]+) -->\n)(.*?)(<!-- /report:\2 -->)", re.DOTALL)
MARKER = re.compile(r"<!-- /?report:([\w-]+) -->")


def run(options: argparse.Namespace) -> int:
    records, problems = read(options.records)
    for problem in problems:
        print(f"benchmarks: {problem}", file=sys.stderr)
    changed = changes(FILES, sections(records)) | changed_expectations(records["quality"])
    if not options.check:
        for path, text in changed.items():
            path.write_text(text)
    for path in changed:
        print(
            f"{path.relative_to(ROOT)}: "
            + ("out of date; run python -m benchmarks report" if options.check else "written")
        )
    return 2 if problems else 1 if options.check and changed else 0


def read(folder: Path) -> tuple[dict[str, list[Record]], list[str]]:
    """The records of each suite, less those of --quick runs, and a line for each that cannot be read."""
    records: dict[str, list[Record]] = {name: [] for name in TABLES}
    problems = []
    for name, found in records.items():
        path = folder / f"{name}.jsonl"
        for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
            try:
                record = json.loads(line)
                TABLES[name]([record])  # a table of this record alone: all that a table needs is there
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                what = f"lacks {error}" if isinstance(error, KeyError) else f"cannot be read: {error}"
                problems.append(f"{path}, line {number}: this record {what}; mend or delete the line")
                continue
            if not record.get("quick"):
                found.append(record)
    return records, problems


def sections(records: Mapping[str, Sequence[Record]]) -> dict[str, str]:
    """What stands between the markers of each suite that has records: a table a device."""
    found = {}
    quality = [*records.get("quality", ()), *records.get("trees", ())]  # which states the gap
    records = {**records, "quality": quality, "results": quality, "speed": records.get("throughput", ())}
    for name, own in records.items():
        made = [TABLES[name](group) for _, group in sorted(tables.by_device(own).items())]
        parts = [tables.markdown(table) for table in made if table.rows]
        if parts:
            found[name] = "\n" + "\n".join(parts) + "\n"
    return found


def changes(files: Sequence[Path], found: Mapping[str, str]) -> dict[Path, str]:
    """The files whose text would change, with the new text. A file that is not there or has no marker is left alone."""
    changed = {}
    for path in files:
        if path.exists():
            text = path.read_text()
            new = rewritten(text, found, path)
            if new != text:
                changed[path] = new
    return changed


def changed_expectations(quality: Sequence[Record], path: Path = EXPECTED) -> dict[Path, str]:
    """The file of what zoo list says a recipe reaches, with its new text, if that differs."""
    text = json.dumps(claim_tables.expected(quality, claims.CLAIMS), indent=2) + "\n"
    return {} if not quality or (path.exists() and path.read_text() == text) else {path: text}


def rewritten(text: str, found: Mapping[str, str], path: Path) -> str:
    """The text with the sections put between their markers; markers of a suite without records keep what they hold."""
    pairs = [match[1] for match in MARKED.findall(text)]
    unknown = [match for match in MARKER.findall(text) if match not in TABLES]
    if unknown:
        raise InputError(f"{path}: a marker names {unknown[0]!r}; there are {', '.join(TABLES)}")
    if len(MARKER.findall(text)) != 2 * len(pairs):
        raise InputError(
            f"{path}: a report marker has no partner; write <!-- report:NAME --> and <!-- /report:NAME -->"
        )
    return MARKED.sub(lambda match: match[1] + found.get(match[2], match[3]) + match[4], text)
