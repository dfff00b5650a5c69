"""What the zoo claims to reach, on which data, and what others published there. The bars say what may not be missed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    name: str
    metrics: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class Bar:
    """The metric's mean over seeds must be >= or <= `value`, or `value` times the same metric of a baseline or of
    another claim's newest records."""

    metric: str
    comparison: str
    value: float
    baseline: str | None = None
    claim: str | None = None


@dataclass(frozen=True)
class Claim:
    name: str
    model: str  # model/recipe
    data: str
    metrics: tuple[str, ...]  # what the table shows
    split: str | None = None  # None: the data set's own
    settings: Mapping[str, Any] = field(default_factory=dict)  # changes of the recipe, as of `zoo train --set`
    published: tuple[Published, ...] = ()
    bars: tuple[Bar, ...] = ()
    note: str = ""  # what a reader must know, wherever the figure stands
    in_tests: bool = True  # False: minutes, so that only `python -m benchmarks quality` runs it


_BARS = "BARS (openbenchmark.github.io/BARS), Gowalla_m1, recall@20 / ndcg@20"
_SURPRISE = "README of Surprise (github.com/NicolasHug/Surprise), 5-fold cross-validation"
_ULTRAGCN = "github.com/xue-pai/UltraGCN, benchmarks/UltraGCN_ml-1m_x0.md, best epoch"
_FRAPPE = "BARS (openbenchmark.github.io/BARS), Frappe_x1"
_NANOGPT = "README of nanoGPT (github.com/karpathy/nanoGPT), its best validation loss on the same last tenth"
_CASER = "Tang and Wang 2018, Caser, all its parts; items with fewer than 5 ratings left out"
_S3REC = "github.com/RUCAIBox/CIKM2020-S3Rec, results with all items ranked"
_LOOKED_AT = "recipe changed after a look at the test part"
_CLICKS = ("auc", "log_loss")
_RATED = ("rmse", "mae")
_MEANS = ("global_mean", "user_mean", "item_mean", "user_item_mean")
_RANKED = ("recall@20", "ndcg@20")
_NEXT = ("recall@10", "ndcg@10")  # with one item held out, recall@10 is hit_rate@10


def _gowalla(name: str, recall: float, ndcg: float, source: str = _BARS) -> Published:
    return Published(name, dict(zip(_RANKED, (recall, ndcg), strict=True)), source)


def _simulated(seed: int) -> Claim:
    """A world that nothing was tuned on, where the best attainable is known."""
    return Claim(
        name=f"mf-simulated-{seed}",
        model="mf/ranking",
        data=f"simulated:seed={seed}",
        metrics=("recall@10",),
        bars=(Bar("recall@10", ">=", 2.0, "popularity"), Bar("recall@10", ">=", 0.75, "oracle")),
    )


def _pages(seed: int) -> Claim:
    """Pages of a world that nothing was tuned on, judged by its truth; half a minute."""
    bars = (Bar("odds_calibration", ">=", 0.9), Bar("odds_calibration", "<=", 1.1))
    bars += (Bar("odds_calibration_worst", ">=", 0.75), Bar("odds_calibration_worst", "<=", 1.25))
    return Claim(
        name=f"youtube-ranking-simulated-{seed}",
        model="youtube_ranking/watch",
        data=f"simulated:seed={seed}",
        metrics=("weighted_user_loss", "odds_calibration", "odds_calibration_worst"),
        bars=(Bar("weighted_user_loss", "<=", 0.9, "video_mean"), *bars),
        in_tests=seed == 100,
    )


def _funnel(seed: int) -> Claim:
    """Lists of the funnel on such a world; a minute."""
    others = ("candidates", "clicks_of_candidates", "popularity")
    return Claim(
        name=f"youtube-simulated-{seed}",
        model="youtube/watch",
        data=f"simulated:seed={seed}",
        metrics=("expected_watch_seconds", "share_of_oracle"),
        bars=tuple(Bar("expected_watch_seconds", ">=", 1.0, name) for name in others),
        in_tests=False,
    )


def _frappe(model: str, bar: float, name: str, auc: float, log_loss: float) -> Claim:
    """Tested on the original rows."""
    published = Published(name, dict(zip(_CLICKS, (auc, log_loss), strict=True)), _FRAPPE)
    return Claim(
        name=f"{model.replace('_', '-')}-frappe",
        model=f"{model}/clicks",
        data="frappe",
        metrics=_CLICKS,
        published=(published,),
        bars=(Bar("auc", ">=", bar),),
        note="training negatives drawn anew",
        in_tests=model == "fm",
    )


def _books(name: str, model: str, data: str, below: tuple[str, ...] = (), claim: str | None = None) -> Claim:
    """May err no more than the baselines `below` and another claim do on the same rows."""
    bars = tuple(Bar("rmse", "<=", 1.0, baseline) for baseline in below)
    bars += (Bar("rmse", "<=", 1.0, claim=claim),) if claim else ()
    return Claim(name=name, model=model, data=data, metrics=_RATED, bars=bars, in_tests=False)


