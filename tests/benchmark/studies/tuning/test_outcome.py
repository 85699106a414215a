"""From trials to a choice, and from the choice to a file that profiles refer to."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import replace

import pytest

from baselines.registry import get_method
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.plan.resolve import load_profile, with_assignments
from benchmark.studies.tuning.outcome import Outcome, check_beside, merge, read, trials_file, write
from benchmark.studies.tuning.report import published_vs_tuned, summary, write_report
from benchmark.studies.tuning.scores import Result, choose, reference_levels, score

TASKS = ["wmt20_mlqe", "hh_rlhf"]
SETTINGS = {"profile": "mine", "trials": 3, "seeds": [100], "tasks": TASKS,
            "budget": {"kind": "updates", "limit": 9.0}, "protocol": "1.1", "conditions": "0123abcd"}
MAIN = ["rloo", "dpo", "mezo"]


def trial(method, number, wmt, hh, **values):
    return Result(method, number, get_method(method).resolved({method: values}), {"wmt20_mlqe": wmt, "hh_rlhf": hh})


RLOO = (trial("rloo", 0, 0.1, 0.1), trial("rloo", 1, 0.4, 1.0, lr=1e-3, k=4), trial("rloo", 2, 0.3, 2.0, lr=3e-3))
MEZO = (trial("mezo", 0, -0.1, 0.0), trial("mezo", 1, 0.1, 0.5, lr=7e-4, epsilon=2e-2),
        trial("mezo", 2, 0.4, "diverged"))
SEARCHED = {"rloo": ["lr", "k"], "mezo": ["lr", "epsilon"]}


def outcome(results=RLOO + MEZO, settings=SETTINGS, commit="abc"):
    present = {result.method for result in results}
    return Outcome(settings, (commit,), {m: s for m, s in {**SEARCHED, "dpo": ["lr"]}.items() if m in present},
                   tuple(results))


def test_levels_and_scores_by_hand():
    levels = reference_levels(RLOO + MEZO)
    assert levels == {"wmt20_mlqe": 0.4, "hh_rlhf": 2.0}
    assert [score(r, levels) for r in RLOO] == pytest.approx([(0.25 + 0.05) / 2, (1 + 0.5) / 2, (0.75 + 1) / 2])
    assert [score(r, levels) for r in MEZO[:2]] == pytest.approx([-0.125, (0.25 + 0.25) / 2])
    assert {m: r.trial for m, r in choose(RLOO + MEZO, levels).items()} == {"rloo": 2, "mezo": 1}


def test_a_trial_that_diverged_or_failed_anywhere_is_a_word_and_never_chosen():
    levels = {"wmt20_mlqe": 0.4, "hh_rlhf": 2.0}
    assert score(MEZO[2], levels) == "diverged"
    lost = trial("mezo", 1, "failed", "diverged")
    assert score(lost, levels) == "failed"
    assert choose([lost, MEZO[2]], levels) == {}
    # Its other tasks still count for the level: 0.4 is MeZO's best on WMT20 too.
    assert reference_levels([RLOO[0], MEZO[2]]) == {"wmt20_mlqe": 0.4, "hh_rlhf": 0.1}


def test_a_tie_goes_to_the_lower_trial_whatever_the_order():
    same = [trial("rloo", number, 0.4, 1.0, lr=number + 1.0) for number in (2, 1)]
    assert choose([*same, trial("rloo", 0, 0.1, 0.1)], reference_levels(same))["rloo"].trial == 1


def test_without_any_increase_there_is_no_level():
    with pytest.raises(BenchmarkError, match=r"hh_rlhf: no trial of any method raised .* larger --budget"):
        reference_levels([trial("rloo", 0, 0.1, 0.0), trial("mezo", 0, 0.1, "diverged")])


def test_the_outcome_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "mine.toml"
    assert write(path, outcome()) == [path, tmp_path / "mine_trials.csv"]
    assert read(path) == outcome()
    before = path.read_bytes(), trials_file(path).read_bytes()
    write(path, read(path))
    assert before == (path.read_bytes(), trials_file(path).read_bytes())
    assert read(tmp_path / "other.toml") is None


def test_the_files_hold_every_trial_and_the_choice(tmp_path):
    write(tmp_path / "mine.toml", outcome())
    tables = tomllib.loads((tmp_path / "mine.toml").read_text())
    assert tables["chosen"] == {"rloo": 2, "mezo": 1}
    assert tables["reference_increase"] == {"wmt20_mlqe": 0.4, "hh_rlhf": 2.0}
    assert tables["methods"] == {
        "rloo": {"lr": 3e-3, "k": 2}, "mezo": {"lr": 7e-4, "epsilon": 2e-2},
        "zopro-no-norm-matching": {"lr": 7e-4, "epsilon": 2e-2}}  # its noise is as long as MeZO's
    assert tables["search"]["trials"] == 3 and tables["search"]["budget"] == {"kind": "updates", "limit": 9.0}
    with open(tmp_path / "mine_trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["method"], r["trial"], r["chosen"], r["score"]) for r in rows] == [
        ("rloo", "0", "no", "0.150000"), ("rloo", "1", "no", "0.750000"), ("rloo", "2", "yes", "0.875000"),
        ("mezo", "0", "no", "-0.125000"), ("mezo", "1", "yes", "0.250000"), ("mezo", "2", "no", "diverged")]
    assert (rows[5]["hh_rlhf status"], rows[5]["hh_rlhf increase [r0 score]"]) == ("diverged", "")
    assert (rows[5]["wmt20_mlqe status"], rows[5]["wmt20_mlqe increase [r0 score]"]) == ("done", "0.4")
    assert (rows[1]["k"], rows[1]["lr"], rows[1]["kl_coef"], rows[1]["epsilon"]) == ("4", "0.001", "0.05", "")


def test_a_damaged_outcome_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    write(path, outcome())
    lines = trials_file(path).read_text().splitlines()
    trials_file(path).write_text("\n".join(lines[:-1]))
    with pytest.raises(BenchmarkError, match=r"mine.toml and mine_trials.csv .*3 trials a method are announced"):
        read(path)
    trials_file(path).unlink()
    with pytest.raises(BenchmarkError, match="cannot be read together"):
        read(path)


@pytest.mark.parametrize(("change", "words"), [
    ({"trials": 4}, r"trials of mezo that cannot stand beside these: trials differ \(3 there, 4 here\)"),
    ({"seeds": [100, 101]}, "seeds differ"),
    ({"budget": {"kind": "updates", "limit": 10.0}}, "budget differs"),
    ({"tasks": ["hh_rlhf"]}, "tasks differ"),
    ({"protocol": "1.2"}, "protocol differs"),
    ({"conditions": "ffffffff"}, "the configuration or the data differ"),
])
def test_trials_of_unequal_number_or_conditions_are_refused(tmp_path, change, words):
    with pytest.raises(ConfigError, match=words):
        check_beside(outcome(), SETTINGS | change, ["rloo", "dpo"], tmp_path / "mine.toml")
    if "tasks" not in change:  # a new search of all methods may replace the old one
        check_beside(outcome(), SETTINGS | change, ["rloo", "mezo"], tmp_path / "mine.toml")


def test_a_search_on_fewer_tasks_does_not_replace_one_on_more(tmp_path):
    with pytest.raises(ConfigError, match=r"holds a search on wmt20_mlqe too.*another --outcome"):
        check_beside(outcome(), SETTINGS | {"tasks": ["hh_rlhf"]}, ["rloo", "mezo"], tmp_path / "mine.toml")


def test_a_method_searched_later_joins_and_levels_and_choices_are_made_anew():
    check_beside(outcome(), SETTINGS, ["dpo"], None)
    dpo = [trial("dpo", 0, 4.0, 0.1), trial("dpo", 1, 0.1, 0.1), trial("dpo", 2, 0.1, 0.1)]
    joined = merge(outcome(), outcome(dpo, commit="def"), MAIN)
    assert list(joined.searched) == MAIN and joined.commits == ("abc", "def")
    assert joined.levels == {"wmt20_mlqe": 4.0, "hh_rlhf": 2.0}
    assert {m: r.trial for m, r in joined.chosen.items()} == {"rloo": 2, "dpo": 0, "mezo": 1}
    again = merge(joined, outcome(RLOO), MAIN)
    assert [r.method for r in again.results] == ["rloo"] * 3 + ["dpo"] * 3 + ["mezo"] * 3


@pytest.fixture
def profile(tmp_path):
    write(tmp_path / "tuned" / "mine.toml", outcome())
    path = tmp_path / "mine.toml"

    def load(text=""):
        path.write_text(f'tuned = "tuned/mine.toml"\n{text}')
        return load_profile(str(path))

    return load


def test_a_profile_takes_in_hyperparameters_and_levels(profile):
    config = profile("[methods.rloo]\nlr = 0.5\n[tasks.hh_rlhf.sft]\nsteps = 3\n")
    assert config.methods["rloo"] == {"lr": 0.5, "k": 2}  # what the profile says stands above
    assert config.methods["mezo"] == {"lr": 7e-4, "epsilon": 2e-2}
    levels = [config.for_task(task).evaluation.reference_increase for task in TASKS]
    assert (levels, config.for_task("hh_rlhf").sft.steps) == ([0.4, 2.0], 3)
    assert config.for_task("summarize_from_feedback").evaluation.reference_increase == 0
    assert config.for_task("hh_rlhf").as_dict()["evaluation"]["reference_increase"] == 2.0
    control = get_method("zopro-no-norm-matching").resolved(config.methods | {"zopro": {"k": 8, "lr": 0.1}})
    assert (control["lr"], control["epsilon"], control["k"]) == (7e-4, 2e-2, 8)
    config = profile("[tasks.hh_rlhf.evaluation]\nreference_increase = 7\n")
    assert [config.for_task(task).evaluation.reference_increase for task in TASKS] == [0.4, 7.0]


@pytest.mark.parametrize(("assignment", "levels"), [
    ("execution.workers=1", [0.4, 2.0]),
    ("evaluation.samples=1", [0.4, 2.0]),
    ("rloo.lr=1", [0.4, 2.0]),
    ("budget.limit=300_000", [0.4, 2.0]),  # what it is anyhow
    ("budget.limit=10", [0, 0]),
    ("data.source=hub", [0, 0]),
    ("model.path=a/model", [0, 0]),
    ("sft.steps=3", [0, 2.0]),  # which HH-RLHF has already
    ("reward_model.steps=3", [0, 0]),
    ("evaluation.reference_increase=5", [5.0, 5.0]),
])
def test_a_level_is_dropped_where_the_user_changes_what_it_was_measured_under(profile, assignment, levels):
    config = with_assignments(profile("[tasks.hh_rlhf.sft]\nsteps = 3\n"), [assignment], ["rloo"])
    assert [config.for_task(task).evaluation.reference_increase for task in TASKS] == levels


@pytest.mark.parametrize(("text", "words"), [
    ("[methods.rlo]\nlr = 1\n", "unknown method 'rlo'"),
    ("[methods.rloo]\nrl = 1\n", "hyperparameter of rloo in mine.toml 'rl'"),
    ("[reference_increase]\nhh = 1\n", "unknown task in mine.toml 'hh'"),
    ("[reference_increase]\nhh_rlhf = -1\n", "at least 0"),
    ("[results]\nhh_rlhf = 1\n", "unknown table in mine.toml 'results'"),
    ("[", "not valid TOML"),
    (None, r"mine\.toml, tuned = 'tuned/mine\.toml': cannot be read"),
])
def test_a_wrong_tuned_file_is_refused(profile, tmp_path, text, words):
    tuned = tmp_path / "tuned" / "mine.toml"
    tuned.unlink() if text is None else tuned.write_text(text)
    with pytest.raises(ConfigError, match=words):
        profile()


def test_the_table_shows_published_and_chosen_and_words(tmp_path):
    sheet = published_vs_tuned(outcome(), {"hh_rlhf": "HH-RLHF"})
    assert sheet.header[:5] == ("method", "setting", "score [1 = best increase]", "wmt20_mlqe [r₀ score]",
                                "HH-RLHF [r₀ score]")
    assert sheet.rows == (
        ("RLOO", "published", "+0.150", "+0.100", "+0.100", "lr 5e-05, k 2"),
        ("RLOO", "tuned (trial 2)", "+0.875", "+0.300", "+2.000", "lr 0.003, k 2"),
        ("MeZO", "published", "-0.125", "-0.100", "0.000", "lr 0.0001, epsilon 0.01"),
        ("MeZO", "tuned (trial 1)", "+0.250", "+0.100", "+0.500", "lr 0.0007, epsilon 0.02"))
    assert sheet.reduced == "reduced protocol (1 seed), not comparable"
    enough = outcome(settings=SETTINGS | {"seeds": [100, 101, 102, 103, 104]})
    assert published_vs_tuned(enough, {}).reduced == ""
    lost = [replace(r, reached=dict.fromkeys(TASKS, "diverged")) for r in MEZO]
    rows = published_vs_tuned(outcome((*RLOO, *lost)), {}).rows
    assert rows[2][:5] == ("MeZO", "published; no trial came to its end", "diverged", "diverged", "diverged")
    best = trial("rloo", 0, 0.4, 9.0), *RLOO[1:]
    assert [row[1] for row in published_vs_tuned(outcome(best), {}).rows] == ["published, chosen"]
    assert "RLOO         published +1.000  chosen +1.000 (trial 0: lr = 5e-05, k = 2)" in summary(outcome(best))


def test_the_report_is_a_pure_function_of_the_outcome(tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    names = [[path.name for path in write_report(outcome(), folder, {})] for folder in folders]
    assert names[0] == names[1] == [*[f"table_published_vs_tuned.{s}" for s in ("csv", "md", "tex")],
                                    "trial_scores.png", "trial_scores.svg"]
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names[0])
    figure = (folders[0] / "trial_scores.svg").read_text()
    assert all(word in figure for word in ("RLOO", "MeZO", "published setting (trial 0)", "diverged or failed"))
