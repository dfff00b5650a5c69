"""implicit: BPR by threads of C++ that share the vectors without locks, and the best items for given vectors."""

import time

import numpy as np
import scipy.sparse
from implicit.cpu.bpr import BayesianPersonalizedRanking


PACKAGES = ("implicit", "numpy", "scipy")


def bpr(configuration):
    """Seconds of `iterations` passes, initialisation and compressed rows apart; writes the vectors.

    A vector is `factors` numbers and the bias of the item, against which a user has a 1.
    """
    user_items = liked(configuration["file"])
    model = BayesianPersonalizedRanking(
        factors=configuration["factors"],
        learning_rate=configuration["learning_rate"],
        regularization=configuration["regularization"],
        verify_negative_samples=configuration["verify_negative_samples"],
        num_threads=configuration["threads"],
        random_state=configuration["seed"],
        iterations=0,
    )
    model.fit(user_items, show_progress=False)
    model.iterations = configuration["iterations"]
    began = time.perf_counter()
    model.fit(user_items, show_progress=False)
    seconds = time.perf_counter() - began
    np.savez(configuration["answer"], users=model.user_factors, items=model.item_factors)
    return {"seconds": seconds, "examples": user_items.nnz * configuration["iterations"]}


def recommend(configuration):
    """Seconds of the k best unseen items for all users, a first call before the clock apart; writes the lists."""
    user_items = liked(configuration["file"])
    with np.load(configuration["vectors"]) as vectors:
        users, items = vectors["users"], vectors["items"]
    model = BayesianPersonalizedRanking(factors=items.shape[1] - 1, num_threads=configuration["threads"])
    model.user_factors, model.item_factors = users, items
    everyone = np.arange(len(users))

    def ask():
        return model.recommend(everyone, user_items, N=configuration["k"], filter_already_liked_items=True)

    ask()
    began = time.perf_counter()
    ids, scores = ask()
    seconds = time.perf_counter() - began
    np.savez(configuration["answer"], ids=ids, scores=scores)
    return {"seconds": seconds, "examples": len(users)}


def liked(file):
    """The training part as a matrix of ones [users, items], compressed by rows."""
    with np.load(file) as data:
        train = data["part"] == 0
        user, item = data["user"][train], data["item"][train]
        shape = (len(data["user_ids"]), len(data["item_ids"]))
    return scipy.sparse.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape)
