"""What the report stage hands over of domain transfer, from results made by hand and from a study that has run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.stages.gather.transfer import gather_transfer

CLASSES = ("a", "b", "c")
CONFIG: dict[str, Any] = {
    "sources": ["s"],
    "targets": ["s", "t"],
    "epochs": 9,
    "batch_size": 32,
    "learning_rate": 0.01,
    "patience": 4,
    "validation": 0.1,
    "train_limit": 300,
    "test_limit": None,
}


class Stored:
    """Results by name, as the report stage sees them."""

    def __init__(self, results: dict[str, Any]) -> None:
        self._results = results

    def __getitem__(self, name: str) -> Any:
        return self._results[name][0]

    def names(self, prefix: str = "") -> list[str]:
        return [name for name in self._results if name.startswith(prefix)]

    def provenance(self, name: str) -> dict[str, Any]:
        return {"params": self._results[name][1]}


def evaluated(place: dict[str, Any], counts: list[list[int]], notes: list[str]) -> dict[str, Any]:
    confusion = np.array(counts)
    n, right = confusion.sum(), np.trace(confusion)
    row = {**place, "accuracy": right / n, "n": n, "n_train": 300, "ece": 0.1 + 0.1 * place["seed"], "classes": 3}
    true, predicted = np.nonzero(confusion)
    named = np.array(CLASSES, dtype=object)
    bins = {"low": [0.0, 0.5], "high": [0.5, 1.0], "n": [0, n], "confidence": [np.nan, 0.8], "right": [0, right]}
    pairs = {"true_class": named[true], "predicted_class": named[predicted], "n": confusion[true, predicted]}
    return {
        "row": pd.DataFrame([row]),
        "confusion": pd.DataFrame(pairs),
        "calibration": pd.DataFrame(bins),
        "classes": list(CLASSES),
        "notes": notes,
    }


def stored(seeds: tuple[int, ...] = (0, 1), conditions: Any = (("baseline", "plain"), ("neurn", "plain"))) -> Stored:
    """Two targets of one source; the second has no image of class c, and of class b only seed 1 recognises any."""
    results: dict[str, Any] = {}
    for variant, method in conditions:
        for target in ("s", "t"):
            for seed in seeds:
                place = {"model": "m", "layer_variant": variant, "method": method, "source": "s", "target": target}
                place["seed"] = seed
                counts = [[8, 2, 0], [4 - seed, seed, 0], [0, 0, 6 if target == "s" else 0]]
                counts[0] = [10, 0, 0] if variant == "neurn" else counts[0]
                told = ["The memory was small."] if variant == "neurn" else []
                params = {"model": "m", "network": {"image_size": 8}}
                results[f"evaluate:{variant} {method} {target} {seed}"] = (evaluated(place, counts, told), params)
                if seed == 0 and target == "t":
                    layers = {
                        "layer": ["input", "conv"],
                        "layer_index": [0, 1],
                        "distance": [1.0, 0.5],
                        "units": [3, 8],
                    }
                    results[f"features:{variant} {method}"] = (pd.DataFrame(layers), place)
    return Stored(results)


def with_floors(neighbours: dict[str, float], **changes: Any) -> Stored:
    """The same runs with a nearest neighbour of each target, and with target t as a shift that NeuRN undoes."""
    results = stored(**changes)._results
    for target, accuracy in neighbours.items():
        rows = [{"layer_variant": name, "nearest_neighbour": accuracy} for name in ("baseline", "neurn")]
        table = pd.DataFrame(rows).assign(chance=1 / 3, n=14, n_train=300, pixels=16)
        place = {"source": "s", "target": target, "image_size": 8}
        results[f"floors:{target}"] = (table, place)
    shares = {"layer_variant": ["baseline", "neurn"], "share": [1.0, 1e-7], "equal": [False, True], "images": 14}
    results["invariance:t"] = (pd.DataFrame(shares), {"source": "s", "target": "t", "image_size": 8})
    return Stored(results)


def gathered(inputs: Stored, **config: Any) -> dict[str, Any]:
    return gather_transfer(inputs, {"transfer": {**CONFIG, **config}})  # type: ignore[arg-type]


def test_nothing_trained_is_no_part() -> None:
    assert gathered(Stored({})) == {}


def test_every_run_and_its_summary_over_seeds() -> None:
    parts = gathered(stored())
    assert len(parts["transfer"]) == 8
    seeds = parts["transfer_seeds"].set_index(["layer_variant", "target"]).loc[("baseline", "t")]
    assert seeds["mean"] == pytest.approx((8 / 14 + 9 / 14) / 2) and seeds["seeds"] == 2 and seeds["n"] == 14
    assert (seeds["ece"], seeds["ece_sd"]) == pytest.approx((0.15, np.std([0.1, 0.2], ddof=1)))


def test_differences_to_the_baseline_and_to_neurn() -> None:
    parts = gathered(stored(conditions=(("baseline", "plain"), ("neurn", "plain"), ("baseline", "randconv"))))
    paired = parts["transfer_paired"].set_index(["reference", "layer_variant", "method", "target"])["difference"]
    assert paired[("baseline", "neurn", "plain", "t")] == pytest.approx(2 / 14)
    assert paired[("baseline", "baseline", "randconv", "t")] == pytest.approx(0)
    assert paired[("neurn", "baseline", "randconv", "t")] == pytest.approx(-2 / 14)
    assert set(parts["transfer_overall"]["models"]) == {1} and "model" not in parts["transfer_overall"]
    assert parts["transfer_ranks"]["mean_rank"].tolist() == [1.0, 2.5, 2.5]


def test_with_one_seed_there_is_no_interval_and_the_page_says_so() -> None:
    parts = gathered(stored(seeds=(0,)))
    for name in ("transfer_paired", "transfer_overall"):
        assert parts[name][["ci_low", "ci_high", "p", "q"]].isna().all(axis=None)
    assert parts["transfer_seeds"]["sd"].isna().all()
    assert "With a single seed" in parts["protocol"] and "single seed" not in gathered(stored())["protocol"]


def test_networks_below_a_floor_are_marked_and_judged_by_no_one() -> None:
    # The baseline reaches 0.70 and 0.75 on s, 8/14 and 9/14 on t.
    parts = gathered(with_floors({"s": 0.8, "t": 0.5}))
    floors = parts["transfer_floors"].set_index(["layer_variant", "target"])
    assert floors.loc[("baseline", "s"), "below"] == "1-nearest neighbour"
    assert floors.loc[("baseline", "t"), "below"] == "" and floors.loc[("baseline", "t"), "reference"]
    assert floors.loc[("baseline", "t"), "network"] == pytest.approx((8 / 14 + 9 / 14) / 2)
    assert not floors.loc[("neurn", "s"), "reference"]
    assert set(parts["transfer_judged"]["target"]) == {"t"} and set(parts["transfer_overall"]["target"]) == {"s", "t"}
    both = gathered(with_floors({"s": 0.8, "t": 0.9}))
    assert both["transfer_judged"] is None and len(both["transfer_overall"])


def test_shifts_that_a_layer_undoes_are_handed_on_with_the_reason_where_there_are_no_pairs() -> None:
    conditions = (("baseline", "plain"), ("neurn", "plain"), ("inner", "plain"))
    table = gathered(with_floors({}, conditions=conditions))["transfer_invariance"].set_index("layer_variant")
    assert set(table["target"]) == {"t"} and table["equal"].to_dict() == {
        "baseline": False,
        "neurn": True,
        "inner": False,
    }
    assert table.loc["neurn", "reason"] == "" and "not stand in front" in table.loc["inner", "reason"]
    alone = gathered(stored())["transfer_invariance"]
    assert alone["share"].isna().all() and alone["reason"].str.startswith("no paired images").all()


def test_one_condition_has_nothing_to_be_compared_with() -> None:
    parts = gathered(stored(conditions=(("lrn", "plain"),)))
    assert parts["transfer_paired"] is None and parts["transfer_overall"] is None
    assert len(parts["transfer_ranks"]) == 1


def test_recall_and_confusion_over_seeds() -> None:
    parts = gathered(stored())
    recall = parts["transfer_recall"].query("layer_variant == 'baseline' and target == 't'").set_index("class_name")
    assert recall["recall"].to_dict() == pytest.approx({"a": 0.8, "b": 0.125})
    assert recall.loc["b", "sd"] == pytest.approx(np.std([0, 0.25], ddof=1))
    assert recall["n"].to_dict() == {"a": 10, "b": 4} and (recall["seeds"] == 2).all()
    confusion = parts["transfer_confusion"].query("layer_variant == 'baseline' and target == 't'")
    counts = confusion.set_index(["true_class", "predicted_class"])["n"].to_dict()
    assert counts == {("a", "a"): 16, ("a", "b"): 4, ("b", "a"): 7, ("b", "b"): 1}
    assert (confusion["seeds"] == 2).all()


def test_bins_are_added_up_over_seeds_and_empty_ones_left_out() -> None:
    bins = gathered(stored())["transfer_calibration"].query("layer_variant == 'baseline' and target == 't'")
    assert bins[["low", "high", "n", "right"]].to_numpy().tolist() == [[0.5, 1.0, 28, 17]]
    assert bins["confidence"].iloc[0] == pytest.approx(0.8) and bins["accuracy"].iloc[0] == pytest.approx(17 / 28)


def test_features_carry_their_place() -> None:
    table = gathered(stored())["transfer_features"]
    assert table["layer"].tolist() == ["input", "conv"] * 2
    assert set(table["method"]) == {"plain"} and set(table["target"]) == {"t"} and set(table["seed"]) == {0}


def test_results_without_a_method_are_plain() -> None:
    inputs = stored()
    for name in inputs.names("evaluate:"):
        inputs[name]["row"].drop(columns="method", inplace=True)
    assert set(gathered(inputs)["transfer"]["method"]) == {"plain"}


def test_missing_classes_and_what_trainings_told_are_notes() -> None:
    notes = gathered(stored())["notes"]
    assert "The test images of t hold none of the class c: no recall is given for it." in notes
    assert "The memory was small. (2 of 4 trainings.)" in notes and len(notes) == 2


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "at most 300 images of each source's training split (train_limit), a seeded draw"),
        ({"test_limit": 1000}, "(train_limit) and at most 1,000 images of each target's test split (test_limit)"),
        ({"train_limit": None}, "Whole splits are used: the study sets neither train_limit nor test_limit."),
    ],
)
def test_the_sizes_are_told_in_words(limits: dict[str, Any], said: str) -> None:
    text = gathered(stored(), **limits)["protocol"]
    assert said in text
    for words in ("Training images: s 300", "Test images, looked at once, at the end: s 20, t 14", "2 seeds", "10 %"):
        assert words in text


# --- the stages themselves ------------------------------------------------------------------------


def test_an_evaluation_keeps_what_its_accuracy_is_made_of(tiny: Any) -> None:
    for entry in tiny.store.list("evaluate"):
        found = tiny.store.read("evaluate", entry.key)
        row, confusion, bins = found["row"].iloc[0], found["confusion"], found["calibration"]
        assert confusion["n"].sum() == bins["n"].sum() == row["n"] == 50
        right = confusion.loc[confusion["true_class"] == confusion["predicted_class"], "n"].sum()
        assert right == bins["right"].sum() == round(row["accuracy"] * row["n"])
        assert found["classes"] == [str(number) for number in range(10)] and row["n_train"] == 100


def test_features_are_of_the_first_seed_on_unseen_targets_the_input_first(tiny: Any) -> None:
    entries = tiny.store.list("features")
    assert len(entries) == 2
    for entry in entries:
        table = tiny.store.read("features", entry.key)
        params = tiny.store.provenance("features", entry.key)["params"]
        assert (params["source"], params["target"], params["seed"]) == ("digits", "digits_inverted", 0)
        assert table["layer"].iloc[0] == "input" and table["layer_index"].tolist() == list(range(len(table)))
        assert np.isfinite(table["distance"]).all() and (table["images_source"] == 50).all()


def test_floors_and_shifts_are_measured_on_the_images_that_networks_get(tiny: Any) -> None:
    floors = [tiny.store.read("floors", entry.key) for entry in tiny.store.list("floors")]
    assert len(floors) == 2
    for table in floors:
        assert table["layer_variant"].tolist() == ["baseline", "neurn"]
        assert (table[["n", "n_train", "pixels"]] == [50, 100, 16]).all(axis=None)
    (entry,) = tiny.store.list("invariance")
    shares = tiny.store.read("invariance", entry.key).set_index("layer_variant")
    assert shares["equal"].to_dict() == {"baseline": False, "neurn": True} and (shares["images"] == 50).all()


def test_the_run_has_every_table(tiny: Any) -> None:
    names = {path.stem for path in (tiny.run / "tables").glob("transfer*.csv")}
    parts = (
        "seeds",
        "paired",
        "overall",
        "ranks",
        "recall",
        "confusion",
        "calibration",
        "features",
        "floors",
        "invariance",
    )
    assert names - {"transfer_judged"} == {"transfer", *(f"transfer_{part}" for part in parts)}
    page = (tiny.run / "report.html").read_text()
    assert "training split (train_limit)" in page and "at most 100 images of each source" in page
