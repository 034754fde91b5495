"""What architectures' similarity says: families, representatives, published values, gains from NeuRN."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from alignment._validation import check_choice, check_integer
from alignment.models.architecture import similarity_matrix
from neural_alignment import InputError

if TYPE_CHECKING:
    from alignment.models.symbols import Trace

__all__ = [
    "BLOCKS",
    "PUBLISHED",
    "Clustering",
    "MantelResult",
    "cluster",
    "compare_blocks",
    "compare_options",
    "compare_published",
    "mantel",
    "predict_gains",
    "shortlist",
]

PUBLISHED: dict[tuple[str, str], float] = {
    ("vgg16", "vgg19"): 1.00,
    ("vgg16", "vgg11"): 0.96,
    ("vgg16", "resnet101"): -0.67,
    ("vgg16", "vit"): 0.51,
    ("resnet101", "densenet121"): 0.99,
    ("vit", "midas"): 0.87,
}
"""Correlations that can be read off the published 44x44 heat map (arXiv 2505.06881)."""

BLOCKS: dict[str, tuple[str, ...]] = {
    "VGG": ("vgg11", "vgg16", "vgg19"),
    "ResNet-DenseNet": (
        *("resnet50", "resnet101", "resnet152", "resnet50v2", "resnet101v2", "resnet152v2"),
        *("densenet121", "densenet169", "densenet201"),
    ),
    "EfficientNet": tuple(f"efficientnet_b{number}" for number in range(8)),
}
"""Families that stand out as blocks of the published heat map."""


@dataclass(frozen=True)
class Clustering:
    """A tree of networks.

    Attributes
    ----------
    names : tuple of str
        Networks in the order of the similarity matrix.
    linkage : ndarray (models - 1, 4)
        As of :func:`scipy.cluster.hierarchy.linkage`, each joint's children in the order of the leaves.
    order : tuple of str
        The leaves, neighbours as alike as the tree allows.
    """

    names: tuple[str, ...]
    linkage: NDArray[np.float64]
    order: tuple[str, ...]


@dataclass(frozen=True)
class MantelResult:
    """Whether two matrices over the same things go together.

    Attributes
    ----------
    correlation : float
        Of the pairs' values.
    p_value : float
        Share of relabellings, the true one among them, that correlate at least as strongly (one-sided).
    n, permutations : int
        Things compared, and relabellings tried.
    exact : bool
        Whether all relabellings were tried.
    smallest_p : float
        The least p that so few things can give.
    note : str
        How much the test can say.
    """

    correlation: float
    p_value: float
    n: int
    permutations: int
    exact: bool
    smallest_p: float
    note: str


def cluster(similarity: xr.Dataset, method: str = "average") -> Clustering:
    """Join networks into a tree by 1 - correlation, its leaves ordered so that neighbours are most alike.

    Parameters
    ----------
    similarity : xr.Dataset
        Of :func:`~alignment.models.architecture.similarity_matrix`.
    method : {"average", "complete", "single"}
        How the distance of two groups follows from their members'.

    Examples
    --------
    >>> from alignment.models.architecture import similarity_matrix
    >>> cluster(similarity_matrix({"a": "CCC", "x": "LXLX", "b": "CCCC", "y": "LXLXL"})).order
    ('a', 'b', 'x', 'y')
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    check_choice(method, "method", "cluster", ("average", "complete", "single"))
    names = _names(similarity)
    distance = _distance(similarity)
    tree = linkage(squareform(distance, checks=False), method)
    leaves = [names[index] for index in _best_leaf_order(tree, distance)]
    if names.index(leaves[0]) > names.index(leaves[-1]):  # either direction is as good: begin with the first named
        leaves = leaves[::-1]
    return Clustering(tuple(names), _turned(tree, [names.index(leaf) for leaf in leaves]), tuple(leaves))


def shortlist(similarity: xr.Dataset, k: int = 13) -> pd.DataFrame:
    """Choose the networks that stand for all: k-medoids on 1 - correlation, the same choice every time.

    Parameters
    ----------
    similarity : xr.Dataset
        Of :func:`~alignment.models.architecture.similarity_matrix`.
    k : int
        How many; the papers took 13.

    Returns
    -------
    pd.DataFrame
        A row a network: ``model``, ``medoid`` (who stands for it), ``chosen``, ``distance`` (to its
        medoid), and ``reason``.

    Notes
    -----
    Partitioning around medoids (Kaufman and Rousseeuw 1990): greedy start, then the best exchange of a medoid
    with another network as long as one lowers the sum of distances.
    """
    names, distance = _names(similarity), _distance(similarity)
    k = check_integer(k, "k", "shortlist", low=1, high=len(names))
    medoids = _medoids(distance, k)
    nearest = np.array(medoids)[distance[:, medoids].argmin(axis=1)]
    nearest[medoids] = medoids
    rows = []
    for index, name in enumerate(names):
        medoid = int(nearest[index])
        members = [int(other) for other in np.flatnonzero(nearest == medoid) if other != medoid]
        away = float(distance[index, medoid])
        rows.append(
            {
                "model": name,
                "medoid": names[medoid],
                "chosen": index == medoid,
                "distance": away,
                "reason": _reason(names, medoid, members, distance)
                if index == medoid
                else f"{names[medoid]} stands for it (1 - correlation {away:.3f})",
            }
        )
    return pd.DataFrame(rows)


