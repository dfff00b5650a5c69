"""The zoo's side: one pass of a recipe of clicks over made-up fields, each of whose values has a row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import isolated, synthetic
from benchmarks.peers import train
from zoo import names, workdir
from zoo.data import splits
from zoo.recipe import override
from zoo.run import Job


def measure(configuration: train.Configuration) -> dict[str, Any]:
    recipe = override(names.recipe(configuration.model)[2], configuration.settings)
    recipe = replace(recipe, examples=synthetic.field_examples, split=splits.published)
    table = workdir.load_data(Path(configuration.file))
    return train.train(Job(recipe, table, {}, configuration.seed), configuration)


if __name__ == "__main__":
    isolated.answer(measure, train.Configuration)
