"""A whole report's worth of synthetic tables, made from nothing but a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from reports import AttentionMaps, DensityPair, DomainImages, Examples, MapExample, ReportData

AREAS = ("VISp", "VISl", "VISal", "VISpm", "VISam", "VISrl")
GENOTYPES = {
    "Cux2-CreERT2": ("Cux2-1", "Cux2-2", "Cux2-3"),
    "Emx1-IRES-Cre": ("Emx1-1", "Emx1-2", "Emx1-3"),
    "Fezf2-CreER": ("Fezf2-1",),
    "Nr5a1-Cre": ("Nr5a1-1", "Nr5a1-2"),
    "Ntsr1-Cre_GN220": ("Ntsr1-1",),
    "Pvalb-IRES-Cre": ("Pvalb-1",),
    "Rbp4-Cre_KL100": ("Rbp4-1", "Rbp4-2"),
    "Rorb-IRES2-Cre": ("Rorb-1", "Rorb-2"),
    "Scnn1a-Tg3-Cre": ("Scnn1a-1", "Scnn1a-2"),
    "Slc17a7-IRES2-Cre": ("Slc17a7-1", "Slc17a7-2"),
    "Sst-IRES-Cre": ("Sst-1",),
    "Tlx3-Cre_PL56": ("Tlx3-1",),
    "Vip-IRES-Cre": ("Vip-1",),
}
INHIBITORY = ("Pvalb", "Sst", "Vip")
MODELS = {"resnet18": 6, "vgg11": 8, "vit_small": 5}
METRICS = ("rmse_mean", "rmse_nearest", "kde_iou_population", "kde_iou_unit")
SIDES = ("source", "target")
DIGITS = ("digits", "digits_m", "digits_inverted", "digits_low_contrast")


def make_cells(rng: np.random.Generator, per_genotype: int = 18) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for cre_line, genotypes in GENOTYPES.items():
        for genotype in genotypes:
            inhibitory = genotype.startswith(INHIBITORY)
            for k in range(per_genotype):
                rows.append(
                    {
                        "cell_specimen_id": 517_000_000 + len(rows),
                        "experiment_id": 501_000_000 + len(rows) // 9,
                        "donor_id": 2000 + 8 * (len(rows) // per_genotype) + k % 8,
                        "area": AREAS[k % 6],
                        "cre_line": cre_line,
                        "genotype": genotype,
                        "depth_um": int(rng.choice([175, 275, 375])),
                        "cortical_layer": str(rng.choice(["L2/3", "L4", "L5"])),
                        "neuron_class": "inhibitory" if inhibitory else "excitatory",
                        "reliability": float(np.clip(rng.beta(3, 4), 0, 1)) if k else np.nan,
                        "peak": float(rng.lognormal(2.6 if inhibitory else 3.2, 0.5)),
                        "time_to_peak": float(np.clip(rng.normal(0.34, 0.07), 0.07, 0.5)),
                        "degenerate": bool(rng.random() < 0.01),
                    }
                )
    return pd.DataFrame(rows)


def _groups(cells: pd.DataFrame) -> list[tuple[str, str, pd.Index]]:
    found = [("all", "all", cells.index)]
    for by in ("area", "cre_line", "genotype", "neuron_class"):
        found += [(by, str(name), members.index) for name, members in cells.groupby(by)]
    return found


def make_scores(rng: np.random.Generator, cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return similarity, paired and cell_scores, all from the same made-up scores of cells."""
    inhibitory = (cells["neuron_class"] == "inhibitory").to_numpy()
    area = cells["area"].map({name: 0.002 * k for k, name in enumerate(AREAS)}).to_numpy()
    own = 0.105 + 0.018 * inhibitory + area + rng.normal(0, 0.008, len(cells))
    similarity, paired, cell_scores = [], [], []
    for model, layers in MODELS.items():
        for layer in range(layers):
            level = own + 0.004 * (len(model) - 7) / 2 + 0.012 * abs(layer / layers - 0.4) + rng.normal(0, 0.002)
            effect = 0.006 + 0.004 * inhibitory + rng.normal(0, 0.003, len(cells))
            effect[(cells["genotype"] == "Fezf2-1").to_numpy()] *= -0.3
            variants = {"baseline": level, "neurn": level - effect}
            for variant, values in variants.items():
                cell_scores.append(
                    pd.DataFrame(
                        {
                            "model": model,
                            "layer_variant": variant,
                            "layer": f"stage{layer + 1}",
                            "representation": "weighted",
                            "cell": np.arange(len(cells)),
                            "rmse_mean": values,
                        }
                    )
                )
            for group_by, group, members in _groups(cells):
                for representation in ("weighted", "tuning"):
                    for metric in METRICS:
                        rmse_like = metric.startswith("rmse")
                        made = {name: (v if rmse_like else 1.0 - 4.0 * v)[members] for name, v in variants.items()}
                        half = 1.96 * 0.01 / np.sqrt(len(members))
                        key = {
                            "model": model,
                            "layer": f"stage{layer + 1}",
                            "layer_index": layer,
                            "representation": representation,
                            "group_by": group_by,
                            "group": group,
                            "metric": metric,
                        }
                        for name, values in made.items():
                            mean = float(values.mean())
                            similarity.append(
                                key
                                | {
                                    "layer_variant": name,
                                    "neurn": name == "neurn",
                                    "value": mean,
                                    "ci_low": mean - half,
                                    "ci_high": mean + half,
                                    "n_cells": len(members),
                                    "n_units": 64,
                                    "ceiling": 0.07,
                                }
                            )
                        difference = float((made["neurn"] - made["baseline"]).mean())
                        p = float(np.clip(np.exp(-abs(difference) * 900), 1e-3, 1))
                        paired.append(
                            key
                            | {
                                "difference": difference,
                                "ci_low": difference - 0.5 * half,
                                "ci_high": difference + 0.5 * half,
                                "p": p,
                                "q": min(1.0, 1.5 * p),
                            }
                        )
    return pd.DataFrame(similarity), pd.DataFrame(paired), pd.concat(cell_scores, ignore_index=True)


