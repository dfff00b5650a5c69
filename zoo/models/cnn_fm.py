"""A factorization machine with a vector that a convolution reads from a text: books by the words of their titles.

    c = [max over places of ReLU(K_h * words + b_h), for each height h],    words = vectors of the title's words
    score = b + sum_f w_f + u . c + sum_{f<g} v_f . v_g + MLP([v_1, ..., v_F]),    v_F = W c, the others looked up

Kim 2014, "Convolutional Neural Networks for Sentence Classification" (EMNLP), for the text: filters of several heights
over word vectors, the largest of each over time. Zheng, Noroozi and Yu 2017, "Joint Deep Modeling of Users and Items
Using Reviews" (DeepCoNN, WSDM), for an FM behind it. The name CNN_FM is that of courses whose network reads covers.

Differences from these: word vectors are learned here, not given; the text is the title, which is known before anyone
has rated a book, where DeepCoNN reads reviews and so must leave out that of the rating in question; user and book enter
the FM as ids and fields. A filter is laid on at each word, over zeros where it reaches past the last; an empty text has
c = 0. Words not met in train are one row. W and u start near 0; with `hidden_dims` there is the tower of DeepFM.
"""

from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import optimizers, tasks
from zoo.data import fields
from zoo.embedding import Embed
from zoo.layers import MLP, NEAR_ZERO, Linear, SequenceConv, field_cost, sum_of_pairs, tower_weights
from zoo.recipe import Recipe
from zoo.types import PADDING, Batch, Cost, Spec


class CNNFM(nn.Module):
    """A Scorer of rows whose last field is a text in order, `bags` [batch, 1, length]."""

    spec: Spec
    embedding_dim: int = 8
    word_dim: int = 16
    filters: int = 16  # of each height
    heights: tuple[int, ...] = (1, 2, 3)
    hidden_dims: tuple[int, ...] = (64, 32)
    dropout: float = 0.5
    init_scale: float = 0.01

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        sizes = self.spec.field_sizes
        self.linear = Linear(replace(self.spec, field_sizes=sizes[:-1]))
        self.factors = Embed(sum(sizes[:-1]), self.embedding_dim, init)
        self.words = Embed(sizes[-1], self.word_dim, nn.initializers.normal(0.1))
        self.convolutions = [SequenceConv(self.filters, height) for height in self.heights]
        self.vector = nn.Dense(self.embedding_dim, use_bias=False, kernel_init=init)
        self.weight = nn.Dense(1, use_bias=False, kernel_init=NEAR_ZERO)
        if self.hidden_dims:
            self.tower = MLP(self.hidden_dims, self.dropout)
            self.top = nn.Dense(1, use_bias=False, kernel_init=NEAR_ZERO)

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        text = self.text(batch["bags"][:, 0])
        looked_up = self.factors(batch["fields"])
        vectors = jnp.concatenate([looked_up, self.vector(text)[:, None, :]], axis=1)
        pairs = jnp.sum(sum_of_pairs(vectors), axis=-1)
        score = self.linear({"fields": batch["fields"]}) + self.weight(text)[:, 0] + pairs
        if self.hidden_dims:
            score = score + self.top(self.tower(vectors.reshape(vectors.shape[0], -1), train=train))[:, 0]
        return score

    def text(self, ids: Array) -> Array:
        """Rows of the one table of all fields, int [batch, length], nothing behind the last word -> float [batch,
        heights * filters]."""
        first = sum(self.spec.field_sizes[:-1])
        there = (ids >= first) & (ids < sum(self.spec.field_sizes))
        words = self.words(jnp.where(there, ids - first, PADDING))
        words = jnp.pad(words, ((0, 0), (0, max(self.heights) - 1), (0, 0)))
        length, there = there.shape[1], there.astype(words.dtype)
        return jnp.concatenate(
            [conv(words[:, : length + height - 1], there) for conv, height in zip(self.convolutions, self.heights)], 1
        )


def cost(recipe: Recipe, model: CNNFM) -> Cost:
    """As that of DeepFM, and of the longest text three passes over the row of each word, and filters at each word."""
    num_fields, dim, batch = len(model.spec.field_sizes), model.embedding_dim, recipe.batch_size
    length = model.spec.bag_length
    kernels = sum(model.heights) * model.word_dim * model.filters
    weights = len(model.heights) * model.filters * (dim + 1)
    weights += tower_weights(num_fields * dim, (*model.hidden_dims, 1)) if model.hidden_dims else 0
    found = field_cost(batch, num_fields - 1, dim + 1, weights + kernels, products=(num_fields + 1) * dim)
    return Cost(
        bytes=found.bytes + 3 * 4 * batch * length * model.word_dim,
        flops=found.flops + 6.0 * batch * kernels * (length - 1),
    )


RECIPES = {
    "books": tasks.field_rating(
        data="book-crossing",
        model=partial(CNNFM, embedding_dim=8, word_dim=8, filters=8, heights=(1, 2), hidden_dims=(64, 32)),
        examples=partial(tasks.field_rating_examples, bag_form=fields.in_order),
        optimizer=partial(optimizers.dense_adam, l2=1e-3),
        learning_rate=1e-3,
        batch_size=1024,
        epochs=2,
        for_data={"book-crossing-new": {"without": ("item",)}},
    ),
    "smoke": tasks.clicks(
        data="planted:words=5",
        model=partial(CNNFM, embedding_dim=4, word_dim=4, filters=4, heights=(1, 2), hidden_dims=(), init_scale=0.1),
        examples=partial(tasks.click_examples, bag_form=fields.in_order),
        optimizer=optimizers.adagrad,
        learning_rate=0.05,
        batch_size=256,
        epochs=4,
    ),
}
