"""Parts of the suite youtube that are about the candidate generation."""

from collections.abc import Mapping

from benchmarks.youtube_part import Part


PARTS: Mapping[str, Part] = {}
