"""LightGCN's step in PyTorch, written as in its authors' PyTorch code: torch.sparse.mm of a coalesced matrix."""

import statistics
import time

import numpy as np
import torch


PACKAGES = ("torch", "numpy")


def lightgcn(configuration):
    """Median milliseconds of a step on triples handed over, initial vectors too; writes the vectors after the last.

    A step: layers by torch.sparse.mm, their mean, BPR with the penalty on layer 0, backward, dense Adam, the loss read.
    """
    torch.set_num_threads(configuration["threads"])
    with np.load(configuration["file"]) as data:
        train = data["part"] == 0
        user, item = torch.tensor(data["user"][train]).long(), torch.tensor(data["item"][train]).long()
        num_users, num_items = len(data["user_ids"]), len(data["item_ids"])
    with np.load(configuration["given"]) as given:
        vectors, triples = torch.tensor(given["initial"]), torch.tensor(given["triples"]).long()
    graph = normalised(user, item, num_users, num_items)
    users, items = (torch.nn.Embedding.from_pretrained(v, freeze=False) for v in vectors.split([num_users, num_items]))
    optimizer = torch.optim.Adam([users.weight, items.weight], lr=configuration["learning_rate"])

    def propagated():
        layers = [torch.cat([users.weight, items.weight])]
        for _ in range(configuration["layers"]):
            layers.append(torch.sparse.mm(graph, layers[-1]))
        return torch.stack(layers, dim=1).mean(dim=1).split([num_users, num_items])

    def step(user, positive, negative):
        final_users, final_items = propagated()
        query, liked, other = final_users[user], final_items[positive], final_items[negative]
        loss = torch.nn.functional.softplus((query * other).sum(1) - (query * liked).sum(1)).mean()
        squares = users(user).pow(2).sum() + items(positive).pow(2).sum() + items(negative).pow(2).sum()
        loss = loss + configuration["l2"] * squares / 2 / len(user)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    seconds = []
    for batch in triples:
        began = time.perf_counter()
        loss = step(*batch)
        seconds.append(time.perf_counter() - began)
    with torch.no_grad():
        final_users, final_items = propagated()
    np.savez(configuration["answer"], users=final_users.numpy(), items=final_items.numpy())
    return {"step_ms": 1e3 * statistics.median(seconds[configuration["warmup"] :]), "loss": loss}


def normalised(user, item, num_users, num_items):
    """D^-1/2 A D^-1/2 as a coalesced COO tensor."""
    target, source = torch.cat([user, item + num_users]), torch.cat([item + num_users, user])
    degree = torch.bincount(target, minlength=num_users + num_items).double()
    weight = (degree[target] * degree[source]).rsqrt().float()
    return torch.sparse_coo_tensor(torch.stack([target, source]), weight, (len(degree), len(degree))).coalesce()
