"""The machine that reads a text against its equation as loops; what an order of words can tell, and an empty text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import names
from zoo.data import fields
from zoo.models import cnn_fm
from zoo.models.cnn_fm import CNNFM
from zoo.recipe import override
from zoo.types import PADDING, Spec


# Two fields of 3 and 2 values, and a text of 4 words; rows 5 to 8 of the one table are words, 5 the unknown one.
SPEC = Spec(field_sizes=(3, 2, 4), bag_length=3, base_score=0.3)
TEXTS = [[6, 8, 7], [5, 7], [8], []]


def batch():
    bags = np.full((4, 1, 3), -1, np.int32)
    for row, text in zip(bags[:, 0], TEXTS):
        row[: len(text)] = text
    bags[3] = PADDING  # padding and an empty text are one
    return {"fields": jnp.array([[0, 3], [1, 4], [2, 3], [2, 4]], jnp.int32), "bags": jnp.asarray(bags)}


@pytest.mark.parametrize("hidden_dims", [(), (5,)], ids=["fm", "deepfm"])
def test_score_is_the_loops(hidden_dims):
    model = CNNFM(SPEC, 3, word_dim=2, filters=2, heights=(1, 2, 4), hidden_dims=hidden_dims, dropout=0.0)
    held = jax.eval_shape(model.init, jax.random.key(0), batch())
    rng = np.random.default_rng(0)
    held = {
        part: jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), held[part])
        for part in ("params", "tables")
    }
    found = model.apply(held, batch())
    params, tables = (jax.tree.map(np.float64, held[part]) for part in ("params", "tables"))
    for n, (text, rows) in enumerate(zip(TEXTS, np.asarray(batch()["fields"]))):
        words = np.concatenate([tables["words"]["table"][np.array(text, int) - 5], np.zeros((4, 2))])
        c = np.zeros(6)
        for h, height in enumerate((1, 2, 4)):
            own = params[f"convolutions_{h}"]
            for f in range(2):
                places = [
                    np.sum(words[t : t + height] * own["kernel"][:, :, f]) + own["bias"][f] for t in range(len(text))
                ]
                c[2 * h + f] = max([0.0, *places])
        vectors = np.stack([*tables["factors"]["table"][rows], c @ params["vector"]["kernel"]])
        want = params["linear"]["bias"] + tables["linear"]["weight"]["table"][rows].sum()
        want += c @ params["weight"]["kernel"][:, 0]
        want += sum(vectors[f] @ vectors[g] for f in range(3) for g in range(f))
        if hidden_dims:
            layer = params["tower"]["Dense_0"]
            deep = np.maximum(vectors.reshape(-1) @ layer["kernel"] + layer["bias"], 0)
            want += deep @ params["top"]["kernel"][:, 0]
        np.testing.assert_allclose(found[n], want, rtol=1e-4, atol=1e-4)
    assert not model.apply(held, batch()["bags"][3:, 0], method="text").any()


def test_a_text_keeps_its_order_and_its_unknown_words():
    texts = np.array(["a b a", "c b", "", "b z a"])
    table = fields.from_raw({"x": np.arange(4)}, np.zeros(4), bags={"text": texts})
    encoding = fields.fit(table.take(np.arange(3)), min_count=2, bag_form=fields.in_order)
    # x: row 0 alone is known to nobody; a and b were met twice, c once, z never.
    first = encoding.offsets[-1]
    unknown, a, b = first, first + 1, first + 2
    want = [[a, b, a], [unknown, b, -1], [-1, -1, -1], [b, unknown, a]]
    assert encoding.encode_bags(table)[:, 0].tolist() == want


def test_cost_by_hand():
    """4 examples of 2 fields and a text of 3 words; d 2, words of 2, one filter of 1 and of 2 words, no tower."""
    recipe = override(names.recipe("cnn_fm/smoke")[2], {"batch_size": 4})
    model = CNNFM(SPEC, 2, word_dim=2, filters=1, heights=(1, 2), hidden_dims=())
    kernels, others, pairs = (1 + 2) * 2, 2 * 2 + 2, (3 + 1) * 2
    moved = 12 * (4 * 2 * 3 + kernels + others + 4 * 3 * 2)
    assert cnn_fm.cost(recipe, model) == (moved, 6 * 4 * (3 * kernels + others + pairs))


@pytest.mark.slow
def test_a_filter_of_two_words_sees_what_no_bag_does(tmp_path):
    """Clicks hang on one word right before another."""
    found = zoo.train("cnn_fm/smoke", workdir=tmp_path / "run")
    oracle = found.record["baselines"]["oracle"]["auc"]
    alone = zoo.train("cnn_fm/smoke", heights=(1,), workdir=tmp_path / "alone").metrics["auc"]
    bag = zoo.train("deepfm/smoke", data="planted:words=5", workdir=tmp_path / "bag").metrics["auc"]
    assert oracle - 0.03 < found.metrics["auc"] < oracle and found.metrics["auc"] > max(alone, bag) + 0.005
    run = zoo.load(tmp_path / "run")
    clicks = run.predict(run.describe({"text": ["w5 w0 w1", "w0 w5 w1", ""], "field_0": [1, 1, 1]}))
    assert clicks[0] > clicks[1] + 0.1


def test_a_table_without_a_text_is_refused(tmp_path):
    with pytest.raises(zoo.InputError, match="reads one text, and the data has 0 among its fields"):
        zoo.train("cnn_fm/smoke", data="planted", workdir=tmp_path / "run")
