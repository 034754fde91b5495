"""Two groups of cells of a run beside each other: to which of them do the networks come closer.

Run it with ``python examples/compare_genotypes.py runs/demo Sst-1 Vip-1``.
"""

import sys
from pathlib import Path

from pipelines import compare_run
from reports.figures import compare_figure
from reports.style import to_png

run, a, b = [*sys.argv[1:], *("runs/demo", "Sst-1", "Vip-1")[len(sys.argv) - 1 :]][:3]

# The layer is chosen on one half of the scenes and scored on the other. Any group of cells can stand on a side:
# "class:inhibitory", "area:VISp+class:excitatory", "cre_line:Cux2-CreERT2", "all".
found = compare_run(run, a, b, layer="best", metric=["rmse_mean", "rmse_nearest"])

simulated = bool(found.parameters["simulated"])
print("SIMULATED neurons" if simulated else "Recorded neurons")
columns = ["model", "layer_variant", "layer", "metric", "difference", "ci_low", "ci_high", "p", "q"]
print(found.table[columns].round(4).to_string(index=False))
for note in found.table["note"].unique():
    print("note:", note or "none")

drawing = compare_figure(found.table, a, b, simulated=simulated)
picture = Path(run) / f"example_{a}_{b}.png".replace(":", "-")
picture.write_bytes(to_png(drawing.figure))
print(picture)
