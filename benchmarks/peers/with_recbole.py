"""RecBole: its NGCF with its own data loader, sampler and trainer."""

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
from recbole.utils import get_trainer, init_seed


PACKAGES = ("recbole", "torch", "numpy")


def ngcf(configuration):
    """Seconds of `epochs` epochs of Trainer.fit, without evaluation and checkpoints; writes the vectors.

    A user or item without training rows has no vector in RecBole: zeros stand for it.
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(configuration["threads"])
    with np.load(configuration["file"]) as data:
        train = data["part"] == 0
        rows = np.stack([data["user"][train], data["item"][train]], 1)
        sizes = len(data["user_ids"]), len(data["item_ids"])
    os.makedirs("rows", exist_ok=True)
    with open("rows/rows.inter", "w") as file:
        file.write("user_id:token\titem_id:token\n")
        file.writelines(f"{user}\t{item}\n" for user, item in rows)
    everything = {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "RO", "group_by": "none", "mode": "full"}
    settings = {"data_path": os.getcwd(), "use_gpu": False, "state": "ERROR", "show_progress": False}
    settings |= {"eval_args": everything, "seed": configuration["seed"], **configuration["settings"]}
    config = Config(model="NGCF", dataset="rows", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    parts = dataset.build()
    loader = TrainDataLoader(config, parts[0], create_samplers(config, dataset, parts)[0], shuffle=True)
    model = NGCF(config, loader._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    began = time.perf_counter()
    trainer.fit(loader, None, verbose=False, saved=False, show_progress=False)
    seconds = time.perf_counter() - began
    model.eval()
    with torch.no_grad():
        found = model.forward()
    answer = {}
    for name, vectors, size in zip(("user", "item"), found, sizes):
        answer[f"{name}s"] = np.zeros((size, vectors.shape[1]), np.float32)
        known = np.unique(rows[:, 0 if name == "user" else 1])
        answer[f"{name}s"][known] = vectors[dataset.token2id(f"{name}_id", known.astype(str))].numpy()
    np.savez(configuration["answer"], **answer)
    return {"seconds": seconds, "examples": len(rows) * configuration["settings"]["epochs"]}
