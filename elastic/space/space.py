"""The search space: every subnet of a supernet, counted exactly, sampled, encoded, mutated and crossed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any, Literal, cast, overload

import numpy as np
from numpy.typing import NDArray

from elastic.errors import ArchError
from elastic.space.arch import Arch
from elastic.space.dims import Dim, Gate, alike, count_networks
from elastic.space.sizes import Number, for_name
from elastic.support.text import did_you_mean, html_table, spell_count, spell_names

Rows = NDArray[np.int16]
"""Encoded archs: one row each, one column per dim, each entry an index into the dim's choices."""

Floats = NDArray[np.float64]
"""Figures of encoded archs, one each."""

ManyArchs = Sequence[Mapping[str, Number]] | NDArray[np.integer[Any]]
"""Several archs: a sequence of them, or encoded rows `(n, dims)`."""

OneArch = Mapping[str, Number] | Literal["smallest", "largest"]
"""One arch, or the word for it."""

Archs = OneArch | ManyArchs
"""One arch, or several."""

Seed = int | Sequence[int]


@dataclass(frozen=True, repr=False)
class SearchSpace:
    """All subnets of a supernet: a tuple of dims. Immutable; `narrow` gives a smaller one.

    Attributes:
        dims: in the order of the encoded columns.
    """

    dims: tuple[Dim, ...]
    _by_name: dict[str, Dim] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {dim.name: dim for dim in self.dims})

    def __repr__(self) -> str:
        """One line: how many subnets, and how many dims of each kind."""
        kinds = Counter(dim.kind for dim in self.dims)
        listed = ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in kinds.items())
        return f"SearchSpace({spell_count(self.size)} subnets: {listed or 'no dims'})"

    def _repr_html_(self) -> str:
        """The dims as a table, for notebooks."""
        rows = [
            (kind, spell_names(names), ", ".join(f"{choice:g}" for choice in choices))
            for (kind, choices), names in alike(self.dims).items()
        ]
        return html_table(["elastic", "where", "choices"], rows)

    def __contains__(self, arch: object) -> bool:
        try:
            return isinstance(arch, Mapping) and self.arch(arch) == arch
        except ArchError:
            return False

    @property
    def names(self) -> tuple[str, ...]:
        """The dims' names, in the order of the encoded columns."""
        return tuple(self._by_name)

    def __getitem__(self, name: str) -> Dim:
        if name not in self._by_name:
            raise self._unknown(name)
        return self._by_name[name]

    # --- single archs ---------------------------------------------------------------------------------------

    def arch(self, values: OneArch) -> Arch:
        """The canonical arch with exactly these values; dims that its depths leave out may be there and are dropped.

        The words `smallest` and `largest` are archs, too.

        Raises:
            ArchError: an unknown dim, a missing one, a value that isn't one of its choices, or no mapping.
        """
        if isinstance(values, str) and values in ("smallest", "largest"):
            return self.smallest if values == "smallest" else self.largest
        if not isinstance(values, Mapping):
            raise ArchError(f"wanted an arch, a value for each dim, such as space.largest; got {values!r:.60}")
        for name in values:
            if name not in self._by_name:
                raise self._unknown(name)
        chosen: dict[str, Number] = {}
        for dim in self.dims:
            if not dim.exists(values):
                continue
            if dim.name not in values:
                raise ArchError(f"the arch lacks {dim.name!r}; choose one of {list(dim.choices)}")
            if values[dim.name] not in dim.choices:
                raise ArchError(f"{dim.name} = {values[dim.name]!r} isn't on offer; choose one of {list(dim.choices)}")
            chosen[dim.name] = dim.choices[dim.choices.index(values[dim.name])]  # 64, where 64.0 or an int64 was given
        return Arch(chosen)

    def variant(self, changes: Mapping[str, Number], of: Mapping[str, Number] | None = None) -> Arch:
        """The arch `of` (the largest by default) with some values changed; keys are kinds, names or globs.

            space.variant({"depth": 2, "kernel.1.*": 3})

        Raises:
            ArchError: a key that names no dim, or a value that none of its dims offers.
        """
        values = {dim.name: dim.full for dim in self.dims} | dict(of or {})
        for key, value in changes.items():
            for dim in self.matching(key):
                if value not in dim.choices:
                    raise ArchError(f"{dim.name} = {value!r} isn't on offer; choose one of {list(dim.choices)}")
                values[dim.name] = value
        return self.arch(values)

    @cached_property
    def largest(self) -> Arch:
        """Every dim at its largest: the original model."""
        return self.arch({dim.name: dim.choices[-1] for dim in self.dims})

    @cached_property
    def smallest(self) -> Arch:
        """Every dim at its smallest."""
        return self.arch({dim.name: dim.choices[0] for dim in self.dims})

    @overload
    def sample(self, seed: Seed) -> Arch: ...
    @overload
    def sample(self, seed: Seed, n: int) -> list[Arch]: ...
    def sample(self, seed: Seed, n: int | None = None) -> Arch | list[Arch]:
        """One random arch, or a list of `n`: each dim uniform over its choices, a pure function of `seed`."""
        rows = self.sample_rows(seed, 1 if n is None else n)
        archs = self.decode(rows)
        return archs[0] if n is None else archs

    def mutate(self, arch: Mapping[str, Number], rate: float, seed: Seed) -> Arch:
        """`arch` with each dim redrawn with probability `rate`."""
        return self.decode(self.mutate_rows(self.encode([arch]), rate, seed))[0]

    def crossover(self, one: Mapping[str, Number], other: Mapping[str, Number], seed: Seed) -> Arch:
        """A child that takes each dim from either parent with equal chance."""
        return self.decode(self.crossover_rows(self.encode([one]), self.encode([other]), seed))[0]

    # --- the space as a whole -------------------------------------------------------------------------------

    @cached_property
    def size(self) -> int:
        """The exact number of distinct networks."""
        return count_networks(self.dims)

    def narrow(self, choices: Mapping[str, Number | Iterable[Number]]) -> SearchSpace:
        """The space with fewer choices for some dims; keys are kinds, names or globs, values one value or several.

        Columns stay where they are, so that encoded archs of both spaces have the same width.

        Raises:
            ArchError: a key that names no dim, a value that is no choice of any dim of that key, or no choice left.
        """
        dims = {dim.name: dim for dim in self.dims}
        for key, wanted in choices.items():
            allowed = set(wanted) if isinstance(wanted, Iterable) else {wanted}
            matching = self.matching(key)
            offered = {choice for dim in matching for choice in dim.choices}
            if allowed & offered and not allowed <= offered:
                unknown = sorted(allowed - offered)
                raise ArchError(f"{key!r}: {unknown} are no choices; it has {sorted(offered)}, leave the others out")
            for dim in matching:
                left = tuple(choice for choice in dim.choices if choice in allowed)
                if not left:
                    raise ArchError(f"{dim.name}: none of {sorted(allowed)} is among its choices {list(dim.choices)}")
                dims[dim.name] = replace(dim, choices=left)
        return SearchSpace(tuple(dims.values()))

    def matching(self, key: str) -> list[Dim]:
        """The dims that `key` speaks of: the dim of this very name alone; else those of this kind, or of this glob.

        Where there are both a dim `stem` and `stem.0`, `"stem"` is the first, `"stem.*"` the other, and `"stem*"` both.

        Raises:
            ArchError: it names no dim.
        """
        if key in self._by_name:
            return [self._by_name[key]]
        found = [dim for dim in self.dims if for_name(key, dim.name)]
        if not found:
            raise ArchError(
                f"{key!r} names no dim; {did_you_mean(key, [dim.kind for dim in self.dims], self._near_dims(key))}"
            )
        return found

    def _unknown(self, name: str) -> ArchError:
        if any(dim.kind == name for dim in self.dims):
            cure = f"{name!r} is a kind of dims: space.variant({{{name!r}: …}}) changes all of them"
            return ArchError(f"no dim is called {name!r}; {cure}")
        return ArchError(f"unknown dim {name!r}; {self._near_dims(name)}")

    def _near_dims(self, word: str) -> str:
        """Which dims someone may have meant; the first ones where none is near."""
        shown = list(self._by_name)
        some = ", ".join(shown[:12]) + (f", … ({len(shown)} in all)" if len(shown) > 12 else "")
        return did_you_mean(word, shown, f"the space has {some}")

    def rows(self, archs: Archs) -> Rows:
        """One arch, several, or encoded rows, as encoded rows `(n, len(dims))`.

        Raises:
            ArchError: an arch that isn't in the space, rows that aren't archs of it, or something else.
        """
        if isinstance(archs, np.ndarray):
            return self.checked(archs)
        several = isinstance(archs, Iterable) and not isinstance(archs, (str, Mapping))
        return self.encode(cast("Iterable[Arch]", archs if several else [archs]))  # what is neither is refused there

    # --- encoded archs --------------------------------------------------------------------------------------

    def encode(self, archs: Iterable[Mapping[str, Number]]) -> Rows:
        """Archs as rows: int16 `(n, len(dims))`, indices into the choices; 0 where a dim doesn't exist.

        Raises:
            ArchError: an arch that isn't in the space.
        """
        checked = [self.arch(arch) for arch in archs]
        rows = np.zeros((len(checked), len(self.dims)), np.int16)
        for column, dim in enumerate(self.dims):
            index = {choice: at for at, choice in enumerate(dim.choices)}
            rows[:, column] = [index[arch[dim.name]] if dim.name in arch else 0 for arch in checked]
        return rows

    def decode(self, rows: NDArray[np.integer[Any]]) -> list[Arch]:
        """The canonical archs of encoded rows.

        Raises:
            ArchError: rows of another width, or an index out of range.
        """
        rows = self.checked(rows)
        exists = self._present(rows).tolist()
        named = [(dim.name, dim.choices) for dim in self.dims]
        return [
            Arch({name: choices[at] for (name, choices), at, there in zip(named, row, present, strict=True) if there})
            for row, present in zip(rows.tolist(), exists, strict=True)
        ]

    def canonical(self, rows: NDArray[np.integer[Any]]) -> Rows:
        """`rows` with the columns of dims that don't exist set to 0: equal subnets become equal rows."""
        canonical: Rows = np.array(self.checked(rows))
        exists = self.existing(canonical)
        for column, dim in enumerate(self.dims):
            if dim.gated:
                canonical[:, column] *= exists[column]
        return canonical

    def widened(self, rows: NDArray[np.integer[Any]], narrow: SearchSpace) -> Rows:
        """Archs that are encoded in a part of this space, as `narrow` gives it, encoded in this one."""
        columns = zip(self.dims, narrow.dims, narrow.checked(rows).T, strict=True)
        indices = [np.array([dim.choices.index(c) for c in part.choices])[column] for dim, part, column in columns]
        return self.canonical(np.stack(indices, axis=1)) if indices else self.checked(rows)

    def sample_rows(self, seed: Seed, n: int) -> Rows:
        """`n` random archs, encoded."""
        return self.canonical(np.random.default_rng(seed).integers(0, self.counts, (n, len(self.dims))))

    def mutate_rows(self, rows: Rows, rate: float, seed: Seed) -> Rows:
        """Encoded archs with each dim redrawn with probability `rate`; those that a larger depth brings are drawn."""
        rng = np.random.default_rng(seed)
        mutated = np.array(self.checked(rows))
        chosen = (rng.random(mutated.shape, np.float32) < rate) | ~self._present(mutated)
        self._draw(mutated, chosen, rng)
        return self.canonical(mutated)

    def crossover_rows(self, one: Rows, other: Rows, seed: Seed) -> Rows:
        """Encoded children that take each dim from either parent with equal chance, or from the only one that has it.

        What neither has is drawn: an inner depth of one parent may open what only an outer depth of the other reaches.
        """
        rng = np.random.default_rng(seed)
        has_one, has_other = self._present(one), self._present(other)
        from_one = rng.integers(0, 2, one.shape, np.bool_) & has_one | ~has_other
        children = other + (one - other) * from_one  # as np.where gives, several times as fast
        self._draw(children, ~(has_one | has_other), rng)
        return self.canonical(children)

    def _draw(self, rows: Rows, where: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Draw the entries of `rows` that are marked, in place."""
        drawn = np.flatnonzero(where)
        rows.flat[drawn] = rng.integers(0, self.counts[drawn % len(self.dims)])

    def values(self, rows: NDArray[np.integer[Any]]) -> dict[str, NDArray[Any]]:
        """The chosen value of each dim, an array per dim, whether the dim exists or not."""
        rows = self.checked(rows)
        return {dim.name: np.array(dim.choices)[rows[:, column]] for column, dim in enumerate(self.dims)}

    def checked(self, rows: NDArray[np.integer[Any]]) -> Rows:
        """`rows` as int16.

        Raises:
            ArchError: rows of another width, or an index out of range.
        """
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != len(self.dims):
            raise ArchError(f"encoded archs have {len(self.dims)} columns, one per dim; got shape {rows.shape}")
        if rows.dtype == np.int16:  # nearly always: one comparison, since what is negative is large without a sign
            outside = rows.view(np.uint16) >= self.counts.astype(np.uint16)
        else:
            outside = (rows < 0) | (rows >= self.counts)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            dim = self.dims[column]
            last = len(dim.choices) - 1
            raise ArchError(f"encoded arch {row}: {dim.name} has choices 0…{last}, got {rows[row, column]}")
        return rows.astype(np.int16, copy=False)

    def existing(self, rows: Rows) -> list[NDArray[np.bool_]]:
        """For each dim, the mask of the rows that have it: bool `(n,)`."""
        cache: dict[Any, NDArray[np.bool_]] = {}

        def passes(gate: Gate) -> NDArray[np.bool_]:
            if gate not in cache:
                column, table = self._gates[gate]
                cache[gate] = table[rows[:, column]]
            return cache[gate]

        def any_use(uses: frozenset[tuple[Gate, ...]]) -> NDArray[np.bool_]:
            if uses not in cache:
                everywhere = np.ones(len(rows), bool)
                each = [reduce(np.logical_and, map(passes, use), everywhere) for use in uses]
                cache[uses] = reduce(np.logical_or, each)
            return cache[uses]

        return [any_use(dim.uses) for dim in self.dims]

    def _present(self, rows: Rows) -> NDArray[np.bool_]:
        """Mask of the dims that each row has: bool `(n, dims)`."""
        return np.stack(self.existing(rows), axis=1) if self.dims else np.ones(rows.shape, bool)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of choices of each dim: int64 `(len(dims),)`."""
        return np.array([len(dim.choices) for dim in self.dims], np.int64)

    @cached_property
    def _gates(self) -> dict[Gate, tuple[int, NDArray[np.bool_]]]:
        """For each gate the column of its depth, and for which of the depth's choices it passes."""
        column = {dim.name: at for at, dim in enumerate(self.dims)}
        gates = {gate for dim in self.dims for use in dim.uses for gate in use}
        return {gate: (column[gate.depth], gate.passes(np.array(self[gate.depth].choices))) for gate in gates}
