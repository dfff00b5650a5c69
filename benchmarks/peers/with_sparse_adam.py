"""A factorization machine in plain PyTorch: one table of all fields, sparse gradients, SparseAdam on touched rows."""

import time

import numpy as np
import torch


PACKAGES = ("torch", "numpy")
WARMUP = 2


def clicks(configuration):
    """Seconds of a pass over batches in memory, after two steps; writes scores of the test part."""
    torch.set_num_threads(configuration["threads"])
    torch.manual_seed(configuration["seed"])
    with np.load(configuration["file"]) as data:
        train = torch.tensor(data["part"] == 0)
        sizes = [len(data[f"levels_{i}"]) for i in range(data["codes"].shape[1])]
        ids = torch.tensor(data["codes"].astype(np.int64) + np.cumsum([0, *sizes[:-1]]))
        label = torch.tensor(data["label"])
    vectors = torch.nn.Embedding(sum(sizes), configuration["embedding_dim"], sparse=True)
    weights = torch.nn.Embedding(sum(sizes), 1, sparse=True)
    bias = torch.nn.Parameter(torch.logit(label[train].mean()))
    torch.nn.init.normal_(vectors.weight, std=0.01)
    torch.nn.init.zeros_(weights.weight)
    rate = configuration["learning_rate"]
    optimizers = [
        torch.optim.SparseAdam([vectors.weight, weights.weight], lr=rate),
        torch.optim.Adam([bias], lr=rate),
    ]

    def logits(batch):
        rows = vectors(batch)
        pairs = (rows.sum(1) ** 2 - (rows**2).sum(1)).sum(1) / 2
        return bias + weights(batch)[..., 0].sum(1) + pairs

    def step(batch, clicked):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits(batch), clicked)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss.item()

    size = configuration["batch_size"]
    batches = list(zip(ids[train].split(size), label[train].split(size)))
    for batch in batches[:WARMUP]:
        step(*batch)
    began = time.perf_counter()
    losses = [step(*batch) for batch in batches[WARMUP:]]
    seconds = time.perf_counter() - began
    with torch.no_grad():
        scores = torch.cat([logits(batch) for batch in ids[~train].split(size)])
    np.savez(configuration["answer"], scores=scores.numpy())
    return {"seconds": seconds, "examples": int(train.sum()) - WARMUP * size, "loss": losses[-1]}
