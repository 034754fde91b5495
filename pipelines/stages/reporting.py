"""The last stage: gather a study's tables and examples, and write the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.config import LayerConfig
from pipelines.perform import Context, Inputs
from pipelines.stages.gather.alignment import gather_alignment
from pipelines.stages.gather.examples import gather_examples
from pipelines.stages.gather.fusion import gather_fusion
from pipelines.stages.gather.provenance import gather_provenance
from pipelines.stages.gather.rsa import gather_rsa
from pipelines.stages.gather.transfer import gather_transfer

__all__ = ["report"]

SIMULATED_ORIGIN = (
    "The neurons are SIMULATED: Gabor energy units with divisive normalisation, written in the Allen Institute's file "
    "formats. They show that the analysis works; they say nothing about mice."
)
ALLEN_ORIGIN = (
    "Two-photon calcium imaging from the Allen Brain Observatory, Visual Coding "
    "(© Allen Institute for Brain Science, https://observatory.brain-map.org/visualcoding)."
)


def report(inputs: Inputs, params: Mapping[str, Any], context: Context, folder: Path) -> None:
    """Write ``report.html``, ``report.pdf``, ``figures/`` and ``tables/`` into ``folder``.

    Where no PDF can be made here all the rest is written, and the provenance says why (``pdf_obstacle``).
    """
    from reports import ReportData, pdf_obstacle, write_report

    study = params["study"]
    aligned = "population" in inputs
    simulated = aligned and bool(inputs["population"]["responses"].attrs["simulated"])
    context.tell(0, 3, "tables")
    parts = gather_alignment(inputs, study) if aligned else {}
    compared = gather_rsa(inputs, study)
    origin = (SIMULATED_ORIGIN if simulated else ALLEN_ORIGIN) if aligned else compared.pop("origin", "")
    moved = gather_transfer(inputs, study)
    notes = [*parts.pop("notes", ()), *moved.pop("notes", ())]
    context.tell(1, 3, "examples")
    data = ReportData(
        name=study["name"],
        title=study["title"],
        sentence=_sentence(inputs, study, parts, bool(moved)),
        simulated=simulated,
        origin=origin,
        study_yaml=yaml.safe_dump(study, sort_keys=False, allow_unicode=True, width=100),
        command="nalign run study.yaml",
        examples=gather_examples(inputs, study),
        architectures=inputs["architectures"]["similarity"] if "architectures" in inputs else None,
        provenance=gather_provenance(inputs),
        notes=notes,
        **parts,
        **compared,
        **moved,
        **gather_fusion(inputs, study),
    )
    context.tell(2, 3, "pages")
    obstacle = pdf_obstacle()
    if obstacle:
        context.notes["pdf_obstacle"] = obstacle
    write_report(data, folder, pdf=not obstacle)


def _sentence(inputs: Inputs, study: Mapping[str, Any], parts: Mapping[str, Any], transfer: bool) -> str:
    models = ", ".join(model["label"] or model["name"] for model in study["models"])
    listed = [LayerConfig.model_validate(layer).key for layer in study["layer_variants"]]
    said = [f"{models}, {_variants(listed)}"]
    if parts:
        cells = parts["cells"]
        said.append(
            f"beside {len(cells):,} cells of {cells['area'].nunique()} visual areas and "
            f"{cells['genotype'].nunique()} genotypes"
        )
    if "brain_rdms" in inputs and inputs["brain_rdms"].attrs["kind"] == "matrices":
        count = inputs["brain_rdms"].sizes["population"]
        populations = "1 population" if count == 1 else f"{count} populations"
        said.append(f"beside {populations} given as similarity matrices, by the dissimilarities of scenes")
    if transfer:
        sources, targets = study["transfer"]["sources"], study["transfer"]["targets"]
        said.append(f"trained on {', '.join(sources)} and tested on {', '.join(targets)}")
    return "; ".join(said) + "."


def _variants(labels: Sequence[str]) -> str:
    """Say in words what stands in front of the networks."""
    from reports.style import variant_label

    layers = [variant_label(name) for name in labels if name != "baseline"]
    said = ["without a layer in front"] if len(layers) < len(labels) else []
    if layers:
        *most, last = layers
        said.append(f"with {', '.join(most)} or {last}" if most else f"with {last}")
    return " and ".join(said)