def compare_published(similarity: xr.Dataset) -> pd.DataFrame:
    """Set our correlations beside those read off the published heat map.

    Returns
    -------
    pd.DataFrame
        ``model``, ``other``, ``published``, ``ours``, ``difference``, for the pairs that are here.
    """
    names = set(_names(similarity))
    rows = []
    for (one, other), value in PUBLISHED.items():
        if {one, other} <= names:
            ours = float(similarity["correlation"].sel(model=one, other=other))
            rows.append((one, other, value, ours, ours - value))
    return pd.DataFrame(rows, columns=["model", "other", "published", "ours", "difference"])


def compare_options(traces: Mapping[str, Trace], level: str = "papers") -> pd.DataFrame:
    """Ask how much the published correlations depend on what counts as a layer, which the papers leave open.

    Their networks come from two libraries that differ in what they list as a layer: no one choice is theirs.

    Parameters
    ----------
    traces : mapping of str to Trace
        The networks, of :func:`~alignment.models.symbols.trace_layers`.
    level : str
        The alphabet.

    Returns
    -------
    pd.DataFrame
        A row for each choice of ``activations``, ``normalisations`` and ``collapse``; a column for each
        published pair that is here (``vgg16|vgg19``), and ``rms``, the root mean square difference from the
        published. The first row is the default.
    """
    from alignment.models.symbols import write_symbols  # torch: only for those who have traces

    rows = []
    choices = itertools.product((None, "all", "separate", "none"), (True, False), (False, True))
    for activations, normalisations, collapse in choices:
        options: dict[str, Any] = {"activations": activations, "normalisations": normalisations}
        sequences = {name: write_symbols(trace, level, collapse=collapse, **options) for name, trace in traces.items()}
        found = compare_published(similarity_matrix(sequences))
        values = {f"{a}|{b}": ours for a, b, ours in found[["model", "other", "ours"]].values}
        rms = math.sqrt(float((found["difference"] ** 2).mean())) if len(found) else math.nan
        shown = "as in the source" if activations is None else activations
        rows.append(
            {
                "activations": shown,
                "normalisations": normalisations,
                "collapse": collapse,
                **values,
                "rms": rms,
            }
        )
    return pd.DataFrame(rows)


def compare_blocks(similarity: xr.Dataset) -> pd.DataFrame:
    """Ask whether the published families are blocks here too: more alike within than with the others.

    Returns
    -------
    pd.DataFrame
        ``block``, ``n`` (of its networks here), ``within`` and ``outside`` (median correlations),
        ``stands_out``.
    """
    names, correlation = _names(similarity), similarity["correlation"].values
    rows = []
    for block, members in BLOCKS.items():
        inside = np.isin(names, members)
        if inside.sum() < 2:
            continue
        pairs = correlation[np.ix_(inside, inside)][np.triu_indices(int(inside.sum()), 1)]
        within = float(np.median(pairs))
        others = correlation[np.ix_(inside, ~inside)]
        outside = float(np.median(others)) if others.size else math.nan
        rows.append((block, int(inside.sum()), within, outside, within > outside))
    return pd.DataFrame(rows, columns=["block", "n", "within", "outside", "stands_out"])


