"""Field tables: rows of categories and numbers with a label, and how their values become rows of one embedding table.

Row 0 of each field stands for what training did not know: a category that is new or rarer than the minimum count, or a
number that is missing. A number becomes the row of its bucket, so that a model looks up every field alike. A bag is a
field of several values, such as the words of a title; what training did not know of it is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from zoo.errors import InputError


_ROWS = ("codes", "numbers", "label", "part", "truth")  # the columns with an entry a row, bags apart


@dataclass(frozen=True)
class FieldTable:
    """Examples as fields, in file order. A part of a table (the rows of a split) keeps the levels of the whole."""

    unit: ClassVar[str] = "rows"  # what an entry is called

    names: tuple[str, ...]  # of the categorical columns
    levels: tuple[np.ndarray, ...]  # int64 or str: the distinct raw values of each of them, ascending
    codes: np.ndarray  # int32 [n, categorical columns], positions in `levels`
    numeric_names: tuple[str, ...]
    numbers: np.ndarray  # float32 [n, numeric columns], NaN where missing
    label: np.ndarray  # float32 [n]: 0 or 1 for clicks, else a rating
    bag_names: tuple[str, ...] = ()  # of the columns of several values
    bag_levels: tuple[np.ndarray, ...] = ()
    bags: tuple[
        np.ndarray, ...
    ] = ()  # of each of them int32 [n, longest], positions in its levels, -1 where none is left
    part: np.ndarray | None = None  # int8 [n]: 0 train, 1 validation, 2 test, where the data set ships a split
    truth: np.ndarray | None = None  # float32 [n]: the true P(label 1) of a generated table
    item_fields: tuple[str, ...] = ()  # the fields that describe the field `item`, the same in all rows of an item

    def __len__(self) -> int:
        return len(self.label)

    @property
    def field_names(self) -> tuple[str, ...]:
        """All fields in the order of a model: categorical, numeric, bags."""
        return self.names + self.numeric_names + self.bag_names

    @property
    def ratings(self) -> np.ndarray:
        return self.label

    def column(self, name: str) -> np.ndarray:
        """The codes of a categorical column, int32 [n]; InputError where there is none of that name."""
        if name not in self.names:
            raise InputError(f"this needs a field called {name}; the fields are {', '.join(self.field_names)}")
        return self.codes[:, self.names.index(name)]

    @property
    def sizes(self) -> dict[str, int]:
        return {"fields": len(self.field_names)}

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The table as named arrays, for a file; `from_columns` is the way back. The truth stays behind."""
        held = {"codes": self.codes, "numbers": self.numbers, "label": self.label}
        held |= {"names": np.array(self.names, str), "numeric_names": np.array(self.numeric_names, str)}
        held |= {"item_fields": np.array(self.item_fields, str)} if self.item_fields else {}
        held |= {f"levels_{i}": levels for i, levels in enumerate(self.levels)}
        if self.bags:
            held["bag_names"] = np.array(self.bag_names, str)
            held |= {f"bag_levels_{i}": levels for i, levels in enumerate(self.bag_levels)}
            held |= {f"bag_{i}": bag for i, bag in enumerate(self.bags)}
        return held if self.part is None else held | {"part": self.part}

    def take(self, index: np.ndarray) -> "FieldTable":
        """The rows at `index` (positions or a boolean mask), with the same levels."""
        changed = {name: None if getattr(self, name) is None else getattr(self, name)[index] for name in _ROWS}
        return replace(self, bags=tuple(bag[index] for bag in self.bags), **changed)

    def followed_by(self, other: "FieldTable") -> "FieldTable":
        """The rows of this part of a table, then those of another."""
        changed = {
            name: None if getattr(self, name) is None else np.concatenate([getattr(self, name), getattr(other, name)])
            for name in _ROWS
        }
        bags = tuple(np.concatenate(both) for both in zip(self.bags, other.bags, strict=True))
        return replace(self, bags=bags, **changed)

    def without(self, names: Sequence[str]) -> "FieldTable":
        """The table less some of its fields."""
        if unknown := sorted(set(names) - set(self.field_names)):
            raise InputError(f"there is no field {unknown[0]!r} to leave out: there are {', '.join(self.field_names)}")
        kept = [i for i, name in enumerate(self.names) if name not in names]
        numeric = [i for i, name in enumerate(self.numeric_names) if name not in names]
        bags = [i for i, name in enumerate(self.bag_names) if name not in names]
        return replace(
            self,
            names=tuple(self.names[i] for i in kept),
            levels=tuple(self.levels[i] for i in kept),
            codes=self.codes[:, kept],
            numeric_names=tuple(self.numeric_names[i] for i in numeric),
            numbers=self.numbers[:, numeric],
            bag_names=tuple(self.bag_names[i] for i in bags),
            bag_levels=tuple(self.bag_levels[i] for i in bags),
            bags=tuple(self.bags[i] for i in bags),
            item_fields=tuple(name for name in self.item_fields if name not in names),
        )


