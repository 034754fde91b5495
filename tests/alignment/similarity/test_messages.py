"""Every refusal says which parameter of which function, what is allowed, and what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from alignment.similarity import (
    benjamini_hochberg,
    bootstrap,
    compare_rdms,
    kde_densities,
    kde_iou,
    linear_cka,
    nearest_units,
    noise_ceiling,
    null_test,
    paired_permutation,
    rdm,
    rdm_permutation_test,
    rmse,
    score_groups,
    shuffled_scenes,
)
from neural_alignment import InputError, NeuralAlignmentError

ONES = np.ones((4, 6))
SQUARE = np.ones((6, 6)) - np.eye(6)
TRIALS = np.ones((2, 4, 3))
GROUPS = {"VISp": [0, 1]}
Case = tuple[str, str, Callable[[], Any], str, str]

# function, parameter, call, what is allowed, what came
ALLOWED: list[Case] = [
    ("rmse", "neurons", lambda: rmse(np.ones(4), ONES), "an array (n, d) or (n, y, x)", "(4,)"),
    ("rmse", "units", lambda: rmse(ONES, np.ones((4, 0))), "at least one row and one value a row", "(4, 0)"),
    ("rmse", "units", lambda: rmse(ONES, np.ones((4, 7))), "as long as those of 'neurons', 6 values", "7"),
    ("rmse", "neurons", lambda: rmse(ONES * np.nan, ONES), "finite", "in 4 of 4 rows, first in row 0"),
    ("rmse", "reduce", lambda: rmse(ONES, ONES, "max"), "one of 'mean', 'nearest'", "'max'"),
    ("rmse", "precision", lambda: rmse(ONES, ONES, precision=32), "one of 'float32', 'float64'", "32"),
    ("rmse", "max_bytes", lambda: rmse(ONES, ONES, max_bytes=1), "an integer ≥ 65536", "1"),
    ("rmse", "device", lambda: rmse(ONES, ONES, device=0), "'cpu', or a CUDA device", "0"),
    ("nearest_units", "units", lambda: nearest_units(ONES, ONES[:, :2]), "6 values", "2"),
    ("nearest_units", "neurons", lambda: nearest_units(["a"], ONES), "an array of numbers", "['a']"),
    ("nearest_units", "precision", lambda: nearest_units(ONES, ONES, precision="half"), "'float32'", "'half'"),
    ("kde_iou", "b", lambda: kde_iou(np.ones((3, 4)), np.ones(4)), "(p, m) beside (p, n)", "(4,)"),
    ("kde_iou", "grid_size", lambda: kde_iou([1, 2], [1, 2], 15), "an integer ≥ 16", "15"),
    ("kde_iou", "grid_size", lambda: kde_iou([1, 2], [1, 2], 64.0), "an integer ≥ 16", "64.0"),
    ("kde_iou", "device", lambda: kde_iou([1, 2], [1, 2], device="cuda:x"), "CUDA device", "'cuda:x'"),
    ("kde_densities", "a", lambda: kde_densities([], [1, 2]), "finite values that are not all equal", "array([]"),
    ("kde_densities", "b", lambda: kde_densities([1, 2], [3, 3]), "not all equal", "array([3, 3])"),
    ("rdm", "responses", lambda: rdm(np.ones((5, 1))), "at least 2 of each", "(5, 1)"),
    ("rdm", "responses", lambda: rdm(np.full((3, 3), np.inf)), "finite", "3 of 3 rows"),
    ("compare_rdms", "a", lambda: compare_rdms(np.ones((2, 2)), SQUARE), "over at least 3 scenes", "(2, 2)"),
    ("compare_rdms", "b", lambda: compare_rdms(SQUARE, np.ones((2, 5, 4))), "a square matrix", "(2, 5, 4)"),
    ("compare_rdms", "b", lambda: compare_rdms(SQUARE, SQUARE[:5, :5]), "over the 6 scenes of 'a'", "(1, 5, 5)"),
    ("compare_rdms", "method", lambda: compare_rdms(SQUARE, SQUARE, "tau"), "'spearman', 'pearson'", "'tau'"),
    (
        "rdm_permutation_test",
        "permutations",
        lambda: rdm_permutation_test(SQUARE, SQUARE, permutations=18),
        "≥ 19",
        "18",
    ),
    ("rdm_permutation_test", "seed", lambda: rdm_permutation_test(SQUARE, SQUARE, seed=-1), "≥ 0", "-1"),
    ("linear_cka", "y", lambda: linear_cka(ONES, ONES[:3]), "the 4 scenes of 'x'", "(3, 6)"),
    ("linear_cka", "x", lambda: linear_cka(ONES[:1], ONES[:1], False), "at least 2 scenes", "(1, 6)"),
    ("linear_cka", "y", lambda: linear_cka(ONES, ONES * np.nan), "finite", "4 of 4 rows"),
    ("noise_ceiling", "responses", lambda: noise_ceiling(np.ones((2, 2, 5))), "at least 3 scenes", "(2, 2, 5)"),
    ("noise_ceiling", "kind", lambda: noise_ceiling(TRIALS, "rsa"), "one of 'tuning', 'rdm'", "'rsa'"),
    ("noise_ceiling", "splits", lambda: noise_ceiling(TRIALS, splits=True), "an integer ≥ 1", "True"),
    ("noise_ceiling", "seed", lambda: noise_ceiling(TRIALS, seed=-3), "an integer ≥ 0", "-3"),
    ("bootstrap", "values", lambda: bootstrap(ONES), "an array (cell,) of at least one finite score", "(4, 6)"),
    ("bootstrap", "donors", lambda: bootstrap([1, 2], ["a"] * 3), "each of the 2 cells", "(3,)"),
    ("bootstrap", "bootstraps", lambda: bootstrap([1, 2], bootstraps=99), "an integer ≥ 100", "99"),
    ("bootstrap", "level", lambda: bootstrap([1, 2], level=95), "between 0.5 and 0.9999", "95"),
    ("bootstrap", "seed", lambda: bootstrap([1, 2], seed=1.5), "an integer ≥ 0", "1.5"),
    ("bootstrap", "statistic", lambda: bootstrap([1, 2], statistic="mode"), "'mean' or a function", "'mode'"),
    ("paired_permutation", "a", lambda: paired_permutation([]), "at least one finite score", "(0,)"),
    ("paired_permutation", "b", lambda: paired_permutation([1, 2], [1]), "for each of the 2 cells", "1"),
    ("paired_permutation", "b", lambda: paired_permutation([1.0], [np.inf]), "finite score", "array([inf])"),
    ("paired_permutation", "seed", lambda: paired_permutation([1, 2], seed=-1), "an integer ≥ 0", "-1"),
    ("paired_permutation", "alternative", lambda: paired_permutation([1], alternative=">"), "'greater'", "'>'"),
    ("benjamini_hochberg", "p", lambda: benjamini_hochberg([0.5, -0.1]), "between 0 and 1", "-0.1"),
    ("benjamini_hochberg", "p", lambda: benjamini_hochberg(0.5), "an array (test,)", "()"),
    ("null_test", "null", lambda: null_test([1, 2], ONES), "(shuffle, ...) of scores (2,)", "(4, 6)"),
    ("null_test", "alternative", lambda: null_test(1, [1, 2], "up"), "'two-sided', 'less'", "'up'"),
    ("shuffled_scenes", "n_scenes", lambda: shuffled_scenes(1, 5), "an integer ≥ 2", "1"),
    ("shuffled_scenes", "shuffles", lambda: shuffled_scenes(5, 0), "an integer ≥ 1", "0"),
    ("shuffled_scenes", "seed", lambda: shuffled_scenes(5, 1, -1), "an integer ≥ 0", "-1"),
    ("score_groups", "groups", lambda: score_groups(ONES, ONES, {"V1": [4]}), "among the 4 cells", "V1: [4]"),
    ("score_groups", "metrics", lambda: score_groups(ONES, ONES, GROUPS, "rmse_mean"), "a list of", "'rmse_mean'"),
    ("score_groups", "metrics", lambda: score_groups(ONES, ONES, GROUPS, ["rms"]), "'rmse_mean'", "'rms'"),
    ("score_groups", "seed", lambda: score_groups(ONES, ONES, GROUPS, seed=-1), "an integer ≥ 0", "-1"),
    ("score_groups", "max_pairs", lambda: score_groups(ONES, ONES, GROUPS, max_pairs=0), "≥ 1", "0"),
    ("score_groups", "donors", lambda: score_groups(ONES, ONES, GROUPS, donors=["a"]), "each of the 4 cells", "(1,)"),
]


@pytest.mark.parametrize(("function", "parameter", "call", "allowed", "came"), ALLOWED)
def test_what_is_allowed_and_what_came(
    function: str, parameter: str, call: Callable[[], Any], allowed: str, came: str
) -> None:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    opening, _, rest = message.partition(" must be ")
    assert opening == f"The '{parameter}' parameter of {function}"
    permitted, _, got = rest.partition(" Got ")
    assert allowed in permitted
    assert came in got and "instead." in got
    # A caller may catch it as any error of this package, or as the ValueError that it is.
    assert isinstance(caught.value, NeuralAlignmentError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize("values", [ONES + 1j, torch.ones(4, 6, dtype=torch.complex64), object(), "abc"])
@pytest.mark.parametrize("call", [lambda x: rmse(x, ONES), lambda x: linear_cka(ONES, x), rdm, benjamini_hochberg])
def test_what_holds_no_real_numbers_is_refused(call: Callable[[Any], Any], values: Any) -> None:
    with pytest.raises(InputError, match="must be an array of numbers"):
        call(values)


def test_long_values_are_shortened() -> None:
    with pytest.raises(InputError) as caught:
        rmse(ONES, ONES, reduce="n" * 5000)
    assert len(str(caught.value)) < 400


def test_closest_name_is_suggested() -> None:
    with pytest.raises(InputError, match="Did you mean 'rmse_nearest'"):
        score_groups(ONES, ONES, GROUPS, ["rmse_neares"])