def mantel(a: Any, b: Any, *, permutations: int = 9999, seed: int = 0, method: str = "spearman") -> MantelResult:
    """Test whether two similarity matrices go together (Mantel 1967, Cancer Res. 27:209).

    Parameters
    ----------
    a, b : array_like (n, n)
        Symmetric similarities; the diagonal is not used.
    permutations : int
        Relabellings of one matrix; all n! of them where these are no more.
    seed : int
        Of the relabellings.
    method : {"spearman", "pearson"}
        Correlation of the pairs' ranks or values.

    Returns
    -------
    MantelResult
        One-sided: alike in the one means alike in the other.

    Raises
    ------
    InputError
        Matrices that are not square, not of one size, below 3 things, not finite or without variation.
    """
    check_choice(method, "method", "mantel", ("spearman", "pearson"))
    check_integer(permutations, "permutations", "mantel", low=1)
    one, other = _check_matrices(a, b)
    n = len(one)
    pairs = np.triu_indices(n, 1)
    if method == "spearman":
        one, other = _ranked(one, pairs), _ranked(other, pairs)
    target = _standardised(one[pairs])
    exact = math.factorial(n) <= permutations if n <= 12 else False
    orders = _relabellings(n, permutations, seed, exact)
    found = np.array([float(target @ _standardised(other[np.ix_(order, order)][pairs])) for order in orders])
    tolerance = 1e-12
    p_value = float((found >= found[0] - tolerance).mean())
    smallest = 1 / len(found)
    return MantelResult(found[0], p_value, n, len(found), exact, smallest, _power(n, len(found), exact))


def predict_gains(
    similarity: xr.Dataset, gains: Mapping[str, float], *, permutations: int = 9999, seed: int = 0
) -> MantelResult:
    """Ask whether like architectures gain alike from NeuRN.

    Parameters
    ----------
    similarity : xr.Dataset
        Of :func:`~alignment.models.architecture.similarity_matrix`.
    gains : mapping of str to float
        Accuracy with NeuRN minus without, by network.
    permutations, seed
        As of :func:`mantel`.

    Returns
    -------
    MantelResult
        Rank correlation of the architectures' correlation with minus the difference of their gains.

    Raises
    ------
    InputError
        Fewer than three of the networks have both.
    """
    names = [name for name in _names(similarity) if name in gains]
    if len(names) < 3:
        raise InputError(
            f"A Mantel test needs at least three networks with both an architecture and a gain. Got {names}: "
            "train more networks with and without NeuRN."
        )
    values = np.array([gains[name] for name in names], dtype=np.float64)
    likeness = -np.abs(values[:, None] - values[None, :])
    architecture = similarity["correlation"].sel(model=names, other=names).values
    return mantel(architecture, likeness, permutations=permutations, seed=seed)


def _names(similarity: xr.Dataset) -> list[str]:
    return [str(name) for name in similarity["model"].values]


