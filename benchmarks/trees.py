"""python -m benchmarks trees: scikit-learn's gradient boosted trees on the fields that deepfm/books sees.

Trees do not look up ids: each categorical field becomes the damped mean rating of its value, as scikit-learn's
TargetEncoder fits it across folds of train; age and year stay numbers; the words of a title become 16 components of a
truncated SVD of their tf-idf. Settings are scikit-learn's own, with its early stopping on a tenth of train.
"""

import argparse
import time
from typing import Any

import numpy as np

from zoo import metrics, names, records, tasks
from zoo.data.fields import FieldTable
from zoo.data.splits import Split
from zoo.errors import InputError


TITLE_COMPONENTS = 16


def run(options: argparse.Namespace) -> int:
    for data in options.data:
        table, digest, default = names.data(data, FieldTable)
        if not isinstance(table, FieldTable):
            raise InputError(f"{data} holds interactions without fields: choose book-crossing or movielens-1m")
        rule = default or "random"
        split = names.split(rule)[0](table, 0)  # the recipes' split_seed
        for seed in options.seeds:
            record: dict[str, Any] = {
                "suite": "trees",
                "data": data,
                "data_sha256": digest,
                "split": rule,
                "seed": seed,
            }
            record |= {"metrics": {"test": fit(split, seed)}, "baselines": tasks.rating_baselines(split)}
            record |= {"environment": records.environment("cpu"), "command": records.command()}
            records.append_line(options.records / "trees.jsonl", record)
            found = record["metrics"]["test"]
            print(f"{data} ({rule}), seed {seed}: rmse {found['rmse']:.4f} mae {found['mae']:.4f}", flush=True)
    return 0


def fit(split: Split, seed: int) -> dict[str, float]:
    """RMSE and MAE on the test part, clipped to the range of the training ratings, and the seconds of it all."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError:
        raise InputError("scikit-learn is not installed: scripts/setup --dev installs it") from None
    began = time.perf_counter()
    train, test = columns(split, seed)
    trees = HistGradientBoostingRegressor(early_stopping=True, random_state=seed).fit(train, split.train.ratings)
    label = split.train.ratings
    predicted = np.clip(trees.predict(test), label.min(), label.max())
    seconds = time.perf_counter() - began
    return {
        "rmse": metrics.rmse(predicted, split.test.ratings),
        "mae": metrics.mae(predicted, split.test.ratings),
        "seconds": seconds,
        "trees": float(trees.n_iter_),
    }


def columns(split: Split, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers float [n, columns] of train and of test, NaN where missing; fitted on train."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import TargetEncoder

    train, test = split.train, split.test
    folds: Any = KFold(5, shuffle=True, random_state=seed)
    encoder = TargetEncoder(target_type="continuous", cv=folds)
    parts: Any = [
        (encoder.fit_transform(train.codes, train.ratings), encoder.transform(test.codes)),
        (train.numbers, test.numbers),
    ]
    for levels, own, others in zip(train.bag_levels, train.bags, test.bags):
        words = TfidfVectorizer(analyzer=lambda row, levels=levels: levels[row[row >= 0]].tolist())
        svd = TruncatedSVD(min(TITLE_COMPONENTS, len(levels) - 1), random_state=seed)
        parts.append((svd.fit_transform(words.fit_transform(own)), svd.transform(words.transform(others))))
    return np.hstack([part[0] for part in parts]), np.hstack([part[1] for part in parts])
