"""What the part `cost` of the suite youtube measures: a step of youtube_candidates at several numbers of videos."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks import isolated, sizes_step
from zoo import names, negatives, objectives
from zoo.recipe import override


@dataclass(frozen=True)
class Cost(sizes_step.Configuration):
    depth: int = 1
    negatives: int = 2000


def measure(configuration: Cost) -> dict[str, Any]:
    """As benchmarks.sizes_step, with a tower and a sample of these sizes."""
    recipe = names.recipe(configuration.model)[2]
    recipe = override(recipe, {"model.depth": configuration.depth, "examples.per_user": 1})
    sampler = partial(negatives.popularity, count=configuration.negatives)
    recipe = replace(recipe, objective=partial(objectives.sampled_softmax, sampler=sampler))
    return sizes_step.in_turns(configuration, recipe)


if __name__ == "__main__":
    isolated.answer(measure, Cost)