def make_ceilings(similarity: pd.DataFrame) -> pd.DataFrame:
    """Return a ceiling for every group and metric of the scores; one group has none, and says why."""
    places = ["representation", "group_by", "group", "metric", "n_cells"]
    table = similarity[places].drop_duplicates(places[:4], ignore_index=True)
    extra = table[table["metric"] == METRICS[0]].assign(metric="correlation")
    table = pd.concat([table, extra], ignore_index=True)
    level = np.where(table["metric"].str.startswith("rmse"), 0.06, 0.9)
    gone = (table["group"] == "Fezf2-1").to_numpy()
    table = table.assign(ceiling=np.where(gone, np.nan, level), halves=np.where(gone, np.nan, 0.8 * level))
    table = table.assign(ci_low=table["ceiling"] - 0.01, ci_high=table["ceiling"] + 0.01, n_donors=3, note="")
    return table.assign(reason=np.where(gone, "half of the trials leaves a representation without variation", ""))


def make_claims(paired: pd.DataFrame) -> pd.DataFrame:
    """Return the verdicts on the mean over layers and models of the paired differences."""
    from alignment.similarity import published_claims

    keys = ["representation", "group_by", "group", "metric"]
    numbers = ["difference", "ci_low", "ci_high", "p", "q"]
    rows = paired[paired["metric"].str.startswith("rmse")].groupby(keys, sort=False)[numbers].mean().reset_index()
    rows = rows.assign(n_cells=20, n_donors=8, baseline_value=0.12, variant_value=0.12 + rows["difference"])
    rows = rows.assign(p_least=0.0078125, n_clear=7, n_layers=38, others=-0.007, contrast_q=0.01, contrast_reason="")
    rows = rows.assign(contrast=rows["difference"] - rows["others"])
    rows = rows.assign(contrast_low=rows["contrast"] - 0.004, contrast_high=rows["contrast"] + 0.004)
    kinds = pd.DataFrame({"representation": ["weighted", "tuning"], "metric": "rmse_mean", "group_by": "neuron_class"})
    classes = kinds.assign(difference=-0.01, ci_low=-0.02, ci_high=-0.002, p=0.01, q=0.02, a_value=0.11, b_value=0.12)
    classes = classes.assign(n_clear=7, n_layers=38)
    judged = published_claims(rows, classes, simulated=True)
    judged = judged.assign(model="all models", layer_variant="neurn", note="")
    neurn = judged[judged["group"] == "excitatory − inhibitory"]
    return pd.concat([judged, neurn.assign(layer_variant="baseline")], ignore_index=True)


