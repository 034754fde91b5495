"""The tables beside the page: everything a study handed over, as CSV and as Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .data import TABLES, ReportData

__all__ = ["FROM_NEURONS", "export_tables"]

FROM_NEURONS = (
    "similarity",
    "paired",
    "ceilings",
    "claims",
    "cells",
    "cell_scores",
    "sessions",
    "marginals",
    "embedding",
    "rsa",
    "rsa_best",
    "rsa_differences",
    "rsa_twins",
    "fusion",
    "fusion_seeds",
    "fusion_paired",
    "fusion_encoder",
)
"""Tables made from neurons: their files carry a ``simulated`` column, so that a copy still says so; of matrices without
their neurons, the declared ``origin``."""


def export_tables(data: ReportData, folder: Path) -> list[Path]:
    """Write every table that holds a row to ``folder``, as CSV and as Parquet, and return the paths.

    Parameters
    ----------
    data : ReportData
        The study's tables.
    folder : pathlib.Path
        Where to; made if missing.

    Returns
    -------
    list of pathlib.Path
        Two files a table, of the same rows and columns; ``architectures`` becomes one row a pair of models.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in TABLES:
        if not data.has(name):
            continue
        frame = data.table(name)
        if name in FROM_NEURONS and "simulated" not in frame.columns:
            # Of populations that are known by matrices alone, only what the study declares can be said.
            known = data.has_neurons or data.simulated
            frame = frame.assign(simulated=data.simulated) if known else frame.assign(origin=data.origin)
        written += _write(frame, folder / name)
    if data.architectures is not None:
        written += _write(_architecture_rows(data), folder / "architectures")
    return written


def _write(frame: pd.DataFrame, path: Path) -> list[Path]:
    text, binary = path.with_suffix(".csv"), path.with_suffix(".parquet")
    frame.to_csv(text, index=False, float_format="%.8g", encoding="utf-8", lineterminator="\n")
    _typed(frame).to_parquet(binary, index=False)
    return [text, binary]


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column one type, which Parquet asks for: words beside numbers become words, as in CSV."""
    mixed = {
        name: frame[name].map(lambda value: value if pd.isna(value) else str(value))
        for name in frame.columns
        if pd.api.types.infer_dtype(frame[name], skipna=True).startswith("mixed")
    }
    return frame.assign(**mixed)


def _architecture_rows(data: ReportData) -> pd.DataFrame:
    assert data.architectures is not None
    parts = []
    for name in ("score", "correlation"):
        values = data.architectures[name]
        names = [str(model) for model in values.coords[values.dims[0]].values]
        wide = pd.DataFrame(values.values, index=names, columns=names)
        parts.append(wide.rename_axis("model_a").melt(ignore_index=False, var_name="model_b", value_name=name))
    first, second = (part.reset_index() for part in parts)
    return first.merge(second, on=["model_a", "model_b"])