def _distance(similarity: xr.Dataset) -> NDArray[np.float64]:
    correlation = similarity["correlation"].values
    if not np.isfinite(correlation).all():
        raise InputError(
            "The architectures' correlation is not defined, because a network has the same score with all. "
            "Name networks that differ."
        )
    distance = np.clip(1.0 - correlation, 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    return np.asarray((distance + distance.T) / 2)


def _best_leaf_order(tree: NDArray[np.float64], distance: NDArray[np.float64]) -> list[int]:
    """Return the leaves in the order, of all that the tree allows, in which neighbours are closest.

    Bar-Joseph, Gifford and Jaakkola 2001, Bioinformatics 17:S22. scipy's own ordering is not always the
    best one.
    """
    count = len(distance)
    # For every node the shortest way through its leaves from one to another (infinite where there is none),
    # and for every joint of two nodes the leaves that meet there.
    leaves = [[leaf] for leaf in range(count)]
    ways = [np.zeros((1, 1)) for _ in range(count)]
    children: dict[int, tuple[int, int]] = {}
    for row in tree:
        left, right = int(row[0]), int(row[1])
        joined = _joined(ways[left], distance[np.ix_(leaves[left], leaves[right])], ways[right])
        children[len(ways)] = (left, right)
        leaves.append(leaves[left] + leaves[right])
        none = np.full((len(leaves[left]),) * 2, np.inf), np.full((len(leaves[right]),) * 2, np.inf)
        ways.append(np.block([[none[0], joined], [joined.T, none[1]]]))

    def unfold(node: int, first: int, last: int) -> list[int]:
        """Return the leaves of a node on the shortest way from its leaf ``first`` to ``last`` (by place)."""
        if node < count:
            return [node]
        left, right = children[node]
        split = len(leaves[left])
        if first >= split:
            return unfold(node, last, first)[::-1]
        meeting = distance[np.ix_(leaves[left], leaves[right])]
        total = ways[left][first][:, None] + meeting + ways[right][:, last - split][None, :]
        m, k = np.unravel_index(int(total.argmin()), total.shape)
        return unfold(left, first, int(m)) + unfold(right, int(k), last - split)

    first, last = np.unravel_index(int(ways[-1].argmin()), ways[-1].shape)
    return unfold(len(ways) - 1, int(first), int(last))


def _turned(tree: NDArray[np.float64], order: Sequence[int]) -> NDArray[np.float64]:
    """Return the tree with the children of each joint in the order of the leaves."""
    place = [order.index(leaf) for leaf in range(len(order))]  # of a joint: that of its first leaf
    turned = tree.copy()
    for row in turned:
        row[:2] = sorted(row[:2], key=lambda child: place[int(child)])
        place.append(place[int(row[0])])
    return turned


def _joined(left: NDArray[np.float64], meeting: NDArray[np.float64], right: NDArray[np.float64]) -> Any:
    to_right = (left[:, :, None] + meeting[None]).min(axis=1)
    return (to_right[:, :, None] + right[None]).min(axis=1)


def _medoids(distance: NDArray[np.float64], k: int) -> list[int]:
    """Return the best choice from a greedy start and some random ones: exchanges end in local optima."""
    rng = np.random.default_rng(0)
    starts = [_greedy(distance, k)]
    starts += [[int(index) for index in rng.permutation(len(distance))[:k]] for _ in range(20)]
    found = [_exchanged(distance, start) for start in starts]
    return min(found, key=lambda chosen: (round(float(distance[:, chosen].min(axis=1).sum()), 9), chosen))


def _greedy(distance: NDArray[np.float64], k: int) -> list[int]:
    chosen = [int(distance.sum(axis=0).argmin())]
    while len(chosen) < k:
        nearest = distance[:, chosen].min(axis=1)
        gain = np.maximum(nearest[:, None] - distance, 0).sum(axis=0)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
    return chosen


def _exchanged(distance: NDArray[np.float64], chosen: list[int]) -> list[int]:
    k = len(chosen)
    cost = distance[:, chosen].min(axis=1).sum()
    while True:
        best = (cost - 1e-12, -1, -1)
        for place in range(k):
            kept = [medoid for position, medoid in enumerate(chosen) if position != place]
            rest = distance[:, kept].min(axis=1) if kept else np.full(len(distance), np.inf)
            costs = np.minimum(rest[:, None], distance).sum(axis=0)
            costs[chosen] = np.inf
            candidate = int(costs.argmin())
            if costs[candidate] < best[0]:
                best = (float(costs[candidate]), place, candidate)
        if best[1] < 0:
            return sorted(chosen)
        cost, chosen[best[1]] = best[0], best[2]


def _reason(names: Sequence[str], medoid: int, members: Sequence[int], distance: NDArray[np.float64]) -> str:
    if not members:
        others = [index for index in range(len(names)) if index != medoid]
        if not others:
            return "the only network"
        closest = min(others, key=lambda index: distance[medoid, index])
        away = distance[medoid, closest]
        return f"like no other: the closest is {names[closest]} (1 - correlation {away:.3f})"
    listed = ", ".join(names[index] for index in members)
    mean = float(np.mean([distance[medoid, index] for index in members]))
    return f"closest to all of its group: {listed} (mean 1 - correlation {mean:.3f})"


def _check_matrices(a: Any, b: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.ndim != 2 or one.shape != other.shape or one.shape[0] != one.shape[1] or len(one) < 3:
        raise InputError(
            "A Mantel test takes two square matrices over the same three or more things. "
            f"Got {one.shape} and {other.shape}."
        )
    pairs = np.triu_indices(len(one), 1)
    for matrix in (one, other):
        if not np.isfinite(matrix[pairs]).all() or np.ptp(matrix[pairs]) == 0:
            raise InputError(
                "The pairs' values of a Mantel test must be finite and must vary. One of the matrices is "
                "the same for all pairs, or has holes: choose other networks."
            )
    return one, other


def _ranked(matrix: NDArray[np.float64], pairs: Any) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    ranks = np.zeros_like(matrix)
    ranks[pairs] = rankdata(matrix[pairs])
    return ranks + ranks.T


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean()
    return np.asarray(centred / np.linalg.norm(centred))


def _relabellings(n: int, permutations: int, seed: int, exact: bool) -> list[NDArray[np.int64]]:
    """Return relabellings, the true one first."""
    if exact:
        return [np.array(order) for order in itertools.permutations(range(n))]
    rng = np.random.default_rng(seed)
    return [np.arange(n), *(rng.permutation(n) for _ in range(permutations))]


def _power(n: int, tried: int, exact: bool) -> str:
    how = f"all {tried} relabellings of {n} networks" if exact else f"{tried} relabellings of {n} networks"
    if tried < 20:
        return f"{how}: p cannot fall below {1 / tried:.3f}, so this test cannot show anything at the 5 % level"
    if n < 5:
        return f"{how}: p cannot fall below {1 / tried:.3f}, which only the single best relabelling has"
    if n < 10:
        return f"{how}: only a strong relation can be seen with so few"
    return how
