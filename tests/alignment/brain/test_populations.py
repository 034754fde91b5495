"""Groups and the selection of typical cells, on cells whose clusters are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.brain.populations import embed_cells, group_cells, plan_selection, select_cells
from neural_alignment import DataError, InputError


def clustered(per_class: int = 60, centres: int = 3, seed: int = 0) -> xr.Dataset:
    """Cells of two classes around distinct centres in 12 dimensions."""
    rng = np.random.default_rng(seed)
    count = 2 * per_class
    truth = np.arange(count) % centres
    middle = rng.normal(0, 4, (centres, 12))
    values = (middle[truth] + rng.normal(0, 0.2, (count, 12))).astype(np.float32)
    return xr.Dataset(
        {"representation": (("cell", "scene"), values)},
        coords={
            "neuron_class": ("cell", np.repeat(["excitatory", "inhibitory"], per_class)),
            "area": ("cell", np.resize(["VISl", "VISp", "VISrl"], count)),
            "cre_line": ("cell", np.resize(["Sst-IRES-Cre", "Cux2-CreERT2"], count)),
            "depth_um": ("cell", np.resize([375, 175], count)),
            "reliability": ("cell", rng.uniform(-0.2, 1, count)),
            "degenerate": ("cell", np.zeros(count, dtype=bool)),
            "truth": ("cell", truth),
        },
        attrs={"simulated": 1, "kind": "tuning"},
    )


class TestGroups:
    @pytest.mark.parametrize(
        ("by", "names"),
        [
            ("area", ["VISp", "VISl", "VISrl"]),
            ("neuron_class", ["excitatory", "inhibitory"]),
            ("cre_line", ["Cux2-CreERT2", "Sst-IRES-Cre"]),
            ("depth_um", ["175", "375"]),
            (("depth_um", "neuron_class"),
             ["175 × excitatory", "175 × inhibitory", "375 × excitatory", "375 × inhibitory"]),
        ],
    )  # fmt: skip
    def test_names_and_order(self, by: Any, names: list[str]) -> None:
        assert list(group_cells(clustered(), by)) == names

    @settings(max_examples=20, deadline=None)
    @given(st.sampled_from(["area", "cre_line", ("area", "cre_line"), ("neuron_class", "area", "depth_um")]))
    def test_every_cell_is_in_one_group(self, by: Any) -> None:
        ds = clustered()
        groups = group_cells(ds, by)
        assert sorted(np.concatenate(list(groups.values())).tolist()) == list(range(ds.sizes["cell"]))
        for name, members in groups.items():
            first = (by,) if isinstance(by, str) else by
            for coordinate, value in zip(first, name.split(" × "), strict=True):
                assert {str(found) for found in ds[coordinate].values[members]} == {value}

    def test_layers_in_order(self) -> None:
        ds = xr.Dataset(coords={"cortical_layer": ("cell", ["L6", "L4", "L2/3", "L5"])})
        assert list(group_cells(ds, "cortical_layer")) == ["L2/3", "L4", "L5", "L6"]

    def test_mistakes(self) -> None:
        with pytest.raises(InputError, match=r"Unknown coordinate of cells 'aera'.*Did you mean 'area'"):
            group_cells(clustered(), "aera")
        with pytest.raises(InputError, match="a coordinate or several"):
            group_cells(clustered(), ())


class TestSelection:
    def test_takes_the_most_central_of_each_cluster(self) -> None:
        ds = clustered()
        plan = plan_selection(ds, per_class=12, clusters=3, embedding="pca")
        assert int(plan["selected"].sum()) == 24
        layout, cluster = plan["embedding"].values, plan["cluster"].values
        for name in ("excitatory", "inhibitory"):
            mine = ds["neuron_class"].values == name
            for number in range(3):
                members = np.flatnonzero(mine & (cluster == number))
                assert len(set(ds["truth"].values[members])) == 1
                distance = np.linalg.norm(layout[members] - layout[members].mean(axis=0), axis=1)
                kept = plan["selected"].values[members]
                assert kept.sum() == 4
                assert distance[kept].max() <= distance[~kept].min()

    def test_umap_is_seeded_and_finds_the_clusters(self) -> None:
        ds = clustered()
        plan = plan_selection(ds, per_class=15, clusters=3, seed=4)
        xr.testing.assert_identical(plan, plan_selection(ds, per_class=15, clusters=3, seed=4))
        for number in range(3):
            for name in ("excitatory", "inhibitory"):
                mine = (plan["cluster"].values == number) & (ds["neuron_class"].values == name)
                assert len(set(ds["truth"].values[mine])) == 1
        assert plan.attrs["embedding_method"] == "umap"

    def test_short_clusters_are_filled_from_the_others(self) -> None:
        ds = clustered(per_class=30)
        few = np.flatnonzero((ds["truth"].values != 0) | (np.arange(60) % 30 < 3))
        plan = plan_selection(ds.isel(cell=few), per_class=12, clusters=3, embedding="pca")
        small = ds["truth"].values[few] == 0
        assert plan["selected"].values[small].all()
        assert plan.attrs["kept_excitatory"] == plan.attrs["kept_inhibitory"] == 12
        assert int(plan["selected"].sum()) == 24

    def test_a_short_class_is_taken_whole_and_said_so(self) -> None:
        ds = clustered(per_class=20)
        keep = np.flatnonzero((ds["neuron_class"].values == "excitatory") | (np.arange(40) >= 33))
        plan = plan_selection(ds.isel(cell=keep), per_class=10, clusters=10, embedding="pca")
        expected = {
            "kept_excitatory": 10, "available_excitatory": 20, "short_excitatory": 0,
            "kept_inhibitory": 7, "available_inhibitory": 7, "short_inhibitory": 3,
        }  # fmt: skip
        assert {name: plan.attrs[name] for name in expected} == expected
        assert int(plan["selected"].sum()) == 17

    def test_a_class_that_is_missing(self) -> None:
        ds = clustered(per_class=8).isel(cell=slice(8))
        plan = plan_selection(ds, per_class=5, clusters=2, embedding="pca")
        assert plan.attrs["short_inhibitory"] == 5
        assert int(plan["selected"].sum()) == 5

    def test_unreliable_and_degenerate_cells_are_left_out(self) -> None:
        ds = clustered()
        ds["degenerate"].values[:5] = True
        ds["reliability"].values[7] = np.nan
        plan = plan_selection(ds, per_class=100, min_reliability=0.3, embedding="pca")
        expected = (ds["reliability"].values >= 0.3) & ~ds["degenerate"].values
        np.testing.assert_array_equal(plan["selected"].values, expected)
        assert (plan["cluster"].values[~expected] == -1).all()
        assert np.isnan(plan["embedding"].values[~expected]).all()
        assert plan.attrs["unreliable_cells"] == (~(ds["reliability"].values >= 0.3)).sum()
        assert plan.attrs["degenerate_cells"] == 5

    def test_responses_bring_their_reliability(self) -> None:
        rng = np.random.default_rng(0)
        tuning = rng.normal(size=(20, 30, 1))
        tuning[10:] = 0
        ds = xr.Dataset(
            {"response": (("cell", "scene", "trial"), tuning + rng.normal(size=(20, 30, 20)))},
            coords={"neuron_class": ("cell", ["excitatory", "inhibitory"] * 10)},
        )
        chosen = select_cells(ds, per_class=50, min_reliability=0.7, embedding="pca")
        assert chosen.sizes == {"cell": 10, "scene": 30, "trial": 20}
        np.testing.assert_array_equal(chosen["response"], ds["response"][:10])
        assert chosen.attrs["selection_unreliable_cells"] == 10

    def test_selecting_is_the_plan(self) -> None:
        ds = clustered()
        plan = plan_selection(ds, per_class=9, clusters=3, embedding="pca")
        chosen = select_cells(ds, per_class=9, clusters=3, embedding="pca")
        kept = plan["selected"].values
        np.testing.assert_array_equal(chosen["representation"], ds["representation"].values[kept])
        np.testing.assert_array_equal(chosen["embedding_x"], plan["embedding"].values[kept, 0])
        np.testing.assert_array_equal(chosen["cluster"], plan["cluster"].values[kept])
        assert chosen.attrs["kind"] == "tuning"
        assert chosen.attrs["selection_kept_excitatory"] == 9
        assert chosen.attrs["simulated"] == 1

    def test_mistakes(self) -> None:
        ds = clustered()
        with pytest.raises(InputError, match=r"'per_class' .* ≥ 1"):
            plan_selection(ds, per_class=0)
        with pytest.raises(InputError, match=r"'clusters' .* ≥ 1"):
            plan_selection(ds, clusters=0)
        with pytest.raises(InputError, match=r"'min_reliability' .* between -1 and 1"):
            plan_selection(ds, min_reliability=2)
        with pytest.raises(InputError, match="coordinate 'neuron_class'"):
            plan_selection(ds.drop_vars("neuron_class"))
        with pytest.raises(InputError, match="a coordinate 'reliability', when min_reliability"):
            plan_selection(ds.drop_vars("reliability"), min_reliability=0.1)
        with pytest.raises(InputError, match=r"'method' .* one of 'umap', 'pca'"):
            plan_selection(ds, embedding="tsne")  # type: ignore[arg-type]
        with pytest.raises(DataError, match=r"No cell is left.*Lower 'min_reliability'"):
            plan_selection(ds, min_reliability=1.0)


class TestEmbedding:
    @pytest.mark.parametrize("cells", [1, 2, 3, 4, 5, 11])
    @pytest.mark.parametrize("method", ["umap", "pca"])
    def test_few_cells(self, cells: int, method: Any) -> None:
        layout = embed_cells(np.random.default_rng(0).random((cells, 6)), method)
        assert layout.shape == (cells, 2)
        assert np.isfinite(layout).all()

    def test_principal_components_are_scikit_learns(self) -> None:
        from sklearn.decomposition import PCA

        values = np.random.default_rng(0).random((40, 9)).astype(np.float32)
        expected = PCA(2, svd_solver="full").fit_transform(values.astype(np.float64))
        np.testing.assert_allclose(np.abs(embed_cells(values, "pca")), np.abs(expected), atol=1e-9)
