"""Steps of the two networks of images beside the same networks in PyTorch, its memory laid out channels last."""

from functools import partial
from typing import Any

from benchmarks import isolated
from benchmarks.peers import cnn_step
from benchmarks.peers.turns import Bench, Comparison, Figure, Result, ask_peer, in_turns, rates, same_losses
from zoo import names
from zoo.recipe import function_of


DATA = "fashion-mnist"
REPEATS = 20  # of their steps


def steps(bench: Bench, model: str) -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    """Both sides do the same steps from the same weights; ours finds a step's images among all of them by number.

    There is no bar: what is asked is where the time goes.
    """
    given = bench.folder / f"{model.replace('/', '-')}.npz"
    recipe = names.recipe(model)[2]
    network, sizes = function_of(recipe.model)
    theirs = {"given": str(given), "network": network.__name__, "widths": sizes["widths"], "depth": sizes["depth"]}
    optimizer = function_of(recipe.optimizer)[1]
    theirs |= {name: optimizer[name] for name in ("momentum", "weight_decay")}
    theirs |= {"smoothing": function_of(recipe.objective)[1]["smoothing"]}
    theirs |= {"learning_rate": cnn_step.SETTINGS["learning_rate"], "threads": bench.threads}
    theirs |= {"repeats": 1 if bench.quick else REPEATS}
    losses: list[float] = []

    def run_ours(seed: int) -> Result:
        asked = cnn_step.Configuration(model, DATA, str(given), seed)
        found = isolated.run("benchmarks.peers.cnn_step", asked)
        losses[:] = found.pop("losses")
        return found

    def run_theirs(seed: int) -> Result:
        found = ask_peer(bench, "with_torch_images.py", "images", configuration=theirs)
        return {**found, "largest_difference": same_losses(losses, found.pop("losses"))}

    turns = in_turns(bench, run_ours, run_theirs)
    figure = rates(f"a step of {model}, {recipe.batch_size} images", "images/s", turns, 0.0, "loss")
    return [figure], turns, {"ours": turns[0][0]["settings"], "theirs": theirs}


CNN = tuple(
    Comparison(f"cnn-{name}-step", DATA, "torch", "with_torch_images.py", partial(steps, model=f"cnn/{name}"), "-torch")
    for name in ("small", "resnet")
)
