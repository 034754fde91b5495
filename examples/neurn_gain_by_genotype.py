"""By how much NeuRN brings each network closer to each genotype, on average over its layers.

Run it with ``python examples/neurn_gain_by_genotype.py runs/demo``.
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from reports.style import class_colour

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
paired = pd.read_csv(run / "tables" / "paired.csv")
kind = paired["representation"].iloc[0]
chosen = paired.query(
    "group_by == 'genotype' and metric == 'rmse_mean' and layer_variant == 'neurn' and representation == @kind"
)
if chosen.empty:
    sys.exit(f"{run} has no NeuRN and baseline scores by genotype: add genotype to similarity.group_by.")

# One row a network and genotype: the mean over the network's layers, and how many of them q tells apart from zero.
gain = chosen.assign(significant=chosen["q"] < 0.05).groupby(["model", "group"], sort=False)
table = gain.agg(difference=("difference", "mean"), significant=("significant", "sum"), layers=("layer", "nunique"))
print(table.round(4).to_string())

cells = pd.read_csv(run / "tables" / "cells.csv")
classes = cells.groupby("genotype")["neuron_class"].first()
models = list(dict.fromkeys(chosen["model"]))
figure = Figure(figsize=(2.4 + 2.2 * len(models), 5), layout="constrained")
for axes, model in zip(figure.subplots(1, len(models), sharey=True, squeeze=False)[0], models, strict=True):
    own = table.loc[model].sort_index()
    axes.barh(own.index, own["difference"], color=[class_colour(classes.get(name)) for name in own.index])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(title=model, xlabel="RMSE, NeuRN − baseline (< 0: closer)")
figure.suptitle(("SIMULATED neurons; " if cells["simulated"].any() else "") + "blue: excitatory, orange: inhibitory")
figure.savefig(run / "example_neurn_gain_by_genotype.png", dpi=150)
print(run / "example_neurn_gain_by_genotype.png")
