"""Bytes and operations of a step by hand, of models whose own tests count none."""

from dataclasses import replace
from functools import partial

from zoo import names, objectives
from zoo.models import ngcf, youtube_candidates, youtube_ranking
from zoo.types import Spec


def test_ngcf():
    """24 entries, 11 nodes of 4 numbers, one layer to 3: the products with the graph, two with weights of 4 x 3, Adam
    on the 11 x 4; 2 examples, 1 negative, vectors of 4 + 3 numbers."""
    recipe = replace(names.recipe("ngcf/paper")[2], batch_size=2)
    model = ngcf.NGCF(Spec(num_users=6, num_items=5, num_edges=24), 4, (3,))
    found = ngcf.cost(recipe, model)
    spread = 2 * (24 * (4 + 4 + 16) + 11 * 16)
    assert found.bytes == spread + 3 * 11 * 4 * (4 + 4 + 3) + 3 * 11 * 16 + 3 * 3 * 2 * 28
    assert found.flops == 4 * 24 * 4 + 2 * 6 * 11 * 12 + 6 * 2 * 2 * 7


def test_youtube_candidates():
    """2 examples with histories of 3, vectors of 4; a tower of 4 x 8 and 8 x 4; each example against both."""
    spec = Spec(num_users=5, num_items=6, history_length=3)
    recipe = replace(names.recipe("youtube_candidates/ranking")[2], batch_size=2)
    recipe = replace(recipe, objective=partial(objectives.in_batch_softmax))
    found = youtube_candidates.cost(recipe, youtube_candidates.YouTubeCandidates(spec, 4, 2))
    softmax = (3 * 2 * 2 * 16 + 3 * 4 * 4, 6 * 4 * 4)
    assert found.bytes == 12 * (2 * 3 * 4 + 64) + softmax[0]
    assert found.flops == 4 * 24 + 6 * 2 * 64 + softmax[1]
    tied = youtube_candidates.cost(recipe, youtube_candidates.TiedCandidates(spec, 4))
    assert tied == (12 * 24 + softmax[0], 4 * 24 + softmax[1])


def test_youtube_ranking():
    """2 examples: 4 videos and 2 categories looked up, of 4, 2 and 3 numbers; a tower of 8 + 5 + 6 x 8, 8 x 1."""
    spec = Spec(num_items=4, field_sizes=(2, 3), num_numbers=2, history_length=3)
    recipe = replace(names.recipe("youtube_ranking/watch")[2], batch_size=2)
    found = youtube_ranking.cost(recipe, youtube_ranking.YouTubeRanking(spec, (8,)))
    assert [youtube_ranking.log_dim(size, 1.6) for size in (4, 2, 3)] == [4, 2, 3]
    weights = (8 + 5 + 6) * 8 + 8
    assert found == (12 * (2 * (4 * 4 + 5) + weights), 4 * 2 * 3 * 4 + 6 * 2 * weights)
