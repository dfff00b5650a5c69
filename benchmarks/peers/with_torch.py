"""Steps in PyTorch, as their authors do them: LightGCN by torch.sparse.mm, GRU4Rec by GRUCell and sparse rows."""

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


def gru4rec(configuration):
    """Median seconds of a step of GRU4Rec on sessions side by side: GRUCell, sparse rows of shared vectors, BPR-max,
    Adagrad whose moves have momentum. The ids of all steps are tensors before the clock starts."""
    torch.set_num_threads(configuration["threads"])
    with np.load(configuration["given"]) as file:
        given = {name: torch.tensor(file[name]) for name in file}
    item = torch.nn.Embedding.from_pretrained(given["item"], freeze=False, sparse=True)
    bias = torch.nn.Embedding.from_pretrained(given["bias"], freeze=False, sparse=True)
    units = given["item"].shape[1]
    cell = torch.nn.GRUCell(units, units)
    with torch.no_grad():
        cell.weight_ih.copy_(given["weight_ih"])
        cell.weight_hh.copy_(given["weight_hh"])
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
    cell.bias_ih.requires_grad_(False)  # one bias a gate
    weights = [item.weight, bias.weight, cell.weight_ih, cell.weight_hh, cell.bias_hh]
    state = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]
    batch, count = given["inputs"].shape[1], given["drawn"].shape[1]
    others = 1.0 - torch.eye(batch, batch + count)
    rate, momentum, alpha = (configuration[name] for name in ("learning_rate", "b1", "elu"))

    @torch.no_grad()
    def update():
        for weight, (squares, moves) in zip(weights, state):
            gradient = weight.grad
            if gradient.is_sparse:
                gradient = gradient.coalesce()
                rows, values = gradient.indices()[0], gradient.values()
                total = squares[rows] + values**2
                squares[rows] = total
                move = momentum * moves[rows] - rate * values / torch.sqrt(total + 1e-6)
                moves[rows] = move
                weight.index_add_(0, rows, move)
            else:
                squares.add_(gradient**2)
                moves.mul_(momentum).sub_(rate * gradient / torch.sqrt(squares + 1e-6))
                weight.add_(moves)
            weight.grad = None

    def step(h, number):
        h = torch.where(given["begins"][number][:, None], 0.0, h.detach())
        ids = torch.cat([given["targets"][number], given["drawn"][number]]).long()
        rows = item(torch.cat([given["inputs"][number].long(), ids]))
        h = cell(rows[:batch], h)
        scores = torch.nn.functional.elu(h @ rows[batch:].T + bias(ids).T, alpha)
        exponents = torch.exp(scores - scores.max(dim=1, keepdim=True)[0]) * others
        share = exponents / exponents.sum(dim=1, keepdim=True)
        better = (torch.sigmoid(torch.diag(scores)[:, None] - scores) * share).sum(dim=1)
        squares = (scores**2 * share).sum(dim=1)
        loss = (configuration["penalty"] * squares - torch.log(better + 1e-24)).sum() / batch
        loss.backward()
        update()
        return h, loss.item()

    h, losses, seconds = torch.zeros(batch, units), [], []
    for number in range(len(given["inputs"]) * (1 + configuration["repeats"])):
        began = time.perf_counter()
        h, loss = step(h, number % len(given["inputs"]))
        seconds.append(time.perf_counter() - began)
        losses.append(loss)
    first = losses[: len(given["inputs"])]
    median = statistics.median(seconds[len(first) :])
    return {"seconds": median, "examples": batch, "losses": first, "metrics": {"loss": statistics.mean(first)}}
