"""The tasks a recipe can set: how a split becomes examples, how a model is judged on it, and what it is compared with.

A model file says `tasks.ranking(model=..., objective=..., ...)` and has a whole Recipe. One file a kind of example.
"""

from zoo.tasks.images import image_examples, images
from zoo.tasks.impressions import (
    impression_baselines,
    impression_examples,
    impression_metrics,
    page_click_metrics,
    page_clicks,
    watch_time,
    watch_time_examples,
    watch_time_metrics,
)
from zoo.tasks.rankings import (
    STREAMED,
    graph_examples,
    popularity_scores,
    ranking,
    ranking_baselines,
    ranking_examples,
    recommend_by_vectors,
)
from zoo.tasks.ratings import rating, rating_baselines, rating_examples, recommend_by_scores
from zoo.tasks.rows import (
    bars,
    click_examples,
    clicks,
    field_columns,
    field_rating,
    field_rating_examples,
    recommend_by_rows,
    seen_rows,
)
from zoo.tasks.sequences import (
    JUDGED_AS_SESSIONS,
    JUDGED_AS_USERS,
    held_out_events,
    next_items,
    sequence_examples,
    sequences,
    session_examples,
    session_parallel,
    sessions,
)
from zoo.tasks.texts import side_by_side, text, text_examples
from zoo.tasks.watches import (
    JUDGED_BY_NEXT_WATCH,
    balanced_history_examples,
    candidate_examples,
    history_examples,
    next_watch_baselines,
    next_watch_examples,
    next_watch_metrics,
    next_watch_queries,
)


__all__ = [
    "JUDGED_AS_SESSIONS",
    "JUDGED_AS_USERS",
    "JUDGED_BY_NEXT_WATCH",
    "STREAMED",
    "balanced_history_examples",
    "bars",
    "candidate_examples",
    "click_examples",
    "clicks",
    "field_columns",
    "field_rating",
    "field_rating_examples",
    "graph_examples",
    "held_out_events",
    "history_examples",
    "image_examples",
    "images",
    "impression_baselines",
    "impression_examples",
    "impression_metrics",
    "next_items",
    "next_watch_baselines",
    "next_watch_examples",
    "next_watch_metrics",
    "next_watch_queries",
    "page_click_metrics",
    "page_clicks",
    "popularity_scores",
    "ranking",
    "ranking_baselines",
    "ranking_examples",
    "rating",
    "rating_baselines",
    "rating_examples",
    "recommend_by_rows",
    "recommend_by_scores",
    "recommend_by_vectors",
    "seen_rows",
    "sequence_examples",
    "sequences",
    "session_examples",
    "session_parallel",
    "sessions",
    "side_by_side",
    "text",
    "text_examples",
    "watch_time",
    "watch_time_examples",
    "watch_time_metrics",
]
