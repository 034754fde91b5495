"""Published values beside a study's: every published group meets the catalogue's own label."""

from __future__ import annotations

import pandas as pd

from alignment.brain.catalogue import PASSED_GENOTYPES
from reports.data import ReportData
from reports.published import ALIGNMENT, alignment_beside_published


def _similarity(by: str, groups: list[str]) -> pd.DataFrame:
    """One network's RMSE by group, 0.1 and a thousandth more for each next group; with NeuRN 0.05 less."""
    rows = [
        {"layer_variant": variant, "group": group, "value": 0.1 + 0.001 * place - drop}
        for variant, drop in (("baseline", 0.0), ("neurn", 0.05))
        for place, group in enumerate(groups)
    ]
    same = {"model": "vgg11", "layer": "conv1", "layer_index": 0, "representation": "weighted", "n_cells": 7}
    return pd.DataFrame(rows).assign(group_by=by, metric="rmse_mean", **same)


def test_every_published_group_stands_beside_ours_under_the_catalogues_labels() -> None:
    genotypes = sorted(set(PASSED_GENOTYPES.values()))
    areas = sorted(ALIGNMENT.loc[ALIGNMENT["group_by"] == "area", "group"])
    assert {"Vip-1", "Fezf2-1", "Nr5a1-2"} <= set(genotypes)  # the catalogue's labels are always numbered
    similarity = pd.concat([_similarity("genotype", genotypes), _similarity("area", areas)])
    data = ReportData(
        name="a", title="A", sentence="S.", simulated=True, study_yaml="", command="", similarity=similarity
    )
    beside = alignment_beside_published(data).set_index(["group_by", "group"])
    assert beside[["ours_baseline", "ours_neurn", "n_cells"]].notna().all(axis=None)
    for name, label in (("Vip", "Vip-1"), ("Fezf2", "Fezf2-1"), ("Nr5a1-2", "Nr5a1-2"), ("Emx1-1", "Emx1-1")):
        row = beside.loc[("genotype", name)]
        expected = 0.1 + 0.001 * genotypes.index(label)
        assert abs(row["ours_baseline"] - expected) < 1e-12 and abs(row["ours_neurn"] - expected + 0.05) < 1e-12
