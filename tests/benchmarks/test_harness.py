"""The benchmark harness: fair turns, right ratios, budgets told as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import benchmarks.__main__ as command
from benchmarks.harness import Bench, Line, machine, quartiles, run_bench


class Clock:
    """A time that moves only when the benchmarked work says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("benchmarks.harness.time.perf_counter", lambda: self.now)

    def work(self, seconds: float):
        def call() -> None:
            self.now += seconds

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_medians_ratios_and_budgets(clock: Clock) -> None:
    def bench_work(bench: Bench) -> None:
        """Do the work."""
        bench.ours("fast", clock.work(0.01))
        bench.peer("slow", clock.work(0.5), repeats=2)
        bench.limit("bare", clock.work(0.005))
        bench.faster("fast", than="slow", at_least=100)
        bench.within("fast", of="bare", at_most=3)
        bench.beside("fast", of="bare", at_most=0.001)
        bench.seconds("slow", at_most=1)
        bench.value("error", 1e-7, at_most=1e-6)
        bench.value("accuracy", 61.5, unit="%")

    done = run_bench(bench_work, repeats=5)
    assert (done.name, done.title) == ("work", "Do the work.")
    assert [len(case.samples) for case in done.cases.values()] == [5, 2, 5]
    lines = {line.text: line for line in done.lines}
    assert lines["fast faster than slow"].value == pytest.approx(50)
    assert lines["fast faster than slow"].met is False
    assert lines["fast / bare"].value == pytest.approx(2) and lines["fast / bare"].met is True
    assert lines["fast beside bare"].value == pytest.approx(0.005) and lines["fast beside bare"].met is False
    assert lines["slow"].met is True and lines["error"].met is True and lines["accuracy"].met is None


def test_short_calls_are_gathered_into_samples_long_enough_to_time(clock: Clock) -> None:
    done = run_bench(lambda bench: bench.ours("short", clock.work(1e-5)), repeats=3)
    case = done.cases["short"]
    assert case.calls == 200
    assert case.samples == pytest.approx([1e-5] * 3)


def test_cases_take_turns_and_each_is_first_in_some_turn(clock: Clock) -> None:
    order: list[str] = []

    def bench_turns(bench: Bench) -> None:
        for name in "abc":
            bench.ours(name, lambda name=name: (order.append(name), clock.work(1.0)()))

    run_bench(bench_turns, repeats=3)
    timed = "".join(order[-9:])  # what went before was for warming up
    assert timed == "abcbcacab"


def test_what_work_uses_up_is_provided_before_every_sample_and_not_timed(clock: Clock) -> None:
    stock: list[int] = []

    def fill() -> None:
        clock.work(9.0)()
        stock.append(1)

    def use() -> None:
        stock.pop()
        clock.work(1e-6)()

    done = run_bench(lambda bench: bench.ours("use", use, before=fill), repeats=4)
    assert done.cases["use"].calls == 1 and done.cases["use"].samples == pytest.approx([1e-6] * 4)
    assert stock == []


def test_waiting_for_the_device_counts(clock: Clock) -> None:
    done = run_bench(lambda bench: bench.ours("launch", clock.work(0.001), sync=clock.work(1.0)), repeats=2)
    assert done.cases["launch"].quartiles()[1] > 1.0


def test_ratios_are_taken_turn_by_turn(clock: Clock) -> None:
    # The machine gets slower without end: b takes twice as long as a, give or take the one step between them.
    pace = {"value": 1.0}

    def bench_noise(bench: Bench) -> None:
        def slower() -> None:
            pace["value"] *= 1.5
            clock.now += 0.01 * pace["value"]

        bench.ours("a", slower)
        bench.peer("b", lambda: clock.work(0.02 * pace["value"])())
        bench.within("b", of="a")

    line = run_bench(bench_noise, repeats=8).lines[0]
    assert 1.3 <= line.low <= line.value <= line.high <= 3.0


@pytest.mark.parametrize(
    "state", [lambda b: b.within("a", of="z"), lambda b: b.seconds("z"), lambda b: b.beside("a", of="z")]
)
def test_a_budget_for_a_case_that_is_not_there_is_an_error(state) -> None:
    def bench_wrong(bench: Bench) -> None:
        bench.ours("a", lambda: None)
        state(bench)

    with pytest.raises(ValueError, match="names 'z'"):
        run_bench(bench_wrong, repeats=1)


def test_a_skipped_peer_drops_its_budget_and_says_why() -> None:
    def bench_skip(bench: Bench) -> None:
        bench.ours("a", lambda: None)
        bench.skip("gpu", "no GPU here")
        bench.within("a", of="gpu", at_most=3)
        bench.beside("gpu", of="a", at_most=3)

    done = run_bench(bench_skip, repeats=1)
    assert done.lines == [] and done.record()["skipped"] == {"gpu": "no GPU here"}


