"""Made-up interactions and tables of fields of any size and skew: for speed, not for what models reach on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data import fields as zoo_fields
from zoo.data import splits
from zoo.data.fields import FieldTable
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions
from zoo.data.splits import Split, SplitRule
from zoo.data.text import Text
from zoo.errors import InputError
from zoo.recipe import Examples, Recipe
from zoo.types import Spec


NUM_FIELDS = 39  # as Criteo's
SMALL_FIELDS, SMALL_SIZE = 13, 32  # its numbers, cut into buckets


def zipf_ids(rng: np.random.Generator, size: int, num_rows: int, exponent: float) -> np.ndarray:
    """`size` int32 ids below num_rows; the id of rank r is drawn in proportion to r ** -exponent, 0 being uniform.

    Ranks are spread over the ids at random: frequent rows are not neighbours in memory.
    """
    if exponent == 0:
        return rng.integers(0, num_rows, size, dtype=np.int32)
    cumulative = np.cumsum(np.arange(1, num_rows + 1, dtype=np.float64) ** -exponent)
    ranks = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return rng.permutation(num_rows).astype(np.int32)[np.minimum(ranks, num_rows - 1)]


def interactions(num_users: int, num_items: int, size: int, exponent: float, seed: int) -> Interactions:
    """`size` interactions with skewed users and items, ratings 1 to 5 and rising times. Raw ids are the row numbers."""
    rng = np.random.default_rng(seed)
    return Interactions(
        user=zipf_ids(rng, size, num_users, exponent),
        item=zipf_ids(rng, size, num_items, exponent),
        rating=rng.integers(1, 6, size).astype(np.float32),
        timestamp=np.arange(size, dtype=np.int64),
        user_ids=np.arange(num_users),
        item_ids=np.arange(num_items),
    )


def field_sizes(num_rows: int) -> tuple[int, ...]:
    """Rows of 39 fields as Criteo's, `num_rows` in all: 13 of 32 buckets each, then 26 of which each is sqrt(2) times
    as large as the one before."""
    left = num_rows - SMALL_FIELDS * SMALL_SIZE
    share = 2 ** (np.arange(NUM_FIELDS - SMALL_FIELDS) / 2)
    sizes = (left * share / share.sum()).astype(int)
    if sizes[0] < 1:
        raise InputError(f"{num_rows:,} rows are too few for {NUM_FIELDS} fields as Criteo's: take at least 30,000")
    sizes[-1] += left - sizes.sum()
    return (SMALL_SIZE,) * SMALL_FIELDS + tuple(sizes.tolist())


def fields(num_rows: int, size: int, exponent: float, seed: int) -> FieldTable:
    """`size` examples of field_sizes(num_rows) with skewed values. Clicks follow single values, not pairs:

    log odds = -1 + sum_f a_f,    a_f normal with standard deviation 0.3
    """
    rng = np.random.default_rng(seed)
    sizes = field_sizes(num_rows)
    codes = np.stack([zipf_ids(rng, size, rows, exponent) for rows in sizes], axis=1)
    log_odds = np.full(size, -1.0)
    for rows, column in zip(sizes, codes.T):
        log_odds += 0.3 * rng.standard_normal(rows)[column]
    return FieldTable(
        names=tuple(f"field_{i}" for i in range(len(sizes))),
        levels=tuple(np.arange(rows) for rows in sizes),
        codes=codes,
        numeric_names=(),
        numbers=np.empty((size, 0), np.float32),
        label=(rng.random(size) < 1 / (1 + np.exp(-log_odds))).astype(np.float32),
    )


def field_examples(split: Split) -> Examples:
    """As tasks.click_examples, but every value has a row, met in training or not: tables are as large as asked for."""
    every = zoo_fields.Encoding(tuple(np.arange(len(levels), dtype=np.int32) for levels in split.train.levels), ())
    rate = split.train.label.mean(dtype=np.float64)
    return Examples(
        spec=Spec(field_sizes=every.field_sizes, base_score=float(np.log(rate / (1 - rate)))),
        train={"fields": every.encode(split.train), "label": split.train.label},
        test={"fields": every.encode(split.test)},
    )


def text(num_rows: int, size: int, exponent: float, seed: int) -> Text:
    """`size` characters of an alphabet of 64, skewed, each drawn by itself; the number of rows has no meaning here."""
    del num_rows
    letters = np.array(sorted("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ."))
    return Text(zipf_ids(np.random.default_rng(seed), size, len(letters), exponent), letters)


def titled(num_rows: int, size: int, exponent: float, seed: int) -> FieldTable:
    """`size` ratings by users of items, titles of 1 to 12 words; a third of num_rows of each of them."""
    rng, rows = np.random.default_rng(seed), num_rows // 3
    words = zipf_ids(rng, 12 * rows, rows, exponent).reshape(rows, 12)
    titles = np.where(np.arange(12) < rng.integers(1, 13, (rows, 1)), words, -1)
    item = zipf_ids(rng, size, rows, exponent)
    return FieldTable(
        names=("user", "item"),
        levels=(np.arange(rows),) * 2,
        codes=np.stack([zipf_ids(rng, size, rows, exponent), item], axis=1),
        numeric_names=(),
        numbers=np.empty((size, 0), np.float32),
        label=rng.integers(1, 11, size).astype(np.float32),
        bag_names=("title",),
        bag_levels=(np.arange(rows),),
        bags=(titles[item],),
    )


def images(num_rows: int, size: int, exponent: float, seed: int) -> Images:
    """Up to 16,384 images as Fashion-MNIST's, of random bytes; rows and skew have no meaning here."""
    del num_rows, exponent
    rng = np.random.default_rng(seed)
    size = min(size, 2**14)
    image = rng.integers(0, 256, (size, 28, 28, 1), np.uint8)
    return Images(image, rng.integers(0, 10, size, np.int32), np.arange(10).astype(str))


