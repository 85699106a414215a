"""A search's runs, what is read from their directories, and what is needed next: stages, extensions, finals."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from baselines.registry import METHODS, get_method, method_groups
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.grid.jobs import Preparation
from benchmark.plan.resolve import Config, load_profile, with_assignments, with_tasks
from benchmark.plan.sources import TaskSource
from benchmark.studies.tuning.execution import TrialJob, jobs
from benchmark.studies.tuning.outcome import outcome_of
from benchmark.studies.tuning.search import Plan, refuse_unfinished, standing_of
from benchmark.studies.tuning.stages import Subject, searched_as, subjects
from tests.benchmark.studies.tuning.fake import SOURCES, carry_out, finish, search

WARM, ZOPRO = Subject("zopro", "warm_start"), Subject("zopro")


def fail(folder, kind):
    folder.mkdir(parents=True)
    (folder / "error.json").write_text(json.dumps({"type": kind, "message": "why"}))


def near(**best):
    """A reward that falls with the distance of hyperparameters from the best ones, in decades; that of epsilon counts
    little."""
    return lambda run, values: 1.0 - sum((0.01 if name == "epsilon" else 1) * abs(math.log10(values[name] / value))
                                         for name, value in best.items() if name in values)


# --- what is searched ---------------------------------------------------------------------------------------------


def test_methods_with_one_warm_start_share_its_search():
    assert subjects(["zopro", "mezo-warm", "lozo-warm", "zopro-random", "zopro-scaled-lr"], "norms") == [
        WARM, ZOPRO, Subject("mezo"), Subject("lozo"), Subject("zopro-scaled-lr")]
    assert subjects(["compo-dense", "compo"], "lora") == [
        Subject("compo", "warm_start"), Subject("compo-dense"), Subject("compo")]
    assert subjects(["rloo", "dpo"], "norms") == [Subject("rloo"), Subject("dpo")]


def test_variants_and_controls_take_their_bases_settings_and_others_are_searched():
    own = {name: searched_as(name, "norms") for name in METHODS}
    assert own["mezo-warm"] == own["frozen"] == own["mezo"] == "mezo"
    assert own["zo-muon-warm"] == "zo-muon" and own["lozo-released"] == "lozo"
    assert {own[n] for n in method_groups()["ablation"]} == {"zopro", "mezo", "zopro-scaled-lr", None}
    assert own["mezo-dpo"] == "mezo-dpo" and own["mezo-q5"] == "mezo-q5"
    with pytest.raises(ConfigError, match="zopro-published has published settings whatever is found"):
        subjects(["zopro-published"], "norms")


def test_a_warm_start_is_the_methods_first_iteration_alone_and_fixes_what_it_decides():
    found = search("zopro", trials=3)
    full = found.base.budget.limit
    for final, share in ((False, 1 / 3), (True, 1.0)):
        warm, rest = (found.stage_config(subject, final) for subject in (WARM, ZOPRO))
        assert (warm.loop.iterations, warm.budget.limit) == (1, pytest.approx(full * share / 4))
        assert (rest.loop.iterations, rest.budget.limit) == (4, pytest.approx(full * share))
        assert (warm.evaluation.points, rest.evaluation.points) == (1, 4)  # at the end of every iteration
    assert {"k", "epochs", "warm_start_lr"} <= set(found.spaces[WARM].names)
    assert found.spaces[ZOPRO].names == ["lr", "epsilon", "initial_weight"]
    assert {trial.values["initial_weight"] for trial in found.first_trials(ZOPRO)} == {0.999}


# --- rounds -------------------------------------------------------------------------------------------------------


def test_every_subject_gets_its_trials_on_every_task_and_then_finals_at_the_whole_budget(tmp_path):
    found = search("rloo", "mezo", trials=3, finalists=2)
    first, done = found.advance(tmp_path)
    assert not done
    assert Counter((c.subject.method, c.trial, c.run.seed) for c in first) == {
        (m, t, 100): 2 for m in ("rloo", "mezo") for t in range(3)}
    assert [cell.trial for cell in first] == [0] * 4 + [1] * 4 + [2] * 4  # all progress together
    assert {round(c.run.budget.limit) for c in first} == {round(found.base.budget.limit / 3)}
    longer = replace(found, plan=replace(found.plan, trials=5))
    assert {c.run.name for c in first} < {c.run.name for c in longer.advance(tmp_path)[0]}

    seen = []
    middle = near(lr=1e-3, epsilon=1e-2)
    results = carry_out(found, tmp_path, lambda run, values: seen.append(run) or middle(run, values))
    assert [len(result.finals) for result in results] == [2, 2]
    finals = [run for run in seen if run.seed > 100]
    assert Counter((run.method, run.seed) for run in finals) == {
        (m, s): 4 for m in ("rloo", "mezo") for s in (101, 102, 103)}
    assert {run.budget.limit for run in finals} == {found.base.budget.limit}


def test_trials_on_one_task_have_finals_on_all(tmp_path):
    found = search("dpo", trials=4, finalists=2, tasks=("hh_rlhf",))
    assert {cell.run.task for cell in found.advance(tmp_path)[0]} == {"hh_rlhf"}
    # what does best on the trials' task destroys the policy on the other
    (result,) = carry_out(found, tmp_path, lambda run, values: -values["lr"] if run.task == "wmt20_mlqe" else (
        values["lr"]))
    first, second = sorted((result.trials[number] for number in result.finals), key=lambda trial: trial.values["lr"])
    assert result.chosen == min((first, second), key=lambda trial: trial.number)  # the means are equal
    assert {task for increases in result.finals.values() for task in increases} == set(SOURCES)
    rows = outcome_of([result], found.settings(), ["abc"]).trials
    assert all("wmt20_mlqe" not in row and "hh_rlhf" in row for row in rows)
    assert sum("wmt20_mlqe final" in row for row in rows) == 2
    with pytest.raises(ConfigError, match="--trial-task summarize_from_feedback: not among the tasks"):
        search("dpo", tasks=("summarize_from_feedback",))


def test_the_winner_is_that_of_the_finals_with_its_standard_error(tmp_path):
    found = search("dpo", trials=4, finalists=2)
    lr = [trial.values["lr"] for trial in found.first_trials(Subject("dpo"))]

    def reward(run, values):
        place = lr.index(values["lr"]) if values["lr"] in lr else 3
        screening = [0.0, 0.5, 0.9, 0.1][place]
        return screening if run.seed == 100 else {1: 0.5, 2: 0.2}[place] + 0.1 * (run.seed - 102)

    (result,) = carry_out(found, tmp_path, reward)
    assert sorted(result.finals) == [1, 2] and result.chosen.number == 1  # trial 2 was better on the search's seed
    (row,) = (row for row in outcome_of([result], found.settings(), ["abc"]).trials if row["chosen"] == "yes")
    assert (row["score"], row["final score"]) == ("0.5", "0.5")
    assert float(row["final standard error"]) == pytest.approx(0.1 / math.sqrt(3), abs=1e-6)


def test_stage_two_waits_for_the_warm_start_and_begins_with_it(tmp_path):
    found = search("zopro", "compo", trials=6, finalists=1)
    first, _ = found.advance(tmp_path)
    assert {cell.subject for cell in first} == {WARM, Subject("compo", "warm_start")}
    runs, reward = [], near(warm_start_lr=3e-3)
    carry_out(found, tmp_path, lambda run, values: runs.append((run, values)) or reward(run, values))
    warm = [values for run, values in runs if run.method == "zopro" and run.config.loop.iterations == 1]
    rest = [values for run, values in runs if run.method == "zopro" and run.config.loop.iterations == 4]
    best = max(warm, key=lambda values: reward(None, values))
    names = ("warm_start_lr", "k", "epochs", "warm_start_schedule", "warm_start_max_grad_norm")
    assert rest and all(values[name] == best[name] for values in rest for name in names)


def test_what_follows_a_warm_start_is_scored_by_the_increase_over_it(tmp_path):
    finish(tmp_path / "run", start=1.0, end=3.0, warm=1.5, test=9.0)
    assert standing_of(tmp_path / "run", 0) == 2.0 and standing_of(tmp_path / "run", 1) == 0.5
    finish(tmp_path / "scaled", start=1.0, end=3.0, warm=1.5, sd=2.0)
    assert standing_of(tmp_path / "scaled", 0) == 1.0 and standing_of(tmp_path / "scaled", 1) == 0.25
    found = search("zopro", trials=2, finalists=1)
    warm, rest = carry_out(found, tmp_path, lambda run, values: 0.75, warm=0.5)
    ends = [{end for increases in (*result.screened.values(), *result.finals.values()) for seeds in increases.values()
             for end in seeds.values()} for result in (warm, rest)]
    assert ends == [{0.75}, {0.25}]


def test_a_best_trial_at_an_edge_extends_the_space_and_what_is_found_says_so(tmp_path):
    found = search("mezo", trials=16, finalists=1)
    high = found.spaces[Subject("mezo")].dimensions[0].high
    (result,) = carry_out(found, tmp_path, near(lr=2 * high, epsilon=1e-2))
    lr = result.space.dimensions[0]
    assert lr.moved == (0, 1) and lr.high == pytest.approx(10 * high) and result.bracketed
    added = [trial for trial in result.trials if trial.origin == "lr"]
    assert len(added) == 4 and all(high <= trial.values["lr"] <= 10 * high for trial in added)
    assert result.chosen in added and [trial.number for trial in result.trials] == [*range(len(result.trials))]


def test_an_optimum_beyond_all_extensions_is_not_bracketed(tmp_path):
    found = search("mezo", trials=4, finalists=1)
    (result,) = carry_out(found, tmp_path, near(lr=1e9, epsilon=1e-2))
    assert result.space.dimensions[0].moved[1] == 2 and not result.bracketed
    assert all(moved <= 2 for dimension in result.space.dimensions for moved in dimension.moved)


def test_interrupted_anywhere_a_search_ends_as_it_would_have(tmp_path):
    found = search("zopro", "rloo", trials=3, finalists=2)
    uneven = near(warm_start_lr=1e-2, lr=1.0)

    whole = carry_out(found, tmp_path / "whole", uneven)
    for keep in range(1, 9):  # stopped after some rounds, and some directories of the last one lost
        carry_out(found, tmp_path / str(keep), uneven, rounds=keep)
        for folder in sorted((tmp_path / str(keep)).iterdir())[::3]:
            shutil.rmtree(folder)
        assert carry_out(found, tmp_path / str(keep), uneven) == whole


def test_trials_that_diverge_or_fail_are_never_chosen_and_without_any_other_nothing_is(tmp_path):
    found = search("mezo", trials=4, finalists=4)
    (result,) = carry_out(found, tmp_path / "a", lambda run, values: None if run.task == "hh_rlhf" else 9.0)
    assert result.chosen is None and not result.bracketed and not result.finals
    (result,) = carry_out(found, tmp_path / "b", lambda run, values: None if run.seed == 102 else 0.1)
    assert result.chosen is None and len(result.finals) == 4
    start = carry_out(search("zopro", trials=2), tmp_path / "c", lambda run, values: None)
    assert start[1].begun == {}  # the published warm start


# --- conditions and directories -----------------------------------------------------------------------------------


def test_trials_leave_out_what_the_profile_tuned_or_froze(tmp_path):
    """Trial 0 is the published setting, and a search made anew finds the runs of the one before."""
    config = with_tasks(load_profile("smoke"), {"hh_rlhf": {"evaluation": {"reference_increase": 3.0}}}, "a test")
    assert config.methods["rloo"]["lr"] == 1e-3
    tuned, plain = (search("rloo", config=c, trials=2) for c in (config, replace(load_profile("smoke"), methods={})))
    cells = [found.advance(tmp_path)[0] for found in (tuned, plain)]
    assert cells[0][0].run.resolved()["method"] == get_method("rloo").resolved({})
    assert [c.run.name for c in cells[0]] == [c.run.name for c in cells[1]]
    assert tuned.settings() == plain.settings()


def test_conditions_change_with_what_can_change_a_reward():
    def conditions(*assignments):
        return search("rloo", config=with_assignments(Config(), list(assignments), [])).settings()["conditions"]

    assert conditions("workers=7") == conditions()
    assert len({conditions(), conditions("loop.iterations=2"), conditions("sft.steps=9")}) == 3
    other = {**SOURCES, "hh_rlhf": TaskSource("hh_rlhf", SimpleNamespace(version="1", revision="xyz"))}
    assert replace(search("rloo"), sources=other).settings()["conditions"] != conditions()


@pytest.mark.parametrize(("change", "words"), [
    ({"seeds": (100, 4)}, "--seed 4: seeds 0-4 are those of reference results"),
    ({"final_seeds": (3,)}, "--seed 3: seeds 0-4 are those of reference results"),
    ({"trials": 0}, "at least 1"),
    ({"finalists": 0}, "at least 1"),
    ({"share": 0.0}, "--share 0: a share of the budget"),
])
def test_a_plan_that_cannot_be_fair_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        Plan(**change)


def test_completions_that_do_not_divide_an_update_are_refused():
    with pytest.raises(ConfigError, match=r"rloo: k = 4 does not divide .* = 6"):
        search("rloo", config=with_assignments(Config(), ["sequences_per_update=6"], []))


def test_what_a_run_directory_says(tmp_path):
    finish(tmp_path / "done", -1.5, 0.25)
    finish(tmp_path / "diverged", -1.5, None)
    fail(tmp_path / "failed", "RunError")
    # the machine's or the user's doing, not the method's
    for kind in ("Interrupted", "ProcessDied", "PreparationFailed", "OSError", "BenchmarkError", "ModelError"):
        fail(tmp_path / kind, kind)
        assert standing_of(tmp_path / kind, 0) is None
    (tmp_path / "killed").mkdir()
    names = ("done", "diverged", "failed", "killed", "nothing")
    assert [standing_of(tmp_path / name, 0) for name in names] == [1.75, "diverged", "failed", None, None]
    (tmp_path / "done" / "summary.json").write_text('{"status": "done", "initial": {}, "final": {}}')
    with pytest.raises(BenchmarkError, match="done: no validation reward"):
        standing_of(tmp_path / "done", 0)
    finish(tmp_path / "short", -1.5, 0.25)
    (tmp_path / "short" / "curve.jsonl").write_text("")  # no evaluation at the end of the warm start
    with pytest.raises(BenchmarkError, match="short: no validation reward"):
        standing_of(tmp_path / "short", 1)


def test_the_test_split_has_no_say(tmp_path):
    found = search("rloo", trials=3, finalists=1)
    for test in (0.0, 1e6):
        carry_out(found, tmp_path, near(lr=1e-3))
        before = found.advance(tmp_path)[1]
        for folder in tmp_path.iterdir():
            values = json.loads((folder / "summary.json").read_text())
            values["final"]["test"] = values["initial"]["test"] = {"reward": test * len(folder.name)}
            (folder / "summary.json").write_text(json.dumps(values))
        assert found.advance(tmp_path)[1] == before
    assert found.commits(tmp_path) == ["abc"]


def test_unequal_trials_are_refused_until_every_run_is_finished(tmp_path):
    cells, _ = search("rloo", trials=3).advance(tmp_path)
    for cell in cells[2:]:
        finish(tmp_path / cell.run.name, 0.0, 1.0)
    fail(tmp_path / cells[0].run.name, "ProcessDied")
    with pytest.raises(ConfigError) as refusal:
        refuse_unfinished(cells, tmp_path)
    for words in ("2 of 6 runs are not finished", "nothing is chosen", "Repeat the same command",
                  f"{cells[0].run.name}: ProcessDied: why", f"{cells[1].run.name}: not run yet"):
        assert words in str(refusal.value)


def test_jobs_are_what_is_left_with_its_preparations_and_each_run_once(tmp_path):
    cells, _ = search("rloo", trials=3, seeds=(100, 101)).advance(tmp_path)
    finish(tmp_path / cells[0].run.name, 0.0, 1.0)
    fail(tmp_path / cells[1].run.name, "RunError")
    fail(tmp_path / cells[2].run.name, "Interrupted")
    twice = [*cells, replace(cells[5], trial=9)]  # two trials that resolve to the same run
    todo = jobs(twice, tmp_path, tmp_path / "cache")
    assert sorted((job.task, job.seed) for job in todo[:4] if isinstance(job, Preparation)) == [
        ("hh_rlhf", 100), ("hh_rlhf", 101), ("wmt20_mlqe", 100), ("wmt20_mlqe", 101)]
    runs = todo[4:]
    assert all(isinstance(job, TrialJob) for job in runs)
    assert [job.run for job in runs] == [cell.run for cell in cells[2:]]
    assert len({job.name for job in todo}) == len(todo) and runs[0].name == "hh_rlhf rloo trial 0 s100"