def from_columns(columns: Mapping[str, np.ndarray]) -> FieldTable:
    """The table that `FieldTable.columns` describes."""
    names = tuple(columns["names"].tolist())
    bag_names = tuple(columns["bag_names"].tolist()) if "bag_names" in columns else ()
    return FieldTable(
        names=names,
        levels=tuple(columns[f"levels_{i}"] for i in range(len(names))),
        codes=columns["codes"],
        numeric_names=tuple(columns["numeric_names"].tolist()),
        numbers=columns["numbers"],
        label=columns["label"],
        bag_names=bag_names,
        bag_levels=tuple(columns[f"bag_levels_{i}"] for i in range(len(bag_names))),
        bags=tuple(columns[f"bag_{i}"] for i in range(len(bag_names))),
        part=columns.get("part"),
        item_fields=tuple(columns["item_fields"].tolist()) if "item_fields" in columns else (),
    )


def from_raw(
    categorical: Mapping[str, np.ndarray],
    label: np.ndarray,
    numeric: Mapping[str, np.ndarray] | None = None,
    part: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    bags: Mapping[str, np.ndarray] | None = None,
    item_fields: tuple[str, ...] = (),
) -> FieldTable:
    """A table from columns of raw categories (int64 or str), finite labels, and numbers with NaN where missing.

    A bag is a column of text, its values between spaces.
    """
    numeric, label = numeric or {}, np.asarray(label, np.float32)
    if not categorical and not numeric:
        raise InputError("a table without fields: it needs at least one categorical or numeric column beside the label")
    wrong = np.flatnonzero(~np.isfinite(label))
    if len(wrong):
        raise InputError(f"label {label[wrong[0]]:g} of row {wrong[0] + 1}: a label is a finite number")
    bagged = {name: _bag(column) for name, column in (bags or {}).items()}
    found = [np.unique(column, return_inverse=True) for column in categorical.values()]
    empty = np.empty((len(label), 0))
    return FieldTable(
        names=tuple(categorical),
        levels=tuple(levels for levels, _ in found),
        codes=np.stack([codes for _, codes in found], 1).astype(np.int32) if found else empty.astype(np.int32),
        numeric_names=tuple(numeric),
        numbers=np.stack(list(numeric.values()), 1).astype(np.float32) if numeric else empty.astype(np.float32),
        label=label,
        bag_names=tuple(bagged),
        bag_levels=tuple(levels for levels, _ in bagged.values()),
        bags=tuple(codes for _, codes in bagged.values()),
        part=part,
        truth=truth,
        item_fields=item_fields,
    )