def impressions(num_rows: int, size: int, exponent: float, seed: int) -> Impressions:
    """`size` impressions in pages of 8 among as many watches of as many users and items; one in 20 is clicked."""
    rng = np.random.default_rng(seed)
    watches = interactions(num_rows, num_rows, size, exponent, seed)
    click = (rng.random(size) < 0.05).astype(np.float32)
    return Impressions(
        page=np.arange(size, dtype=np.int32) // 8,
        user=np.repeat(zipf_ids(rng, -(-size // 8), num_rows, exponent), 8)[:size],
        item=zipf_ids(rng, size, num_rows, exponent),
        timestamp=np.arange(size, dtype=np.int64),
        click=click,
        watch_seconds=click * rng.exponential(60.0, size).astype(np.float32),
        watches=watches,
    )


@dataclass(frozen=True)
class Made:
    """How to make up the data of a recipe."""

    data: Callable[[int, int, float, int], Any]  # (rows, size, zipf, seed) -> what the recipe reads
    examples: Callable[[Split], Examples] | None = None  # in place of the recipe's own
    split: SplitRule = splits.random  # where the recipe names none
    fits: Callable[[Recipe], bool] = lambda recipe: True  # whether the recipe means anything on it


# By what a recipe reads, or by a model's name where the model needs more. A model of another kind of data: one entry.
MADE: dict[type | str, Made] = {
    Interactions: Made(lambda rows, size, zipf, seed: interactions(rows, rows, size, zipf, seed)),
    Text: Made(text, split=splits.ending),
    Images: Made(images),
    Impressions: Made(impressions),
    "cnn_fm": Made(titled),
    # The other recipes of ratings are left out: their steps are those of clicks.
    FieldTable: Made(fields, field_examples, fits=lambda recipe: recipe.metric == "auc"),
}


def made(model: str, recipe: Recipe) -> Made | str:
    """How to make up data for a recipe of `model`, or in a few words why it has no step to time."""
    if recipe.solve is not None:
        return "a closed form: no step"
    found = MADE.get(model, MADE.get(recipe.reads))
    if found is None:
        return f"no made-up {recipe.reads.__name__}: add an entry to MADE in benchmarks/synthetic.py"
    return found if found.fits(recipe) else f"made-up {recipe.reads.__name__} has no likeness to what it reads"