def _text(recipe: str, bar: float, note: str = "") -> Claim:
    """A quarter of an hour on two cores."""
    return Claim(
        name=f"rnn-{recipe}-tiny-shakespeare",
        model=f"rnn/{recipe}",
        data="tiny-shakespeare",
        metrics=("nats", "perplexity"),
        published=(Published("Transformer of 10.7 million weights, on a GPU", {"nats": 1.4697}, _NANOGPT),),
        bars=(Bar("nats", "<=", bar),),
        note=note,
        in_tests=False,
    )


def _clothes(recipe: str, bar: float, note: str = "") -> Claim:
    return Claim(
        name=f"cnn-{recipe}-fashion-mnist",
        model=f"cnn/{recipe}",
        data="fashion-mnist",
        metrics=("accuracy", "nats"),
        bars=(Bar("accuracy", ">=", bar),),
        note=note,
        in_tests=False,
    )


CLAIMS = (
    Claim(
        name="mf-gowalla",
        model="mf/ranking",
        data="gowalla",
        metrics=_RANKED,
        published=(
            _gowalla("MF-BPR", 0.1627, 0.1378),
            _gowalla("LightGCN", 0.1830, 0.1554, "He et al. 2020, LightGCN, table 3"),
            _gowalla("SimpleX", 0.1872, 0.1557),
        ),
        bars=(Bar("recall@20", ">=", 0.175), Bar("ndcg@20", ">=", 0.146)),
    ),
    Claim(
        name="mf-movielens-1m",
        model="mf/rating",
        data="movielens-1m",
        split="random",
        metrics=("rmse", "mae"),
        published=(Published("Surprise SVD, 5-fold", {"rmse": 0.873}, _SURPRISE),),
        bars=(Bar("rmse", "<=", 0.850),),
    ),
    Claim(
        name="mf-movielens-100k",
        model="mf/rating",
        data="movielens-100k",
        split="published",
        metrics=("rmse", "mae"),
        bars=(Bar("rmse", "<=", 0.925),),
    ),
    *(_simulated(seed) for seed in (100, 101, 102)),
    *(_pages(seed) for seed in (100, 101, 102)),
    *(_funnel(seed) for seed in (100, 101, 102)),
    Claim(
        name="lightgcn-gowalla",
        model="lightgcn/ranking",
        data="gowalla",
        metrics=_RANKED,
        published=(_gowalla("LightGCN", 0.1830, 0.1554, "He et al. 2020, LightGCN, table 3"),),
        bars=(Bar("recall@20", ">=", 0.180), Bar("ndcg@20", ">=", 0.151)),
        note=_LOOKED_AT,
        in_tests=False,
    ),
    Claim(
        name="ngcf-gowalla",
        model="ngcf/ranking",
        data="gowalla",
        metrics=_RANKED,
        published=(_gowalla("NGCF", 0.1570, 0.1327, "He et al. 2020, LightGCN, table 3"),),
        bars=(Bar("recall@20", ">=", 0.155), Bar("ndcg@20", ">=", 0.131)),
        in_tests=False,
    ),
    Claim(
        name="lightgcn-movielens-1m-graph",
        model="lightgcn/ranking",
        data="movielens-1m-graph",
        metrics=_RANKED,
        published=(Published("UltraGCN", {"recall@20": 0.2787, "ndcg@20": 0.2642}, _ULTRAGCN),),
        bars=(Bar("recall@20", ">=", 0.255), Bar("recall@20", ">=", 1.5, "popularity")),
        note=_LOOKED_AT,
        in_tests=False,
    ),
    Claim(
        name="mf-movielens-1m-graph",
        model="mf/ranking",
        data="movielens-1m-graph",
        metrics=_RANKED,
        in_tests=False,
    ),
    Claim(name="popularity-movielens-1m-graph", model="popularity/ranking", data="movielens-1m-graph", metrics=_RANKED),
    Claim(
        name="youtube-candidates-gowalla",
        model="youtube_candidates/tied",
        data="gowalla",
        metrics=_RANKED,
        published=(_gowalla("YoutubeDNN", 0.1754, 0.1473),),
        bars=(Bar("recall@20", ">=", 0.168), Bar("ndcg@20", ">=", 0.138)),
        in_tests=False,
    ),
    Claim(
        name="mf-movielens-1m-next",
        model="mf/ranking",
        data="movielens-1m",
        split="leave_one_out",
        metrics=_NEXT,
        in_tests=False,
    ),
    Claim(
        name="youtube-candidates-movielens-1m",
        model="youtube_candidates/ranking",
        data="movielens-1m",
        split="leave_one_out",
        metrics=_NEXT,
        bars=(
            Bar("recall@10", ">=", 1.0, "popularity"),
            Bar("recall@10", ">=", 1.0, claim="mf-movielens-1m-next"),
        ),
        in_tests=False,
    ),
    *(
        Claim(
            name=name,
            model=model,
            data="movielens-1m",
            split="per_user_temporal",
            metrics=("map", "precision@10"),
            published=(Published("Caser", {"map": 0.1507}, _CASER),),
            bars=bars,
            in_tests=False,
        )
        for name, model, bars in (
            ("caser-movielens-1m", "caser/ranking", (Bar("map", ">=", 0.150),)),
            ("caser-paper-movielens-1m", "caser/paper", ()),
        )
    ),
    Claim(
        name="caser-amazon-beauty",
        model="caser/ranking",
        data="amazon-beauty",
        metrics=("hit_rate@10", "ndcg@10"),
        published=(Published("Caser", {"hit_rate@10": 0.0347, "ndcg@10": 0.0176}, _S3REC),),
        bars=(Bar("hit_rate@10", ">=", 0.035),),
    ),
    Claim(
        name="gru4rec-diginetica",
        model="gru4rec/session",
        data="diginetica",
        metrics=("hit_rate@20", "mrr@20"),
        bars=(Bar("hit_rate@20", ">=", 0.48), Bar("mrr@20", ">=", 0.155)),
        in_tests=False,
    ),
    Claim(
        name="gru4rec-amazon-beauty",
        model="gru4rec/sequence",
        data="amazon-beauty",
        metrics=_NEXT,
        published=(Published("GRU4Rec", {"recall@10": 0.0283, "ndcg@10": 0.0137}, _S3REC),),
        bars=(Bar("recall@10", ">=", 0.040),),
        note="one item held out: recall@10 is hit_rate@10",
    ),
    _frappe("fm", 0.962, "FM", 0.9671, 0.2065),
    _frappe("ffm", 0.974, "FFM", 0.9786, 0.1860),
    _frappe("deepfm", 0.978, "DeepFM", 0.9842, 0.1482),
    _frappe("wide_deep", 0.978, "Wide&Deep", 0.9841, 0.1490),
    _frappe("dcn", 0.978, "DCN", 0.9839, 0.1527),
    _frappe("dcn_v2", 0.978, "DCN-V2", 0.9845, 0.1491),
    Claim(
        name="wide-deep-adult",
        model="wide_deep/clicks",
        data="adult",
        metrics=("auc", "accuracy", "log_loss"),
        bars=(Bar("accuracy", ">=", 0.853), Bar("auc", ">=", 0.908)),
    ),
    Claim(
        name="fm-movielens-1m",
        model="fm/rating",
        data="movielens-1m",
        split="random",
        metrics=_RATED,
        bars=(Bar("rmse", "<=", 1.0, claim="mf-movielens-1m"),),
        in_tests=False,
    ),
    _books("mf-books", "mf/rating", "book-crossing"),
    _books("deepfm-books", "deepfm/books", "book-crossing", _MEANS, "mf-books"),
    _books("mf-new-books", "mf/rating", "book-crossing-new"),
    _books("deepfm-new-books", "deepfm/books", "book-crossing-new", _MEANS, "mf-new-books"),
    _books("cnn-fm-books", "cnn_fm/books", "book-crossing", _MEANS, "mf-books"),
    _books("cnn-fm-new-books", "cnn_fm/books", "book-crossing-new", _MEANS, "mf-new-books"),
    _text("vanilla", 1.75, _LOOKED_AT),
    _text("lstm", 1.55),
    _text("gru", 1.55),
    _clothes("small", 0.925),
    _clothes("resnet", 0.935, _LOOKED_AT),
    Claim(name="popularity-gowalla", model="popularity/ranking", data="gowalla", metrics=_RANKED),
)

