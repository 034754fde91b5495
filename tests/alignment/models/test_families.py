"""Families, representatives, published values and the Mantel test."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.cluster.hierarchy import leaves_list

from alignment.models.architecture import similarity_matrix
from alignment.models.families import (
    BLOCKS,
    PUBLISHED,
    cluster,
    compare_blocks,
    compare_options,
    compare_published,
    mantel,
    predict_gains,
    shortlist,
)
from alignment.models.symbols import trace_layers, write_symbols
from neural_alignment import InputError


def _like(correlation: np.ndarray, names: list[str] | None = None) -> xr.Dataset:
    names = names or [f"m{index}" for index in range(len(correlation))]
    return xr.Dataset({"correlation": (("model", "other"), correlation)}, coords={"model": names, "other": names})


def _random(n: int, seed: int) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    return _like(np.corrcoef(rng.standard_normal((n, 4))))


def test_leaves_are_ordered_so_that_neighbours_are_alike() -> None:
    place = np.array([0.0, 5.0, 0.2, 5.1, 0.5])  # on a line: a, b and c beside each other, x and y far off
    similarity = _like(np.exp(-np.abs(place[:, None] - place[None, :])), list("axbyc"))
    found = cluster(similarity)
    assert set(found.order[:3]) == {"a", "b", "c"} and set(found.order[3:]) == {"x", "y"}
    assert found.order in (tuple("abcxy"), tuple("cbayx")) and found.linkage.shape == (4, 4)


@pytest.mark.parametrize("seed", range(8))
def test_no_other_order_that_the_tree_allows_is_better(seed: int) -> None:
    similarity = _random(6, seed)
    found = cluster(similarity)
    distance = 1 - similarity["correlation"].values

    def length(order) -> float:
        return sum(distance[i, j] for i, j in itertools.pairwise(order))

    def orders(node: int):
        if node < 6:
            yield (node,)
            return
        left, right = (int(child) for child in found.linkage[node - 6, :2])
        for one, other in itertools.product(orders(left), orders(right)):
            yield from (one + other, other + one)

    assert [found.names[leaf] for leaf in leaves_list(found.linkage)] == list(found.order)
    taken = length([found.names.index(name) for name in found.order])
    assert taken == pytest.approx(min(length(order) for order in orders(10)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_the_shortlist_is_as_good_as_trying_all(seed: int, k: int) -> None:
    similarity = _random(7, seed)
    distance = 1 - similarity["correlation"].values
    table = shortlist(similarity, k)
    chosen = np.flatnonzero(table["chosen"])
    assert len(chosen) == k
    cost = distance[:, chosen].min(axis=1).sum()
    best = min(distance[:, list(some)].min(axis=1).sum() for some in itertools.combinations(range(7), k))
    assert cost == pytest.approx(best, abs=1e-9)
    assert table["distance"].sum() == pytest.approx(cost, abs=1e-9)


def test_every_network_has_its_reason() -> None:
    similarity = similarity_matrix({"a": "CCCC", "b": "CCCCC", "c": "CCCCCC", "x": "LXLXLXLXLXLX"})
    table = shortlist(similarity, 2).set_index("model")
    assert table["chosen"].sum() == 2 and bool(table.loc["x", "chosen"])
    assert "like no other" in table.loc["x", "reason"]
    medoid = table.index[table["chosen"]][0]
    assert "closest to all of its group" in table.loc[medoid, "reason"]
    other = next(name for name in "abc" if name != medoid)
    assert table.loc[other, "reason"].startswith(f"{medoid} stands for it")
    assert shortlist(similarity, 2).equals(shortlist(similarity, 2))


def test_published_values_stand_beside_ours() -> None:
    names = ["vgg16", "vgg19", "resnet101"]
    correlation = np.array([[1, 0.9, -0.5], [0.9, 1, -0.4], [-0.5, -0.4, 1.0]])
    table = compare_published(_like(correlation, names))
    assert table[["model", "other"]].values.tolist() == [["vgg16", "vgg19"], ["vgg16", "resnet101"]]
    assert table["published"].tolist() == [1.0, -0.67]
    assert table["difference"].tolist() == pytest.approx([-0.1, 0.17])
    assert len(PUBLISHED) == 6


def test_blocks_that_stand_out_and_blocks_that_do_not() -> None:
    names = ["vgg16", "vgg19", "efficientnet_b0", "efficientnet_b1", "vit"]
    correlation = np.full((5, 5), 0.1)
    correlation[:2, :2], correlation[2:4, 2:4] = 0.9, 0.0
    np.fill_diagonal(correlation, 1)
    table = compare_blocks(_like(correlation, names)).set_index("block")
    assert list(table.index) == ["VGG", "EfficientNet"] and set(BLOCKS) > set(table.index)
    assert table.loc["VGG", ["n", "within", "outside", "stands_out"]].tolist() == [2, 0.9, 0.1, True]
    assert not table.loc["EfficientNet", "stands_out"]


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_the_correlation_is_scipys(method: str) -> None:
    a, b = (_random(8, seed)["correlation"].values for seed in (1, 2))
    pairs = np.triu_indices(8, 1)
    expected = {"spearman": stats.spearmanr, "pearson": stats.pearsonr}[method](a[pairs], b[pairs])[0]
    assert mantel(a, b, method=method, permutations=10).correlation == pytest.approx(expected)


def test_few_things_are_tested_exactly() -> None:
    a, b = (_random(4, seed)["correlation"].values for seed in (3, 4))
    found = mantel(a, b, method="pearson")
    assert found.exact and found.permutations == 24
    pairs = np.triu_indices(4, 1)
    tried = [np.corrcoef(a[pairs], b[np.ix_(order, order)][pairs])[0, 1] for order in itertools.permutations(range(4))]
    assert found.p_value == pytest.approx(np.mean(np.array(tried) >= tried[0] - 1e-12))
    assert "cannot show anything" in mantel(a[:3, :3], b[:3, :3]).note


def test_what_goes_together_is_found_and_noise_is_not() -> None:
    a = _random(15, 5)["correlation"].values
    strong = mantel(a, a**3, permutations=499)
    assert strong.correlation == pytest.approx(1.0) and strong.p_value == pytest.approx(1 / 500)
    assert not strong.exact and strong.n == 15
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(40):
        noise = rng.standard_normal((7, 7))
        p_values.append(mantel(_random(7, seed)["correlation"].values, noise + noise.T, permutations=99).p_value)
    assert 0.3 < np.mean(p_values) < 0.7  # uniform when nothing goes together


def test_a_seed_gives_the_same_answer() -> None:
    a, b = (_random(9, seed)["correlation"].values for seed in (6, 7))
    assert mantel(a, b, permutations=50, seed=3) == mantel(a, b, permutations=50, seed=3)
    assert math.isclose(mantel(a, b, permutations=50, seed=3).smallest_p, 1 / 51)


def test_gains_that_follow_the_architecture_are_found() -> None:
    groups = np.repeat([0, 1, 2], 3)
    similarity = _like(np.where(groups[:, None] == groups[None, :], 0.9, 0.1) + 0.1 * np.eye(9))
    gains = {f"m{index}": 10.0 * group + index for index, group in enumerate(groups)}
    found = predict_gains(similarity, {**gains, "stranger": 3.0}, permutations=999)
    assert found.n == 9 and found.correlation > 0.5 and found.p_value < 0.05
    assert "only a strong relation" in found.note


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: predict_gains(s, {"m0": 1.0}), "at least three networks"),
        (lambda s: predict_gains(s, {f"m{i}": 1.0 for i in range(4)}), "must be finite and must vary"),
        (lambda s: mantel(np.eye(3), np.eye(4)), "two square matrices"),
        (lambda s: mantel(np.eye(2), np.eye(2)), "two square matrices"),
        (lambda s: mantel(np.full((3, 3), np.nan), np.eye(3)), "must be finite"),
        (lambda s: shortlist(s, 0), "'k' parameter"),
        (lambda s: shortlist(s, 5), "'k' parameter"),
        (lambda s: cluster(s, "ward"), "'method' parameter"),
        (lambda s: cluster(_like(np.full((2, 2), np.nan))), "not defined"),
    ],
)
def test_bad_input_is_told(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(_random(4, 0))


def test_what_counts_as_a_layer_is_tried_out() -> None:
    traces = {name: trace_layers(name) for name in ("vgg16", "vgg19", "vgg11", "vit")}
    table = compare_options(traces)
    assert len(table) == 16 and table.loc[0, "activations"] == "as in the source"
    default = similarity_matrix({name: write_symbols(trace) for name, trace in traces.items()})
    expected = compare_published(default)
    assert table.loc[0, "vgg16|vit"] == pytest.approx(float(default["correlation"].sel(model="vgg16", other="vit")))
    assert table.loc[0, "rms"] == pytest.approx(np.sqrt((expected["difference"] ** 2).mean()))
    assert table["rms"].nunique() > 4
