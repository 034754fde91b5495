"""Stages on the cortical side: an observatory's files to responses, a population and its representations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neural_alignment import DataError
from pipelines.perform import Context, Inputs

__all__ = ["observatory", "population", "representations", "resemblance", "responses", "scenes"]


# Of the test for a response to any scene: p as low as 0.001.
PERMUTATIONS = 999


def observatory(inputs: Inputs, params: Mapping[str, Any], context: Context, folder: Path) -> None:
    """Write a simulated observatory into ``folder``."""
    from alignment.brain.simulated import simulate_observatory

    del inputs
    simulate_observatory(folder, **params, progress=context.tell)


def resemblance(inputs: Inputs, params: Mapping[str, Any], context: Context) -> pd.DataFrame:
    """Compare the marginal statistics of simulated excitatory cells with those known of real ones."""
    from alignment.brain.simulated import resemblance as compare

    del params, context
    return compare(inputs.folder("observatory"))


def responses(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Read one session: trial responses per cell and scene, with its quality counts."""
    from alignment.brain import quality_by_cell, quality_table, trial_responses

    session = _session(inputs, params, context)
    chosen = {name: params[name] for name in ("stationary_below", "unusable") if name in params}
    data = trial_responses(session, window=tuple(params["window"]), method=params["method"], **chosen)
    data = _with_catalogue(data, params["experiment"])
    cells = quality_by_cell(data, seed=params["seed"], permutations=PERMUTATIONS)
    data = data.assign_coords(
        reliability=("cell", cells["reliability"].to_numpy(np.float32)),
        responsive_p=("cell", cells["responsive_p"].to_numpy(np.float32)),
    )
    return {"responses": data, "quality": quality_table(data, cells)}


def scenes(inputs: Inputs, params: Mapping[str, Any], context: Context) -> xr.Dataset:
    """Resize the natural scenes of one session to every size the study needs: ``scenes_HxW`` (scene, y, x), 0 to 1."""
    from alignment.brain import resize_scenes

    template = _session(inputs, params, context).scenes()
    sizes = [tuple(size) for size in params["sizes"]]
    variables = {
        f"scenes_{h}x{w}": (("scene", f"y_{h}x{w}", f"x_{h}x{w}"), resize_scenes(template, (h, w))) for h, w in sizes
    }
    return xr.Dataset(variables, coords={"scene": np.arange(len(template))})


def population(inputs: Inputs, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Join sessions along cells, drop the unreliable if asked, select the most central if asked."""
    from alignment.brain import join_sessions, plan_selection, select_cells

    parts = []
    names = inputs.names()
    for done, name in enumerate(names):
        context.tell(done, len(names), name)
        parts.append(inputs[name])
    quality = pd.concat([part["quality"] for part in parts], ignore_index=True)
    data = join_sessions([part["responses"] for part in parts])
    threshold = params["min_reliability"]
    if threshold is not None:
        keep = data["reliability"].values >= threshold
        if not keep.any():
            raise DataError(
                f"None of {data.sizes['cell']} cells has a split-half reliability of at least {threshold}. "
                "Lower responses.min_reliability in the study."
            )
        data = data.isel(cell=np.flatnonzero(keep))
    if not params["select"]:
        return {"responses": data, "quality": quality}
    plan = plan_selection(data, per_class=params["per_class"], clusters=params["clusters"], seed=params["seed"])
    chosen = select_cells(data, plan=plan).assign_attrs(selection_note=_selection_note(plan))
    return {"responses": chosen, "quality": quality, "embedding": _embedding(plan)}


def representations(inputs: Inputs, params: Mapping[str, Any], context: Context) -> xr.Dataset:
    """Represent every cell of the population as DESIGN's ``weighted``, ``matched`` or ``tuning`` vector."""
    from alignment.brain import represent

    del context
    height, width = params["grid"]
    images = inputs["scenes"][f"scenes_{height}x{width}"].values
    return represent(inputs["population"]["responses"], images, kind=params["kind"], grid=(height, width))


def _embedding(plan: xr.Dataset) -> pd.DataFrame:
    """Return one row for each cell that selection could choose from: its place, its group and whether it was kept."""
    layout = plan["embedding"].values
    table = pd.DataFrame(
        {
            "x": layout[:, 0],
            "y": layout[:, 1],
            **{name: plan[name].values for name in ("area", "genotype", "neuron_class", "cluster")},
            "kept": plan["selected"].values,
        }
    )
    return table[np.isfinite(layout).all(axis=1)].reset_index(drop=True)


def _selection_note(plan: xr.Dataset) -> str:
    """Say how many cells of each class were kept, and where there were fewer than the study asks for."""
    wanted = plan.attrs["per_class"]
    said = []
    for name in ("excitatory", "inhibitory"):
        kept, held = plan.attrs[f"kept_{name}"], plan.attrs[f"available_{name}"]
        short = f", fewer than the {wanted:,} asked for" if plan.attrs[f"short_{name}"] else ""
        said.append(f"{kept:,} of {held:,} {name} cells{short}")
    return f"The most central cells of each cluster were kept: {'; '.join(said)}."


def _session(inputs: Inputs, params: Mapping[str, Any], context: Context) -> Any:
    from alignment.brain.observatory import Observatory

    folder = inputs.folder("observatory") if "observatory" in inputs else Path(context.where["folder"])
    session = Observatory(folder, reader=context.where.get("reader", "auto")).session(int(params["experiment_id"]))
    context.notes["reader"] = session.reader.name
    return session


def _with_catalogue(data: xr.Dataset, experiment: Mapping[str, Any]) -> xr.Dataset:
    """Let the catalogue's words (labels counted over the whole catalogue) stand over the file's own."""
    from alignment.brain.catalogue import EXPERIMENT_COORDINATES

    cells = data.sizes["cell"]
    known = {
        name: ("cell", np.repeat(np.asarray([experiment[name]]), cells))
        for name in EXPERIMENT_COORDINATES
        if name in experiment
    }
    return data.assign_coords(known)
