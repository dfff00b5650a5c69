"""What the part `ranking` of the suite youtube measures in a process of its own: towers on one world."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import isolated
from zoo import names
from zoo.api import run_request
from zoo.data.impressions import Impressions
from zoo.names import Request


TOWERS = {
    "none": (),
    "256": (256,),
    "512": (512,),
    "1024": (1024,),
    "512-256": (512, 256),
    "1024-512": (1024, 512),
    "1024-512-256": (1024, 512, 256),
}
TENTHS = tuple(f"odds_calibration_{i}" for i in range(1, 11))
MORE = ("odds_calibration_worst", "odds_calibration_each", "seconds_calibration", *TENTHS)


@dataclass(frozen=True)
class Ranking:
    data: str  # a world, with its seed
    settings: Mapping[str, Any] = field(default_factory=dict)  # changes of the recipe
    seed: int = 0


def measure(configuration: Ranking) -> dict[str, Any]:
    """By run the metrics of the held-out pages and the seconds of training; the loss of the best order."""
    tallest = {"hidden_dims": list(TOWERS.values())[-1]}
    asked = {name: ("watch", {"hidden_dims": dims}) for name, dims in TOWERS.items()}
    asked |= {"equal weights": ("clicks", tallest), "no powers": ("watch", {**tallest, "powers": (1.0,)})}
    world, found, oracle = names.data(configuration.data, Impressions)[0], {}, {}
    for name, (recipe, changed) in asked.items():
        settings = {**changed, **configuration.settings}
        request = Request(f"youtube_ranking/{recipe}", configuration.data, seed=configuration.seed, settings=settings)
        with tempfile.TemporaryDirectory() as folder:
            run = run_request(request, world, Path(folder) / "run")
        oracle = run.record["baselines"]["oracle"]
        found[name] = run.metrics | {"seconds": run.record["training"]["seconds"]}
        if recipe == "watch":
            found[name] |= run.evaluate(MORE)
    return {"runs": found, "oracle": oracle["weighted_user_loss"]}


if __name__ == "__main__":
    isolated.answer(measure, Ranking)
