"""All parts of the suite youtube, and the table of their records. A module of parts more is a line more in PARTS."""

from collections.abc import Mapping, Sequence

from benchmarks import tables, youtube_candidates, youtube_ranking, youtube_serving
from benchmarks.tables import Record, Table
from benchmarks.youtube_part import Part


PARTS: Mapping[str, Part] = {
    **youtube_candidates.PARTS,
    **youtube_ranking.PARTS,
    **youtube_serving.PARTS,
}


def table(found: Sequence[Record]) -> Table:
    lines = [line for name, part in PARTS.items() for line in part.lines([r for r in found if r["part"] == name])]
    return Table(("what", "found", "asked", "verdict"), tuple(lines), tables.footnote(found))
