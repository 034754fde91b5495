"""Populations of cells: groups by any coordinate, and the selection of reliable, typical ones."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from alignment._validation import check_choice, check_integer, check_name, check_number, fail
from alignment.brain.catalogue import AREAS, LAYERS, NEURON_CLASSES
from alignment.brain.quality import split_half_reliability
from alignment.brain.representations import represent
from neural_alignment import DataError

__all__ = ["embed_cells", "group_cells", "plan_selection", "select_cells"]

IndexArray = npt.NDArray[np.int64]
Embedding = Literal["umap", "pca"]

# Groups with an order of their own; all others are sorted.
_ORDERS = {"area": AREAS, "cortical_layer": LAYERS, "neuron_class": NEURON_CLASSES}


def group_cells(ds: xr.Dataset, by: str | tuple[str, ...] = "area") -> dict[str, IndexArray]:
    """Group cells by a coordinate or by several together.

    Parameters
    ----------
    ds : xarray.Dataset
        With cells' coordinates: responses, representations or a selection.
    by : str or tuple of str
        For example ``"area"``, ``"genotype"`` or ``("area", "cre_line")``.

    Returns
    -------
    dict of str to (n,) int array
        Group to the indices of its cells. Areas, layers and classes come in anatomical order, others sorted;
        a group of several coordinates is named ``"VISp × Sst-IRES-Cre"``.

    Raises
    ------
    InputError
        For a coordinate that the cells do not have.

    Examples
    --------
    >>> import xarray as xr
    >>> ds = xr.Dataset(coords={"area": ("cell", ["VISl", "VISp", "VISl"])})
    >>> group_cells(ds, "area")
    {'VISp': array([1]), 'VISl': array([0, 2])}
    """
    names = (by,) if isinstance(by, str) else tuple(by)
    if not names:
        raise fail("by", "group_cells", "a coordinate or several", by)
    known = [str(name) for name, values in ds.coords.items() if values.dims == ("cell",)]
    for name in names:
        check_name(name, "coordinate of cells", known)
    keys = list(zip(*(ds[name].values.tolist() for name in names), strict=True))
    members: dict[tuple[Any, ...], list[int]] = {}
    for cell, key in enumerate(keys):
        members.setdefault(key, []).append(cell)
    ranked = sorted(members, key=lambda key: tuple(_rank(name, value) for name, value in zip(names, key, strict=True)))
    return {" × ".join(str(value) for value in key): np.asarray(members[key]) for key in ranked}


def _rank(name: str, value: Any) -> tuple[int, Any]:
    order = _ORDERS.get(name, ())
    return (order.index(value), "") if value in order else (len(order), value)


def embed_cells(vectors: Any, method: Embedding = "umap", seed: int = 0) -> npt.NDArray[np.float64]:
    """Lay cells out in the plane by their representations.

    Parameters
    ----------
    vectors : (cell, feature) array
    method : {"umap", "pca"}
        UMAP as published; principal components where its minute of compilation is not worth it.
    seed : int
        The same seed gives the same layout.

    Returns
    -------
    (cell, 2) float64 array
    """
    check_choice(method, "method", "embed_cells", ("umap", "pca"))
    values = np.asarray(vectors, dtype=np.float32)
    if method == "pca" or len(values) < 4:
        # Below four cells UMAP has no neighbourhood graph to speak of.
        centred = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
        left, strength, _ = np.linalg.svd(centred, full_matrices=False)
        flat = np.zeros((len(values), 2))
        flat[:, : min(2, left.shape[1])] = (left * strength)[:, :2]
        return flat
    import umap

    # Spectral initialisation needs more cells than the dimensions it finds.
    layout = umap.UMAP(
        n_neighbors=min(15, len(values) - 1),
        random_state=seed,
        n_jobs=1,
        init="spectral" if len(values) > 10 else "random",
    ).fit_transform(values)
    return np.asarray(layout, dtype=np.float64)


def plan_selection(
    ds: xr.Dataset,
    per_class: int = 500,
    clusters: int = 10,
    seed: int = 0,
    min_reliability: float | None = None,
    *,
    embedding: Embedding = "umap",
) -> xr.Dataset:
    """Decide which reliable and typical cells of each class to keep (arXiv 2505.06886).

    Cells below the reliability asked for and degenerate ones are left out. The others are laid out in the
    plane by UMAP; in each class (excitatory, inhibitory) k-means finds the clusters, and of each cluster the
    most central cells are kept, ``per_class / clusters`` of them. Where a cluster is short, the next most
    central cells of the class's other clusters take its places; where the whole class is short, all of its
    cells are kept.

    Parameters
    ----------
    ds : xarray.Dataset
        Representations, or responses (which are then represented by their tuning), with ``neuron_class``.
    per_class : int
        Cells to keep of each class.
    clusters : int
        Clusters in each class.
    seed : int
        Of UMAP, k-means and the split halves.
    min_reliability : float, optional
        Least split-half reliability. Responses bring their own; representations need a coordinate
        ``reliability``.
    embedding : {"umap", "pca"}
        See `embed_cells`.

    Returns
    -------
    xarray.Dataset
        By cell, all cells of `ds`: ``selected`` (bool), ``cluster`` (-1 for cells left out), ``embedding``
        (cell, axis; NaN for cells left out), ``reliability`` where known, and the cells' coordinates.
        Attributes: the parameters, unreliable_cells, degenerate_cells, and for each class kept_CLASS,
        available_CLASS and short_CLASS (how many are missing to `per_class`).

    Raises
    ------
    InputError
        For a parameter out of its limits.
    DataError
        If no cell is left.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> cells = np.random.default_rng(0).random((40, 8))
    >>> ds = xr.Dataset({"representation": (("cell", "scene"), cells)},
    ...                 coords={"neuron_class": ("cell", ["excitatory", "inhibitory"] * 20)})
    >>> plan = plan_selection(ds, per_class=5, clusters=2, embedding="pca")
    >>> int(plan["selected"].sum()), plan.attrs["short_inhibitory"]
    (10, 0)
    """
    per_class = check_integer(per_class, "per_class", "select_cells", low=1)
    clusters = check_integer(clusters, "clusters", "select_cells", low=1)
    if "neuron_class" not in ds.coords:
        raise fail("ds", "select_cells", "a data set with the coordinate 'neuron_class'", sorted(map(str, ds.coords)))
    reliability = _reliability(ds, seed, min_reliability)
    vectors, degenerate = _vectors(ds)
    unreliable = np.zeros(len(vectors), dtype=bool)
    if min_reliability is not None and reliability is not None:
        limit = check_number(min_reliability, "min_reliability", "select_cells", low=-1, high=1)
        unreliable = ~(reliability >= limit)
    usable = np.flatnonzero(~degenerate & ~unreliable)
    if not len(usable):
        raise DataError(
            f"No cell is left to select from: of {len(vectors)}, {int(unreliable.sum())} are less reliable than "
            f"{min_reliability} and {int(degenerate.sum())} degenerate. Lower 'min_reliability' or add sessions."
        )
    layout = np.full((len(vectors), 2), np.nan)
    layout[usable] = embed_cells(vectors[usable], embedding, seed)
    cluster, selected, counts = _by_class(ds["neuron_class"].values, usable, layout, per_class, clusters, seed)
    variables: dict[str, Any] = {
        "selected": ("cell", selected),
        "cluster": ("cell", cluster),
        "embedding": (("cell", "axis"), layout),
    }
    if reliability is not None:
        variables["reliability"] = ("cell", reliability)
    coordinates = {
        name: values for name, values in ds.coords.items() if values.dims == ("cell",) and name not in variables
    }
    return xr.Dataset(
        variables,
        coords=coordinates,
        attrs={
            "simulated": int(ds.attrs.get("simulated", 0)),
            "per_class": per_class,
            "clusters": clusters,
            "seed": seed,
            "min_reliability": "" if min_reliability is None else float(min_reliability),
            "embedding_method": embedding,
            "unreliable_cells": int(unreliable.sum()),
            "degenerate_cells": int(degenerate.sum()),
            **counts,
        },
    )


def select_cells(
    ds: xr.Dataset,
    per_class: int = 500,
    clusters: int = 10,
    seed: int = 0,
    min_reliability: float | None = None,
    *,
    embedding: Embedding = "umap",
    plan: xr.Dataset | None = None,
) -> xr.Dataset:
    """Keep the reliable and typical cells of each class that `plan_selection` decides on.

    Parameters
    ----------
    ds : xarray.Dataset
        Representations or responses, with the coordinate ``neuron_class``.
    per_class, clusters, seed, min_reliability, embedding
        See `plan_selection`.
    plan : xarray.Dataset, optional
        What `plan_selection` decided for `ds`, where that is at hand; the other parameters then count for nothing.

    Returns
    -------
    xarray.Dataset
        `ds` with the cells kept, in their order, and the coordinates ``cluster``, ``embedding_x`` and
        ``embedding_y`` by cell. Attributes: those of `ds`, and the counts of `plan_selection` with
        ``selection_`` before their names.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> cells = np.random.default_rng(0).random((40, 8))
    >>> ds = xr.Dataset({"representation": (("cell", "scene"), cells)},
    ...                 coords={"neuron_class": ("cell", ["excitatory", "inhibitory"] * 20)})
    >>> select_cells(ds, per_class=5, clusters=2, embedding="pca").sizes["cell"]
    10
    """
    if plan is None:
        plan = plan_selection(ds, per_class, clusters, seed, min_reliability, embedding=embedding)
    elif plan.sizes.get("cell") != ds.sizes["cell"]:
        raise fail("plan", "select_cells", f"made for the same {ds.sizes['cell']} cells", dict(plan.sizes))
    kept = np.flatnonzero(plan["selected"].values)
    layout = plan["embedding"].values[kept]
    chosen = ds.isel(cell=kept).assign_coords(
        cluster=("cell", plan["cluster"].values[kept]),
        embedding_x=("cell", layout[:, 0]),
        embedding_y=("cell", layout[:, 1]),
    )
    counts = {f"selection_{name}": value for name, value in plan.attrs.items() if name != "simulated"}
    return chosen.assign_attrs({**ds.attrs, **counts})


def _by_class(
    classes: npt.NDArray[Any],
    usable: IndexArray,
    layout: npt.NDArray[np.float64],
    per_class: int,
    clusters: int,
    seed: int,
) -> tuple[IndexArray, npt.NDArray[np.bool_], dict[str, int]]:
    """Cluster of every cell, which are kept, and how many of each class were there, kept and missing."""
    cluster = np.full(len(classes), -1)
    selected = np.zeros(len(classes), dtype=bool)
    counts: dict[str, int] = {}
    for name in NEURON_CLASSES:
        members = usable[classes[usable] == name]
        if len(members):
            cluster[members], keep = _most_central(layout[members], per_class, clusters, seed)
            selected[members[keep]] = True
        counts[f"available_{name}"] = len(members)
        counts[f"kept_{name}"] = min(per_class, len(members))
        counts[f"short_{name}"] = max(0, per_class - len(members))
    return cluster, selected, counts


def _most_central(
    layout: npt.NDArray[np.float64], wanted: int, clusters: int, seed: int
) -> tuple[IndexArray, IndexArray]:
    """Cluster of every cell, and the indices of the cells to keep."""
    from sklearn.cluster import KMeans

    count = min(clusters, len(layout))
    fit = KMeans(n_clusters=count, n_init=10, random_state=seed).fit(layout)
    labels = np.asarray(fit.labels_, dtype=np.int64)
    distance = np.linalg.norm(layout - fit.cluster_centers_[labels], axis=1)
    # Each cell's place in its cluster by distance from the centre: going through the places round by round
    # gives every cluster its share, and hands what a short cluster leaves to the next most central cells of
    # the others.
    order = np.lexsort((distance, labels))
    place = np.empty(len(layout), dtype=np.int64)
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    place[order] = np.arange(len(layout)) - np.repeat(starts, np.diff(np.append(starts, len(layout))))
    return labels, np.sort(np.lexsort((distance, place))[:wanted])


def _reliability(ds: xr.Dataset, seed: int, wanted: float | None) -> npt.NDArray[np.float64] | None:
    if "reliability" in ds.variables:
        return np.asarray(ds["reliability"].values, dtype=np.float64)
    if "response" in ds.variables and ds.sizes["trial"] >= 2:
        return split_half_reliability(ds, seed=seed)
    if wanted is not None:
        raise fail(
            "ds",
            "select_cells",
            "responses, or representations with a coordinate 'reliability', when min_reliability is given",
            sorted(map(str, ds.variables)),
        )
    return None


def _vectors(ds: xr.Dataset) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    if "representation" not in ds.variables:
        if "response" not in ds.variables:
            raise fail("ds", "select_cells", "representations or responses", sorted(map(str, ds.variables)))
        ds = represent(ds, kind="tuning")
    values = ds["representation"].values
    flat = values.reshape(len(values), -1)
    degenerate = ds["degenerate"].values if "degenerate" in ds.variables else np.ptp(flat, axis=1) == 0
    return flat, np.asarray(degenerate, dtype=bool)
