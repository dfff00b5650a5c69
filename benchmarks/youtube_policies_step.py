"""What the part `policies` of the suite youtube measures in a process of its own: what lists bring on one world."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import isolated
from zoo import funnel, names
from zoo.api import run_request
from zoo.data.impressions import Impressions
from zoo.names import Request
from zoo.run import fit
from zoo.trained import FunnelRun, Run


@dataclass(frozen=True)
class Policies:
    data: str  # a world, with its seed
    model: str = "youtube/watch"
    settings: Mapping[str, Any] = field(default_factory=dict)  # changes of the recipes
    seed: int = 0


def measure(configuration: Policies) -> dict[str, Any]:
    """By policy the expected watch seconds of lists at the moment from which on the ranking is judged.

    `clicks` ranks the same candidates by a network that was trained on clicks alone.
    """
    world = names.data(configuration.data, Impressions)[0]
    request = Request(configuration.model, configuration.data, seed=configuration.seed, settings=configuration.settings)
    with tempfile.TemporaryDirectory() as folder:
        run = run_request(request, world, Path(folder) / "run")
        assert isinstance(run, FunnelRun) and isinstance(world, Impressions)
        lists = {"funnel": run.metrics, **run.record["baselines"]}
        clicks = Request("youtube_ranking/clicks", configuration.data, seed=configuration.seed)
        job = names.job(clicks, run.ranking.job.interactions)
        record, prepared, state = fit(job, Path(folder) / "clicks", quiet=True)
        ranking = Run(job, prepared, state, record, Path(folder) / "clicks")
        now = int(prepared.split.test.timestamp.min())
        lists["clicks"] = funnel.expected_watch_seconds(world, run, ranking, now)["funnel"]
    return {"lists": lists, "ranking": run.ranking.metrics, "training": run.record["training"]}


if __name__ == "__main__":
    isolated.answer(measure, Policies)
