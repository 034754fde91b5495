"""Inhibitory beside excitatory cells, area by area; above zero the networks are closer to the excitatory ones.

Run it with ``python examples/inhibition_by_area.py runs/demo``.
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from alignment.similarity import benjamini_hochberg
from neural_alignment import InputError
from pipelines import compare_run

run = sys.argv[1] if len(sys.argv) > 1 else "runs/demo"
rows = []
for area in ("VISp", "VISl", "VISal", "VISpm", "VISam", "VISrl"):
    sides = (f"area:{area}+class:inhibitory", f"area:{area}+class:excitatory")
    try:
        found = compare_run(run, *sides, layer="best", metric="rmse_mean")
    except InputError as error:  # an area without cells of one class
        print(f"{area}: {error}")
        continue
    rows.append(found.table.assign(area=area))
if not rows:
    sys.exit("No area of this run has cells of both classes.")

table = pd.concat(rows, ignore_index=True)
table["q"] = benjamini_hochberg(table["p"])  # over all areas and networks together
columns = ["area", "model", "layer_variant", "a_cells", "b_cells", "difference", "ci_low", "ci_high", "q"]
print(table[columns].round(4).to_string(index=False))

figure = Figure(figsize=(7, 0.8 + 0.25 * len(table)), layout="constrained")
axes = figure.subplots()
spread = [table["difference"] - table["ci_low"], table["ci_high"] - table["difference"]]
axes.errorbar(table["difference"], range(len(table)), xerr=spread, fmt="o", color="black")
axes.axvline(0, color="grey", linestyle="--")
axes.set_yticks(range(len(table)), table["area"] + ", " + table["model"] + ", " + table["layer_variant"])
axes.invert_yaxis()
axes.set_xlabel("RMSE, inhibitory − excitatory")
axes.set_title("SIMULATED neurons" if table["simulated"].any() else "Recorded neurons")
figure.savefig(Path(run) / "example_inhibition_by_area.png", dpi=150)
print(Path(run) / "example_inhibition_by_area.png")