def test_two_cases_of_one_name_are_refused() -> None:
    bench = Bench("x")
    bench.ours("a", lambda: None)
    with pytest.raises(ValueError, match="Two cases"):
        bench.peer("a", lambda: None)


def test_clearing_up_is_done_even_after_a_failure() -> None:
    done: list[str] = []

    def bench_fails(bench: Bench) -> None:
        bench.after(lambda: done.append("first"))
        bench.after(lambda: done.append("last"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_bench(bench_fails)
    assert done == ["last", "first"]


def test_the_seed_decides_the_data() -> None:
    seen: list[float] = []
    for seed in (0, 0, 1):
        run_bench(lambda bench: seen.append(bench.rng.random()), seed=seed, repeats=1)
    assert seen[0] == seen[1] != seen[2]


def test_quartiles_are_numpys() -> None:
    samples = [5.0, 1.0, 4.0, 2.0]
    assert quartiles(samples) == tuple(np.percentile(samples, [25, 50, 75]))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (Line("a / b", "×", 2.0, 1.9, 2.1, at_most=3), "a / b: 2× (1.9 – 2.1), budget ≤ 3×: [green]met[/]"),
        (Line("a / b", "×", 4.0, 4.0, 4.0, at_most=3), "a / b: 4×, budget ≤ 3×: [red]missed[/]"),
        (Line("faster", "×", 400.0, 4.0, 4.0, at_least=300), "faster: 400×, budget ≥ 300×: [green]met[/]"),
        (Line("size", " MB", 12.0, 12.0, 12.0), "size: 12 MB"),
    ],
)
def test_lines_read_well(line: Line, text: str) -> None:
    assert command.line_text(line) == text


@pytest.mark.parametrize(("seconds", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4e-6, "4 µs"), (5e-9, "5 ns")])
def test_times_read_well(seconds: float, text: str) -> None:
    assert command.time_text(seconds) == text


def test_the_machine_says_what_it_is() -> None:
    facts = machine()
    assert facts["cores"] >= 1 and facts["packages"]["numpy"] == np.__version__
    json.dumps(facts)


def test_every_benchmark_file_has_functions_with_a_title() -> None:
    import importlib

    assert "store" in command.names()
    for name in command.names():
        found = command.functions(importlib.import_module(f"benchmarks.bench_{name}"))
        assert found and all(function.__doc__ for function in found), name


def test_the_command_runs_prints_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["store", "--quick", "--repeats", "1", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "hit: has, then read" in shown and "budget ≤ 0.05s" in shown
    record = json.loads((tmp_path / "store.json").read_text())
    assert [result["name"] for result in record["results"]] == ["hit", "write"]
    assert len(record["results"][0]["cases"][0]["samples"]) == 1
    assert {line["met"] for result in record["results"] for line in result["lines"]} <= {True, False, None}


def test_an_unknown_name_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["stroe"]) == 2
    assert "Did you mean 'store'?" in capsys.readouterr().out


def test_a_broken_benchmark_does_not_lose_the_others(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    run = command._run_file

    def breaks(name: str, options, console: Console):
        if name == "broken":
            raise RuntimeError("no such file")
        return run(name, options, console)

    monkeypatch.setattr(command, "names", lambda: ["broken", "store"])
    monkeypatch.setattr(command, "_run_file", breaks)
    assert command.main(["--quick", "--repeats", "1"]) == 1
    shown = capsys.readouterr()
    assert "no such file" in shown.err and "1 benchmarks broke" in shown.out and "hit" in shown.out


@pytest.mark.parametrize(
    ("value", "at_most", "at_least", "met"),
    [(2.0, 3.0, None, True), (3.0, 3.0, None, True), (3.1, 3.0, None, False),
     (2.0, None, 3.0, False), (2.0, 3.0, 1.0, True), (0.5, 3.0, 1.0, False),
     (float("nan"), 3.0, None, False), (2.0, None, None, None)],
)  # fmt: skip
def test_a_budget_is_met_at_its_limit_and_never_by_no_number(value, at_most, at_least, met) -> None:
    assert Line("x", "", value, value, value, at_most, at_least).met is met


def test_a_quick_run_keeps_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "HERE", tmp_path)
    monkeypatch.setattr(command, "names", lambda: ["store"])
    assert command.main(["store", "--quick", "--repeats", "1"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_samples_of_unequal_number_are_compared_by_their_medians(clock: Clock) -> None:
    def bench_unequal(bench: Bench) -> None:
        bench.ours("fast", clock.work(0.01))
        bench.peer("slow", clock.work(1.0), repeats=1)
        bench.within("fast", of="slow")
        bench.faster("fast", than="slow")

    lines = run_bench(bench_unequal, repeats=4).lines
    assert [line.value for line in lines] == pytest.approx([0.01, 100])