def make_transfer(rng: np.random.Generator, seeds: int = 3) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    gain = {"digits": -0.01, "digits_m": 0.25, "digits_inverted": 0.3, "digits_low_contrast": 0.12}
    shares = {("baseline", "plain"): 0.0, ("neurn", "plain"): 1.0, ("lcn", "plain"): 0.6, ("baseline", "randconv"): 0.8}
    for model in MODELS:
        for (variant, method), share in shares.items():
            for target in DIGITS:
                for seed in range(seeds):
                    base = 0.96 if target == "digits" else 0.35
                    accuracy = float(np.clip(base + share * gain[target] + rng.normal(0, 0.02), 0, 1))
                    rows.append(
                        {
                            "model": model,
                            "layer_variant": variant,
                            "method": method,
                            "source": "digits",
                            "target": target,
                            "seed": seed,
                            "accuracy": accuracy,
                            "n": 540,
                            "epochs": 12,
                            "seconds": 8.5,
                            "ci_low": max(0.0, accuracy - 0.03),
                            "ci_high": min(1.0, accuracy + 0.03),
                            "classes": 10,
                            "ece": 0.2 * (1 - accuracy),
                        }
                    )
    return pd.DataFrame(rows)


def make_floors(transfer: pd.DataFrame, neighbour: float = 0.2) -> pd.DataFrame:
    """Floors that every network passes: chance 0.1, and neighbours that are right in 0.2 of the images."""
    plain = transfer[transfer["method"] == "plain"]
    cell = ["model", "layer_variant", "source", "target"]
    table = plain.groupby(cell, sort=False)["accuracy"].mean().rename("network").reset_index()
    numbers = {"chance": 0.1, "nearest_neighbour": neighbour, "pixels": 16, "n": 540, "n_train": 1212}
    return table.assign(**numbers, below="", reference=table["layer_variant"] == "baseline", image_size=32)


def make_invariance(transfer: pd.DataFrame) -> pd.DataFrame:
    """NeuRN undoes the inversion; the faint copies stay a third as far apart; digits_m has no pairs."""
    plain = transfer[(transfer["method"] == "plain") & (transfer["source"] != transfer["target"])]
    table = plain[["model", "layer_variant", "source", "target"]].drop_duplicates()
    shares = {"digits_inverted": 1e-7, "digits_low_contrast": 0.33}
    share = table["target"].map(shares).where(table["layer_variant"] != "baseline", 1.0)
    share = share.where(table["target"].isin(shares))
    return table.assign(share=share, equal=share <= 0.01, images=256, reason="")


