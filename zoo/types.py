"""The values that travel through the zoo: batches, what the data decides, the state of training, what a model answers.

Axis words used in every signature: batch, items, users, length, fields, dim, negatives, k, edges.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array


# A batch is a mapping of arrays that share a leading axis "batch". Its keys are a closed vocabulary:
#   user, item          int32 [batch]     row numbers
#   fields              int32 [batch, fields]  rows of the one table in which all fields lie one after the other
#   bags                int32 [batch, bags, length]  fields of many values, in the same table; PADDING at the end
#   codes               int32 [batch, categories]  the row of each category in a table of its own, -1 for an unknown one
#   numbers             float32 [batch, numbers]  between 0 and 1
#   history_start, history_length   int32 [batch]  a range of the constant `history_log`: what the user had watched
#   search_start, search_length   int32 [batch]  a range of the constant `search_log`: tokens of the user's searches
#   future_length       int32 [batch]     how many watches of the user stand in `history_log` after that range
#   characters          int32 [batch, length]  classes of characters, one after the other
#   sequence            int32 [batch, length]  items one after the other; PADDING at the end
#   place               int32 [batch]     where an example stands in its sequence: that of place + 1 goes on from it;
#                       int32 [batch, length]  of each entry of `sequence`: 0 where one begins
#   image               uint8 [batch, height, width, channels]
#   label               float32 [batch]   a rating, a click; int32 [batch, *length] classes, out of range where none is
#   mask                float32 [batch]   1 for an example, 0 for padding
#   weight              float32 [batch]   importance of an example in the loss; absent means 1
# Padding is mask 0, importance is weight: two keys, never one. The ids of a padded example are PADDING.
Batch = Mapping[str, Array]
BATCH_KEYS = ("user", "item", "fields", "bags", "codes", "numbers", "history_start", "history_length")
BATCH_KEYS += (
    "search_start",
    "search_length",
    "future_length",
    "characters",
    "sequence",
    "place",
    "image",
    "label",
    "mask",
    "weight",
)

# An id beyond every table: a lookup reads zeros there and an update drops it, so padding can neither teach nor move a
# row.
PADDING = 2**31 - 1

# The part of model_state that goes from batch to batch row by row, such as the state of a recurrent network: arrays
# with leading axis "batch", divided over devices as the batch is.
CARRY = "carry"


def fill_of(column: Any) -> int:
    """What a column holds of a padded example: PADDING where it is ids, 0 where numbers or pixels."""
    return PADDING if jnp.issubdtype(column.dtype, jnp.integer) and column.dtype.itemsize >= 4 else 0


@dataclass(frozen=True)
class Spec:
    """What the data decides about a model. Hashable, so that it can be a static argument."""

    num_users: int = 0
    num_items: int = 0
    num_edges: int = 0  # entries of the graph, two an interaction
    rating_mean: float = 0.0  # of the training ratings
    rating_range: tuple[float, float] | None = None  # lowest and highest training rating
    field_sizes: tuple[int, ...] = ()  # rows of each field; the first stands for the unknown
    bag_length: int = 0  # entries of the longest field of many values
    num_classes: int = 0  # of a label
    num_numbers: int = 0  # continuous features
    history_length: int = 0  # entries of the longest history
    search_length: int = 0  # tokens of the longest bag of searches
    num_tokens: int = 0  # different ones
    image_shape: tuple[int, ...] = ()  # height, width, channels
    pixel_mean: float = 0.0  # of all training pixels
    pixel_deviation: float = 1.0
    base_score: float = 0.0  # the best constant score of a field model: for clicks, the log odds of one in train


class TrainState(struct.PyTreeNode):
    """Everything that training changes, and so everything that a checkpoint keeps.

    Constants (a graph, the frequency of items) are a separate argument of the step: they are neither donated nor saved
    but rebuilt from the data.
    """

    step: Array  # int32 [], steps done
    params: Any  # dense weights, updated by optax
    tables: dict[str, Array]  # embedding tables float32 [rows, dim] by module path, updated by rows
    model_state: Any  # batch statistics, recurrent carry
    opt_state: Any  # optax's state for params
    row_state: dict[str, Any]  # the row optimizers' state by table
    key: Array  # jax.random key; the draws of a step come from fold_in(key, step)


class Cost(NamedTuple):
    """What one training step must at least move and compute, by hand count."""

    bytes: float  # read and written, each row and weight once a use
    flops: float  # a multiply-add counts two


class Retriever(Protocol):
    """A model whose score is a dot product: query vector . item vector (MF, NGCF, GRU4Rec, Caser, YouTube
    candidates)."""

    num_items: int

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> Any:
        """Work done once a step or evaluation, such as a graph propagation; () where there is none."""

    def query(self, batch: Batch, prepared: Any, *, train: bool = False) -> Array:
        """Query vectors, float [batch, dim]."""

    def item_vectors(self, ids: Array | None, prepared: Any) -> Array:
        """Item vectors, float [*ids, dim]; `ids=None` means all items, [items, dim]."""


class Scorer(Protocol):
    """A model that gives one number an example (rating MF, FM, FFM, DeepFM, YouTube ranking)."""

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        """Scores, float [batch]: a rating, or a logit."""


class Classifier(Protocol):
    """A model that gives a number a class (images, characters)."""

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        """Logits, float [batch, *length, classes]."""


# A model is a value: equal where its class and fields are (linen makes it so), and hashable, as its fields are. What
# was compiled for one serves its equals.

# Per-example losses of a bound linen model. The train step runs it once a step as model.apply(..., method=objective),
# so that all lookups of a step share one scope; a second apply inside it would mix them up.
Objective = Callable[[Any, Batch, jax.Array], Array]
