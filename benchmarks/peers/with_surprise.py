"""Surprise: biased matrix factorization by SGD, one rating at a time, in Cython on one core."""

import time

import numpy as np
from surprise import SVD, Dataset, Reader


PACKAGES = ("scikit-surprise", "numpy")


def svd(configuration):
    """Seconds of fit(), the training set built before; writes its predictions for the held-out ratings."""
    with np.load(configuration["file"]) as data:
        train = data["part"] == 0
        columns = [data[name][train].tolist() for name in ("user", "item", "rating")]
        asked = [data[name][~train].tolist() for name in ("user", "item")]
        low, high = float(data["rating"][train].min()), float(data["rating"][train].max())
    reader = Reader(rating_scale=(low, high))
    trainset = Dataset(reader).construct_trainset([(*row, None) for row in zip(*columns)])
    model = SVD(
        n_factors=configuration["factors"],
        n_epochs=configuration["epochs"],
        lr_all=configuration["learning_rate"],
        reg_all=configuration["regularization"],
        random_state=configuration["seed"],
    )
    began = time.perf_counter()
    model.fit(trainset)
    seconds = time.perf_counter() - began
    predictions = np.array([model.predict(user, item).est for user, item in zip(*asked)])
    np.savez(configuration["answer"], predictions=predictions)
    return {"seconds": seconds, "examples": len(columns[0]) * configuration["epochs"]}
