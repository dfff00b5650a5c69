"""The two networks of images: their size, what padding and devices may not change, what they learn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import names, parallel, run, train_step
from zoo.data import images
from zoo.models.cnn import VGG, ResNet, cost
from zoo.recipe import override
from zoo.types import Spec


def test_the_small_network_is_small():
    job = names.job(names.Request("cnn/small", "shapes"), images.shapes(200))
    spec = Spec(num_classes=10, image_shape=(28, 28, 1))
    model = job.recipe.model(spec)
    shapes = jax.eval_shape(model.init, jax.random.key(0), {"image": jnp.zeros((1, 28, 28, 1), jnp.uint8)})
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) < 100_000


def test_images_that_are_too_small_are_refused():
    model = ResNet(Spec(num_classes=3, image_shape=(4, 4, 1)))
    with pytest.raises(zoo.InputError, match="window of 2 for 1 places"):
        jax.eval_shape(model.init, jax.random.key(0), {"image": jnp.zeros((1, 4, 4, 1), jnp.uint8)})


def test_cost_by_hand():
    """One convolution of 3 channels on 2 x 2 pixels, and a linear layer to 2 classes; 4 images."""
    recipe = override(names.recipe("cnn/smoke")[2], {"batch_size": 4, "widths": (3,)})
    model = VGG(Spec(num_classes=2, image_shape=(2, 2, 1)), widths=(3,), depth=1)
    first, last = 9 * 3 * 4, 3 * 2
    weights, outputs = 9 * 3 + 2 * 3 + 3 * 2 + 2, 2 * 2 * 3 + 2
    assert cost(recipe, model) == (4 * (3 * weights + 4 * 4 * outputs), 2 * 4 * (2 * first + 3 * last))


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [parallel.jit, parallel.shard_map], ids=lambda wrap: wrap.__name__)
def test_two_devices_train_the_network_of_one(wrap):
    """With batch statistics and random images of the whole batch, and padding on one device."""
    job = names.job(names.Request("cnn/smoke", "shapes:num_images=300", optimizer="sgd"))
    prepared = run.prepare(job)
    order = np.arange(3 * 64, dtype=np.int32).reshape(3, 64)
    order[-1, -10:] = -1
    found = []
    for layout, chosen in ((None, parallel.jit), (parallel.layout(2), wrap)):
        step = train_step.make_train_step(
            prepared.model, job.recipe.objective, prepared.optimizer, partial(chosen, layout=layout)
        )
        arguments = parallel.on_every_device(({}, dict(prepared.examples.train), order), layout)
        state, metrics = train_step.scan_steps(step)(prepared.initial(layout), *arguments)
        found.append((state.params, state.model_state, metrics["loss_sum"]))
    for one, two in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=2e-5)


@pytest.mark.slow
def test_it_learns_shapes_and_is_read_back(tmp_path):
    found = zoo.train("cnn/smoke", data="shapes:num_images=1500", epochs=12, workdir=tmp_path / "run")
    majority = found.record["baselines"]["majority_class"]
    assert found.metrics["accuracy"] > 0.6 and found.metrics["nats"] < majority["nats"] / 1.5
    assert zoo.load(tmp_path / "run").evaluate() == found.metrics
    for ask in (lambda: found.recommend([1]), lambda: found.similar([1]), lambda: found.user_ids):
        with pytest.raises(zoo.InputError):
            ask()


def test_a_recipe_of_images_refuses_other_data(tmp_path):
    with pytest.raises(zoo.InputError, match="cnn/smoke reads images"):
        zoo.train("cnn/smoke", data="planted", workdir=tmp_path / "run")
    with pytest.raises(zoo.InputError, match="not images"):
        zoo.train("cnn/smoke", split="leave_one_out", workdir=tmp_path / "run")
