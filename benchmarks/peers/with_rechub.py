"""torch-rechub's side: its models, layers and trainer as shipped; one table a field, dense Adam over all rows.

DeepFM and DCNv2 are its models, with batch normalisation, as it has no other tower. It has no plain FM and FFM: they
are put together from its own layers, with a linear part as in its DeepFFM. The pairs of FFM are one product here: its
own layer takes them one by one, and the backward pass of that is many times slower.
"""

import contextlib
import io
import time

import numpy as np
import torch
from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers import FM as Sums
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.models.ranking import DCNv2, DeepFM
from torch_rechub.trainers import CTRTrainer


PACKAGES = ("torch-rechub", "torch", "numpy")
WARMUP = 2


class FM(torch.nn.Module):
    def __init__(self, linear, features):
        super().__init__()
        self.linear_features, self.features = linear, features
        self.linear, self.embedding, self.pairs = EmbeddingLayer(linear), EmbeddingLayer(features), Sums()
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        single = self.linear(x, self.linear_features, squeeze_dim=True).sum(1)
        return torch.sigmoid(single + self.pairs(self.embedding(x, self.features))[:, 0] + self.bias)


class FFM(torch.nn.Module):
    def __init__(self, linear, features):
        super().__init__()
        self.linear_features, self.features = linear, features
        self.linear, self.embedding = EmbeddingLayer(linear), EmbeddingLayer(features)
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        single = self.linear(x, self.linear_features, squeeze_dim=True).sum(1)
        others = torch.arange(len(self.features))
        rows = {name: ids.unsqueeze(1) * len(self.features) + others for name, ids in x.items()}
        met = self.embedding(rows, self.features)  # [batch, fields, fields, dim]
        same = torch.diagonal(met, dim1=1, dim2=2).pow(2).sum((1, 2))
        pairs = ((met * met.transpose(1, 2)).sum((1, 2, 3)) - same) / 2
        return torch.sigmoid(single + pairs + self.bias)


def clicks(configuration):
    """Seconds of the trainer's own epoch over batches in memory, after two steps; writes scores of the test part."""
    torch.set_num_threads(configuration["threads"])
    torch.manual_seed(configuration["seed"])
    with np.load(configuration["file"]) as data:
        train = data["part"] == 0
        codes, label = torch.tensor(data["codes"]).long(), torch.tensor(data["label"])
        names = data["names"].tolist()
        sizes = [len(data[f"levels_{i}"]) for i in range(len(names))]
    model = made(configuration, names, sizes)
    trainer = CTRTrainer(model, optimizer_params={"lr": configuration["learning_rate"]})
    size = configuration["batch_size"]

    def batches(rows):
        columns, labels = codes[rows].T.contiguous(), label[rows]
        return [
            (dict(zip(names, columns[:, start : start + size])), labels[start : start + size])
            for start in range(0, len(labels), size)
        ]

    given, test = batches(torch.tensor(train)), batches(torch.tensor(~train))
    with contextlib.redirect_stderr(io.StringIO()):
        trainer.train_one_epoch(given[:WARMUP])
        began = time.perf_counter()
        loss = trainer.train_one_epoch(given[WARMUP:])
        seconds = time.perf_counter() - began
        scores = np.array(trainer.predict(model, test))
    np.savez(configuration["answer"], scores=scores)
    return {"seconds": seconds, "examples": int(train.sum()) - WARMUP * size, "loss": loss}


def made(configuration, names, sizes):
    dim = configuration["embedding_dim"]
    fields = [SparseFeature(name, vocab_size=size, embed_dim=dim) for name, size in zip(names, sizes)]
    linear = [SparseFeature(name, vocab_size=size, embed_dim=1) for name, size in zip(names, sizes)]
    tower = {"dims": list(configuration["hidden_dims"]), "dropout": configuration["dropout"]}
    if configuration["model"] == "fm":
        return FM(linear, fields)
    if configuration["model"] == "ffm":
        wide = [SparseFeature(name, len(names) * size, dim) for name, size in zip(names, sizes)]
        return FFM(linear, wide)
    if configuration["model"] == "deepfm":
        return DeepFM(fields, fields, tower)
    return DCNv2(fields, configuration["num_cross"], tower, use_low_rank_mixture=False)