def _bag(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels, and codes int32 [n, longest] with -1 behind the last value; a value met twice stands there twice."""
    texts, row = np.unique(column, return_inverse=True)
    split = [text.split() for text in texts.tolist()]
    count = np.array([len(values) for values in split])
    levels, codes = np.unique(np.array([value for values in split for value in values], str), return_inverse=True)
    held = np.full((len(texts), max(1, count.max(initial=0))), -1, np.int32)
    held[np.arange(held.shape[1]) < count[:, None]] = codes
    return levels, held[row]


def quantile_edges(values: np.ndarray, num_buckets: int) -> np.ndarray:
    """Edges between buckets that hold about equally many of `values`.

    A value that would fill a bucket, such as the zeros of a number that is rarely above zero, has one to itself; the
    others share what is left.
    """
    distinct, count = np.unique(values, return_counts=True)
    heavy = count > len(values) / num_buckets
    others = np.repeat(distinct[~heavy], count[~heavy])
    left = max(num_buckets - int(heavy.sum()), 1)
    cuts = np.quantile(others, np.arange(1, left) / left, method="higher") if len(others) else others
    after = distinct[1:][heavy[:-1]]  # the next value closes the bucket of a heavy one
    return np.unique(np.concatenate([cuts, distinct[heavy], after])).astype(np.float32)


def log_edges(values: np.ndarray, num_buckets: int) -> np.ndarray:
    """Edges of floor(log(x)^2) for x > 2, and of whole numbers below: the buckets of the Criteo contest's winners.

    At most `num_buckets`; the last takes in what lies above.
    """
    top = max(float(values.max(initial=2)), 2.0)
    squares = np.arange(1, int(np.log(top) ** 2) + 1)
    return np.concatenate([[0, 1, 2], np.exp(np.sqrt(squares))[1:]])[: num_buckets - 1].astype(np.float32)


Edges = Callable[[np.ndarray, int], np.ndarray]


# How a bag is read: (codes int32 [n, longest], -1 behind the last; the row of each code, 0 if not known) -> rows int32
# [n, longest], -1 where there is nothing.
BagForm = Callable[[np.ndarray, np.ndarray], np.ndarray]


def known_first(codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The known values alone; a bag without any has the row of the unknown."""
    local = np.where(codes < 0, 0, rows[codes])
    order = np.argsort(local == 0, axis=1, kind="stable")
    local = np.take_along_axis(local, order, 1)
    return np.where((local > 0) | (np.arange(local.shape[1]) == 0), local, -1)


def in_order(codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Every value at its place, an unknown one as row 0: for a text. An empty one has none."""
    return np.where(codes < 0, -1, rows[codes])


@dataclass(frozen=True)
class Encoding:
    """How values become rows of one table of all fields, fitted on training rows only."""

    rows: tuple[np.ndarray, ...]  # int32 [levels] of each categorical column: its row in its field, 0 if not known
    edges: tuple[np.ndarray, ...]  # float32 [buckets - 1] of each numeric column, ascending
    bag_rows: tuple[np.ndarray, ...] = ()  # as `rows`, of each bag
    field_names: tuple[str, ...] = ()  # of all fields, in the order of FieldTable.field_names
    bag_form: BagForm = known_first

    @property
    def field_sizes(self) -> tuple[int, ...]:
        """Rows of each field, row 0 among them."""
        categories, bags = ([int(rows.max(initial=0)) + 1 for rows in held] for held in (self.rows, self.bag_rows))
        return (*categories, *(len(edges) + 2 for edges in self.edges), *bags)

    def encode(self, table: FieldTable) -> np.ndarray:
        """Rows int32 [n, fields less bags] of the one table in which the fields lie one after the other.

        A code of -1 is a category that the table had not.
        """
        local = [np.where(table.codes[:, i] < 0, 0, rows[table.codes[:, i]]) for i, rows in enumerate(self.rows)]
        for i, edges in enumerate(self.edges):
            numbers = table.numbers[:, i]
            bucket = np.searchsorted(edges, numbers, side="right") + 1
            local.append(np.where(np.isnan(numbers), 0, bucket).astype(np.int32))
        return np.stack(local, 1) + self.offsets[: len(local)]

    def encode_bags(self, table: FieldTable) -> np.ndarray:
        """Rows int32 [n, bags, longest] of the same table, as `bag_form` reads a bag; -1 behind the last."""
        found = [self.bag_form(codes, rows) for codes, rows in zip(table.bags, self.bag_rows)]
        longest = max(local.shape[1] for local in found)
        held = np.full((len(table), len(found), longest), -1, np.int32)
        for i, (local, offset) in enumerate(zip(found, self.offsets[-len(found) :])):
            held[:, i, : local.shape[1]] = np.where(local >= 0, local + offset, -1)
        return held

    @property
    def offsets(self) -> np.ndarray:
        """Row 0 of each field in the one table, int32 [fields]."""
        ends = np.cumsum(self.field_sizes)
        if ends[-1] > np.iinfo(np.int32).max:
            raise InputError(f"{ends[-1]:,} rows of all fields: row numbers are int32; raise min_count")
        return (ends - self.field_sizes).astype(np.int32)


def fit(
    train: FieldTable,
    *,
    min_count: int = 1,
    num_buckets: int = 32,
    edges: Edges = quantile_edges,
    bag_form: BagForm = known_first,
) -> Encoding:
    """The encoding that training rows give: categories met at least `min_count` times, numbers cut by `edges`."""
    if min_count < 1:
        raise InputError(f"min_count is {min_count}: a category is known if it was met at least once")
    if num_buckets < 2:
        raise InputError(f"num_buckets is {num_buckets}: a number needs at least 2 buckets")

    def rows_of(codes, levels):
        known = np.bincount(codes[codes >= 0], minlength=len(levels)) >= min_count
        return np.where(known, np.cumsum(known), 0).astype(np.int32)

    rows = [rows_of(train.codes[:, i], levels) for i, levels in enumerate(train.levels)]
    bag_rows = [rows_of(codes, levels) for codes, levels in zip(train.bags, train.bag_levels)]
    cut = []
    for i in range(len(train.numeric_names)):
        numbers = train.numbers[:, i]
        numbers = numbers[np.isfinite(numbers)]
        cut.append(edges(numbers, num_buckets) if len(numbers) else np.empty(0, np.float32))
    return Encoding(tuple(rows), tuple(cut), tuple(bag_rows), train.field_names, bag_form)


def planted(num_rows: int = 30_000, seed: int = 0, words: int = 0) -> FieldTable:
    """A generated table whose clicks follow pairs of fields, with the true probabilities.

        log odds = -1 + sum_f a_f + 0.7 sum over pairs f < g of (u_f . u_g),   u of rank 4, entries standard normal / 2

    over five fields of skewed categories and a number that acts through its sign. The single terms a are small, so a
    model without pairs knows little. With `words`, a text of 1 to that many of 20 words is added, and 2 to the log odds
    where w0 stands right before w1 anywhere in it: neither word alone says so.
    """
    if num_rows < 100:
        raise InputError(f"num_rows is {num_rows}: a planted table has at least 100 rows")
    rng = np.random.default_rng(seed)
    sizes = (60, 40, 25, 10, 5)
    codes = [rng.choice(size, num_rows, p=_skewed(size)) for size in sizes]
    number = rng.standard_normal(num_rows).astype(np.float32)
    rows = [*codes, (number > 0).astype(np.int64)]
    vectors = [0.5 * rng.standard_normal((size, 4)) for size in (*sizes, 2)]
    single = sum(0.2 * rng.standard_normal(len(v))[row] for v, row in zip(vectors, rows))
    met = np.stack([v[row] for v, row in zip(vectors, rows)])  # [fields, n, 4]
    pairs = (met.sum(0) ** 2 - (met**2).sum(0)).sum(1) / 2
    logit, texts = single + 0.7 * pairs - 1, None
    if words:
        drawn = rng.choice(20, (num_rows, words), p=_skewed(20))
        drawn[np.arange(words) >= rng.integers(1, words + 1, num_rows)[:, None]] = -1
        logit = logit + 2 * ((drawn[:, :-1] == 0) & (drawn[:, 1:] == 1)).any(1)
        texts = {"text": np.array([" ".join(f"w{word}" for word in row if word >= 0) for row in drawn.tolist()])}
    probability = 1 / (1 + np.exp(-logit))
    return from_raw(
        {f"field_{i}": code for i, code in enumerate(codes)},
        rng.random(num_rows) < probability,
        {"number": number},
        truth=probability.astype(np.float32),
        bags=texts,
    )


def _skewed(size: int) -> np.ndarray:
    weights = 1 / np.arange(3, size + 3)
    return weights / weights.sum()


def unknown(encoded: np.ndarray, encoding: Encoding) -> int:
    """How many values of `encoded` rows are row 0 of their field."""
    return int((encoded == encoding.offsets[: encoded.shape[1]]).sum())
