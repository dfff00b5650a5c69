"""RecBole: its NGCF and GRU4Rec with its own data loader, sampler and trainer."""

import os
import time
import warnings

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import TrainDataLoader
from recbole.data.utils import create_samplers
from recbole.model.general_recommender import NGCF
from recbole.model.sequential_recommender import GRU4Rec
from recbole.utils import get_trainer, init_seed


PACKAGES = ("recbole", "torch", "numpy")


def ngcf(configuration):
    """Seconds of `epochs` epochs of Trainer.fit, without evaluation and checkpoints; writes the vectors.

    A user or item without training rows has no vector in RecBole: zeros stand for it.
    """
    rows, sizes = training_rows(configuration)
    model, dataset, _, seconds = fitted(configuration, NGCF, rows, "RO")
    with torch.no_grad():
        users, items = (vectors.numpy() for vectors in model.forward())
    users = placed(users, dataset, "user", rows[:, 0], sizes[0])
    np.savez(configuration["answer"], users=users, items=placed(items, dataset, "item", rows[:, 1], sizes[1]))
    return {"seconds": seconds, "examples": len(rows) * configuration["settings"]["epochs"]}


def gru4rec(configuration):
    """As `ngcf`. An example is a prefix of a user's sequence, of at most its last 50 items, and the item after it."""
    rows, sizes = training_rows(configuration)
    model, dataset, examples, seconds = fitted(configuration, GRU4Rec, rows, "TO")
    longest = dataset.max_item_list_len
    user, first, size = np.unique(rows[:, 0], return_index=True, return_counts=True)
    items = torch.tensor(dataset.token2id("item_id", rows[:, 1].astype(str)))
    lengths = torch.tensor(np.minimum(size, longest))
    past = torch.zeros((len(user), longest), dtype=torch.long)
    for row, (start, whole, length) in enumerate(zip(first, size, lengths)):
        past[row, :length] = items[start + whole - length : start + whole]
    with torch.no_grad():
        states = model.forward(past, lengths).numpy()
    users = np.zeros((sizes[0], states.shape[1]), np.float32)
    users[user] = states
    vectors = placed(model.item_embedding.weight.detach().numpy(), dataset, "item", rows[:, 1], sizes[1])
    np.savez(configuration["answer"], users=users, items=vectors)
    return {"seconds": seconds, "examples": examples * configuration["settings"]["epochs"]}


def training_rows(configuration):
    """User and item of each training row, a user's in order of time where there is one; numbers of users and items."""
    with np.load(configuration["file"]) as data:
        train = data["part"] == 0
        rows = np.stack([data["user"][train], data["item"][train]], 1)
        times = data["timestamp"][train] if "timestamp" in data else np.zeros(len(rows))
        sizes = len(data["user_ids"]), len(data["item_ids"])
    return rows[np.lexsort((times, rows[:, 0]))], sizes


def fitted(configuration, kind, rows, order):
    """The model after Trainer.fit, its data set, the number of training examples, and the seconds of fit.

    The time of a row is its place, so that equal times leave no choice.
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(configuration["threads"])
    os.makedirs("rows", exist_ok=True)
    with open("rows/rows.inter", "w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        file.writelines(f"{user}\t{item}\t{place}\n" for place, (user, item) in enumerate(rows))
    everything = {"split": {"RS": [1.0, 0.0, 0.0]}, "order": order, "group_by": "none", "mode": "full"}
    settings = {"data_path": os.getcwd(), "use_gpu": False, "state": "ERROR", "show_progress": False}
    settings["load_col"] = {"inter": ["user_id", "item_id", "timestamp"]}
    settings |= {"eval_args": everything, "seed": configuration["seed"], **configuration["settings"]}
    config = Config(model=kind.__name__, dataset="rows", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    parts = dataset.build()
    loader = TrainDataLoader(config, parts[0], create_samplers(config, dataset, parts)[0], shuffle=True)
    model = kind(config, loader._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    began = time.perf_counter()
    trainer.fit(loader, None, verbose=False, saved=False, show_progress=False)
    seconds = time.perf_counter() - began
    model.eval()
    return model, dataset, len(parts[0]), seconds


def placed(vectors, dataset, name, met, size):
    """The vectors of RecBole's own numbers at the row numbers of the file."""
    found = np.zeros((size, vectors.shape[1]), np.float32)
    known = np.unique(met)
    found[known] = vectors[dataset.token2id(f"{name}_id", known.astype(str))]
    return found
