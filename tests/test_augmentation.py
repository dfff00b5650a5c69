"""Images shifted and mirrored at random, and the loss on them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from zoo import augmentation, parallel


IMAGES = jnp.asarray(np.random.default_rng(0).integers(1, 256, (64, 5, 7, 2)), jnp.uint8)


def test_shifted_images_are_windows_of_the_padded_ones():
    found, seen = np.asarray(augmentation.shifted(IMAGES, jax.random.key(0), 2)), set()
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for image, whole in zip(found, padded, strict=True):
        places = [p for p in np.ndindex(5, 5) if np.array_equal(whole[p[0] : p[0] + 5, p[1] : p[1] + 7], image)]
        assert len(places) == 1
        seen.add(places[0])
    assert {place[0] for place in seen} == {place[1] for place in seen} == set(range(5))


def test_half_of_the_images_are_mirrored():
    found = np.asarray(augmentation.flipped(IMAGES, jax.random.key(0)))
    same = (found == IMAGES).all((1, 2, 3))
    assert (same | (found == IMAGES[:, :, ::-1]).all((1, 2, 3))).all() and 16 < same.sum() < 48


def test_devices_draw_for_the_whole_batch():
    def change(images):
        return augmentation.flipped(augmentation.shifted(images, jax.random.key(1), 1), jax.random.key(2))

    layout = parallel.layout(4)
    each = jax.shard_map(change, mesh=layout.mesh, in_specs=jax.P(parallel.AXIS), out_specs=jax.P(parallel.AXIS))
    np.testing.assert_array_equal(each(IMAGES), change(IMAGES))


def test_label_smoothing_is_that_of_optax():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)
    batch = {"image": IMAGES[:6], "label": jnp.array([0, 1, 2, 3, 0, 1])}
    found = augmentation.cross_entropy(lambda batch, train: logits, batch, jax.random.key(0), smoothing=0.2)
    want = optax.losses.softmax_cross_entropy(
        logits, optax.losses.smooth_labels(jax.nn.one_hot(batch["label"], 4), 0.2)
    )
    np.testing.assert_allclose(found, want, rtol=1e-5)