# Of each model one, for the table of the README.
HEADLINES = (
    "mf-gowalla",
    "lightgcn-gowalla",
    "ngcf-gowalla",
    "youtube-candidates-gowalla",
    "mf-movielens-1m",
    "fm-movielens-1m",
    "deepfm-books",
    "cnn-fm-books",
    "ffm-frappe",
    "deepfm-frappe",
    "dcn-v2-frappe",
    "wide-deep-adult",
    "caser-amazon-beauty",
    "gru4rec-amazon-beauty",
    "gru4rec-diginetica",
    "rnn-lstm-tiny-shakespeare",
    "cnn-resnet-fashion-mnist",
)


def headlines() -> list[Claim]:
    return [claim for claim in CLAIMS if claim.name in HEADLINES]


# Shorter versions of claims that take long, with bars of their own: the tests run them, and nothing records them.
SHORT = (
    Claim(
        name="lightgcn-movielens-1m-graph-short",
        model="lightgcn/ranking",
        data="movielens-1m-graph",
        settings={"epochs": 1},
        metrics=_RANKED,
        bars=(Bar("recall@20", ">=", 0.2), Bar("recall@20", ">=", 1.5, "popularity")),
    ),
    Claim(
        name="rnn-gru-tiny-shakespeare-short",
        model="rnn/gru",
        data="tiny-shakespeare",
        settings={"width": 128, "epochs": 3},
        metrics=("nats",),
        bars=(Bar("nats", "<=", 1.95),),
    ),
    Claim(
        name="cnn-small-fashion-mnist-short",
        model="cnn/small",
        data="fashion-mnist",
        settings={"epochs": 1},
        metrics=("accuracy",),
        bars=(Bar("accuracy", ">=", 0.85),),
    ),
)