def make_transfer_tables(transfer: pd.DataFrame, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Return what follows from a transfer table, and confusions, bins and features that fit its accuracies."""
    from alignment.transfer import condition_differences, rank_variants, summarise_seeds

    if "method" not in transfer:
        transfer = transfer.assign(method="plain")
    place = ["model", "layer_variant", "method", "source", "target"]
    seeds = summarise_seeds(transfer)
    errors = transfer.groupby(place, sort=False)["ece"].agg(ece="mean", ece_sd="std").reset_index()
    found = {"transfer_seeds": seeds.merge(errors, on=place).assign(n=540), "transfer_ranks": rank_variants(transfer)}
    found["transfer_floors"] = make_floors(transfer)
    found["transfer_invariance"] = make_invariance(transfer)
    for name, over_models in (("transfer_paired", False), ("transfer_overall", True), ("transfer_judged", True)):
        parts = [
            condition_differences(transfer, reference, over_models=over_models).assign(reference=reference)
            for reference in ("baseline", "neurn")
        ]
        found[name] = pd.concat(parts, ignore_index=True)
    recall, confusion, bins, features = [], [], [], []
    for row in seeds.to_dict("records"):
        keys = {name: row[name] for name in place}
        for number in range(10):
            hit = int(np.clip(round(54 * row["mean"] + 4 * rng.normal()), 0, 54))
            recall.append(keys | {"class_name": str(number), "recall": hit / 54, "sd": 0.02, "seeds": 3, "n": 54})
            told = {number: 3 * hit, (number + 3) % 10: 162 - 3 * hit}
            confusion += [
                keys | {"true_class": str(number), "predicted_class": str(taken), "n": n, "seeds": 3}
                for taken, n in told.items()
                if n
            ]
        for place_of_bin in range(5, 15):
            sure = (place_of_bin + 0.5) / 15
            bins.append(
                keys
                | {"low": place_of_bin / 15, "high": (place_of_bin + 1) / 15, "n": 20 * place_of_bin}
                | {"confidence": sure, "right": 0, "accuracy": min(1.0, sure * (0.5 + row["mean"] / 2))}
            )
        if row["source"] != row["target"] and row["method"] == "plain":
            for layer in range(MODELS.get(row["model"], 4)):
                shift = (1.2 - row["mean"]) * (1 + 0.3 * layer)
                statistics = {f"{name}_{side}": 0.5 for name in ("mean", "sd", "active", "sparsity") for side in SIDES}
                features.append(
                    keys
                    | {"seed": 0, "layer": "input" if layer == 0 else f"stage{layer}", "layer_index": layer}
                    | {"distance": shift, "units": 8, "images_source": 200, "images_target": 200}
                    | statistics
                )
    made = {"recall": recall, "confusion": confusion, "calibration": bins, "features": features}
    return found | {f"transfer_{name}": pd.DataFrame(rows) for name, rows in made.items()}


def make_examples(rng: np.random.Generator) -> Examples:
    maps = [
        MapExample(rng.random((32, 32)), f"{area}, {genotype}", "neuron", neuron_class)
        for area, genotype, neuron_class in (
            ("VISp", "Cux2-1", "excitatory"),
            ("VISl", "Rorb-1", "excitatory"),
            ("VISpm", "Emx1-2", "excitatory"),
            ("VISp", "Pvalb-1", "inhibitory"),
            ("VISal", "Sst-1", "inhibitory"),
            ("VISrl", "Vip-1", "inhibitory"),
        )
    ]
    ramp = np.linspace(0, 1, 32)
    maps += [
        MapExample(
            np.outer(np.sin(6 * ramp * k), ramp) + 0.1 * rng.random((32, 32)),
            f"layer{k}, unit {7 * k}",
            "unit",
        )
        for k in range(1, 7)
    ]
    x = np.linspace(-0.3, 1.3, 256)

    def bump(centre: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((x - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))

    densities = []
    for best in (True, False):
        for k in range(3):
            neuron, unit = bump(0.5, 0.15), bump(0.52 if best else 0.1 + 0.02 * k, 0.16 if best else 0.06)
            iou = float(np.minimum(neuron, unit).sum() / np.maximum(neuron, unit).sum())
            labels = (f"VISp, Cux2-{k + 1}", f"resnet18 NeuRN, stage3, unit {k}")
            densities.append(DensityPair(x, neuron, unit, iou, best, *labels, "excitatory" if k else "inhibitory"))
    domains = [
        DomainImages(
            name,
            rng.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8),
            rng.random((6, 32, 32, 3)),
            list("012345"),
        )
        for name in DIGITS[:3]
    ]
    return Examples(maps, densities, domains)


def make_sessions(cells: pd.DataFrame) -> pd.DataFrame:
    grouped = cells.groupby("experiment_id")
    return pd.DataFrame(
        {
            "area": grouped["area"].first(),
            "cre_line": grouped["cre_line"].first(),
            "depth_um": grouped["depth_um"].first(),
            "cells": grouped.size(),
            "dropped_cells": grouped["degenerate"].sum().astype(int),
            "trials": 20,
            "missing_trials": 0,
            "reliability_median": grouped["reliability"].median(),
            "stationary_share": 0.61,
        }
    ).reset_index()


def make_embedding(rng: np.random.Generator, cells: pd.DataFrame) -> pd.DataFrame:
    shift = cells["area"].map({name: k for k, name in enumerate(AREAS)}).to_numpy()
    turn = np.stack([np.cos(shift), np.sin(shift)], axis=1) * 3
    points = turn + rng.normal(0, 1, (len(cells), 2))
    frame = cells[["area", "genotype", "neuron_class"]].assign(x=points[:, 0], y=points[:, 1])
    return frame.assign(kept=rng.random(len(cells)) < 0.6, cluster=rng.integers(0, 10, len(cells)))


ALL_SHIFTED = "all shifted"
FUSION_DESIGN = {
    "name": "the observatory", "images": 118, "units": 288, "kind": "ridge", "folds": 5, "features": 128,
    "grid": [4, 4], "layer": "relu3", "has_cls": False, "simulated": True, "rois": 3,
    "notes": ["2 cells were left out."], "encoder": "small_cnn", "classes": 20, "source": "cifar20",
    "reference": "image_only", "pearson": 0.1, "seeds": 3, "width": 32, "depth": 1, "heads": 4, "patch": 24,
}  # fmt: skip
FUSION_HEADS = {
    "cross_attention": ("cross_attention", "predicted", 0.30),
    "shuffled": ("cross_attention", "shuffled", 0.29),
    "projection": ("cross_attention", "projection", 0.31),
    "image_only": ("image", "predicted", 0.28),
    "linear": ("linear", "predicted", 0.25),
}
FUSION_TARGETS = {
    "cifar20": ("none", np.nan, 0.0),
    "cifar20.jpeg-1": ("jpeg", 1, -0.05),
    "cifar20.jpeg-5": ("jpeg", 5, -0.1),
    ALL_SHIFTED: (ALL_SHIFTED, np.nan, -0.075),
}


def make_fusion_parts(seeds: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = []
    for variant, (fuse, responses, level) in FUSION_HEADS.items():
        for target, (shift, severity, drop) in FUSION_TARGETS.items():
            for seed in range(seeds):
                row = {"variant": variant, "source": "cifar20", "target": target, "seed": seed, "fuse": fuse}
                row |= {"responses": responses, "pearson": 0.1, "shift": shift, "severity": severity, "n": 2000}
                row |= {"units": 288, "weights": 19500 if fuse != "linear" else 2580, "ece": 0.1, "seconds": 3.0}
                rows.append(row | {"accuracy": level + drop + 0.01 * rng.normal()})
    table = pd.DataFrame(rows)
    grouped = table.groupby(["variant", "target"], sort=False)
    means = pd.DataFrame({"mean": grouped["accuracy"].mean(), "sd": grouped["accuracy"].std(), "seeds": seeds})
    told = grouped[["fuse", "responses", "pearson", "units", "weights", "shift", "severity", "ece", "n"]].first()
    wide = means["mean"].unstack("target")
    paired = [
        {"variant": variant, "target": target, "reference": "image_only", "seeds": seeds, "p": 0.04, "q": 0.06,
         "difference": wide.loc[variant, target] - wide.loc["image_only", target], "ci_low": -0.02, "ci_high": 0.06}
        for variant in FUSION_HEADS if variant != "image_only" for target in FUSION_TARGETS
    ]  # fmt: skip
    encoder = pd.DataFrame(
        {
            "roi": ["VISp Cux2", "VISl Sst", "VISam Vip"],
            "neuron_class": ["excitatory", "inhibitory", "inhibitory"],
            "units": [20, 10, 5],
            "r": [0.31, 0.22, -0.02],
            "r_sd": [0.1, 0.1, np.nan],
            "ceiling": [0.6, 0.5, np.nan],
            "r2": [0.08, 0.03, -0.2],
            "worse_than_mean": [False, False, True],
        }
    )
    images = rng.integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    maps = rng.random((4, 4, 4)).astype(np.float32)
    maps /= maps.sum(axis=(1, 2), keepdims=True)
    return {
        "fusion": table,
        "fusion_seeds": means.join(told).reset_index(),
        "fusion_paired": pd.DataFrame(paired),
        "fusion_encoder": encoder,
        "fusion_design": FUSION_DESIGN,
        "attention": [AttentionMaps("cross_attention", images, maps, list("abcd"))],
    }


def make_report(seed: int = 0) -> ReportData:
    rng = np.random.default_rng(seed)
    cells = make_cells(rng)
    similarity, paired, cell_scores = make_scores(rng, cells)
    quantile = np.linspace(0.01, 0.99, 50)
    names = list(MODELS)
    transfer = make_transfer(rng)
    score = np.array([[20, 3, -8], [3, 18, -6], [-8, -6, 30]])
    parts: dict[str, Any] = {
        "name": "synthetic",
        "title": "Three networks beside simulated mouse visual cortex",
        "sentence": "Three small networks, with and without NeuRN in front, are compared with the "
        "responses of cells "
        "of six visual areas to 118 natural scenes, and tried on digits that they were not trained on.",
        "simulated": True,
        "study_yaml": "name: synthetic\nmodels: [resnet18, vgg11, vit_small]\nseed: 0\n",
        "command": "nalign run studies/synthetic.yaml",
        "origin": "24 sessions of a documented model of Gabor energy units, written as Allen files (seed 0).",
        "similarity": similarity,
        "paired": paired,
        "ceilings": make_ceilings(similarity),
        "claims": make_claims(paired),
        "cell_scores": cell_scores,
        "cells": cells,
        "transfer": transfer,
        **make_transfer_tables(transfer, np.random.default_rng(seed + 1)),
        "protocol": "Training images: digits 1,347. Test images, looked at once, at the end: digits 540.",
        **make_fusion_parts(),
        "sessions": make_sessions(cells),
        "marginals": pd.DataFrame(
            {
                "quantity": np.repeat(["single-trial dF/F (%)", "split-half reliability"], 50),
                "quantile": np.tile(quantile, 2),
                "simulated": np.concatenate([-np.log1p(-quantile) * 9 - 4, quantile**1.1]),
                "real": np.concatenate([-np.log1p(-quantile) * 10 - 4, quantile]),
            }
        ),
        "embedding": make_embedding(rng, cells),
        "examples": make_examples(rng),
        "architectures": xr.Dataset(
            {
                "score": (("model", "other"), score),
                "correlation": (("model", "other"), np.corrcoef(score)),
            },
            coords={"model": names, "other": names},
            attrs={"match": 1, "mismatch": -2, "gap": -2},
        ),
        "provenance": [
            {
                "stage": stage,
                "key": f"{k:064x}",
                "version": "1",
                "seconds": 1.5 * k,
                "device": "cpu",
                "seed": 0,
                "packages": {"numpy": "1.23.5", "torch": "2.13.0"},
            }
            for k, stage in enumerate(("responses", "representations", "activations", "similarity", "transfer"), 1)
        ],
        "notes": ["Three cells of 396 were constant and are left out."],
    }
    return ReportData(**parts)


@pytest.fixture(scope="session")
def make_fusion() -> Callable[..., dict[str, Any]]:
    """``make_fusion(seeds=3)``: the parts of a report that are about fusion."""
    return make_fusion_parts


@pytest.fixture(scope="session")
def report_data() -> ReportData:
    """One synthetic study, shared by tests that only read it."""
    return make_report()


@pytest.fixture(scope="session")
def build_report(report_data: ReportData) -> Callable[..., ReportData]:
    """Return the synthetic study with some parts changed; tables that are not changed are shared."""

    def build(**changes: Any) -> ReportData:
        return dataclasses.replace(report_data, **changes)

    return build
