"""From trials to a choice, and from the choice to a file that profiles refer to."""

from __future__ import annotations

import csv
import tomllib

import pytest

from baselines.registry import get_method
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.plan.resolve import load_profile, with_assignments
from benchmark.studies.tuning.outcome import check_beside, merge, outcome_of, read, trials_file, write
from benchmark.studies.tuning.report import published_vs_tuned, summary, write_report
from benchmark.studies.tuning.scores import Found, Trial, ranked, score, standard_error
from benchmark.studies.tuning.spaces import Dimension, Space
from benchmark.studies.tuning.stages import Subject

TASKS = ["wmt20_mlqe", "hh_rlhf"]
SETTINGS = {"profile": "mine", "trials": 3, "seeds": [100], "share": 1 / 3, "finalists": 2, "final_seeds": [101, 102],
            "tasks": TASKS, "budget": {"kind": "updates", "limit": 9.0}, "protocol": "1.1", "conditions": "0123abcd"}
MAIN = ["rloo", "dpo", "mezo", "zopro"]


def ends(wmt, hh, seeds=(100,)):
    return {"wmt20_mlqe": dict.fromkeys(seeds, wmt), "hh_rlhf": dict.fromkeys(seeds, hh)}


def finals(*pairs):
    return {"wmt20_mlqe": dict(enumerate((w for w, _ in pairs), 101)),
            "hh_rlhf": dict(enumerate((h for _, h in pairs), 101))}


def found(method, values, screened, last, stage="method", begun=None, high=1.0):
    """A search over lr: trial 0 and one trial for every further value."""
    names = {"warm_start": "warm_start_lr"}.get(stage, "lr")
    trials = [Trial(0, "published", {names: get_method(method).resolved({})[names]}),
              *(Trial(i, "space", {names: value}) for i, value in enumerate(values, 1))]
    space = Space((Dimension(names, 1e-4, high, moved=(0, 1)),))
    return Found(Subject(method, stage), space, tuple(trials), dict(enumerate(screened)), last, begun or {})


RLOO = found("rloo", [1e-3, 3e-2, 0.9], [ends(0.1, 0.1), ends(0.4, 1.0), ends(0.3, 2.0), ends(0.1, 0.2)],
             {1: finals((0.5, 0.7), (0.3, 0.5)), 2: finals((0.2, 0.4), (0.2, 0.4))})
MEZO = found("mezo", [3e-2, 0.1], [ends(-0.1, 0.0), ends(0.1, 0.5), ends(0.4, "diverged")],
             {0: finals((0.0, 0.0), ("failed", 0.0)), 1: finals((0.1, 0.1), (0.1, 0.1))})
START = found("zopro", [1e-2], [ends(0.0, 0.0), ends(0.5, 0.5)], {1: finals((0.5, 0.5), (0.5, 0.5))}, "warm_start")
ZOPRO = found("zopro", [0.03, 0.5], [ends(0.0, 0.0), ends(0.2, 0.2), ends(0.3, 0.3)],
              {2: finals((0.3, 0.3), (0.3, 0.3))}, begun={"warm_start_lr": 1e-2})


def outcome(*results, settings=SETTINGS, commit="abc"):
    return outcome_of(results or (START, RLOO, MEZO, ZOPRO), settings, [commit])


def test_scores_and_standard_errors_by_hand():
    assert score(ends(0.4, 1.0)) == 0.7 and score(RLOO.finals[1]) == 0.5
    # means over tasks of the two seeds: 0.6 and 0.4; their standard deviation is √0.02
    assert standard_error(RLOO.finals[1]) == pytest.approx(0.1) and standard_error(RLOO.finals[2]) == 0.0
    assert standard_error(ends(0.4, 1.0)) is None and standard_error(MEZO.finals[0]) is None
    assert score(ends(0.4, "diverged")) == "diverged" and score(ends("failed", "diverged")) == "failed"


def test_the_best_of_the_finals_is_chosen_and_ties_go_to_the_lower_trial():
    assert ranked(RLOO.screened) == [2, 1, 3, 0] and RLOO.chosen.number == 1  # trial 2 was ahead in the trials
    assert ranked({2: ends(0.4, 1.0), 1: ends(0.4, 1.0)}) == [1, 2]
    assert MEZO.chosen.number == 1  # trial 0 failed on a seed
    assert found("mezo", [0.1], [ends("failed", 0.1)] * 2, {}).chosen is None


def test_a_choice_with_tried_values_on_both_sides_is_bracketed():
    assert not RLOO.bracketed  # 1e-3 is the smallest that was tried
    assert found("rloo", [1e-3, 3e-2, 0.9], RLOO.screened.values(), {2: RLOO.finals[1]}).bracketed
    assert not found("rloo", [1e-3, 3e-2, 0.9], RLOO.screened.values(), {3: RLOO.finals[1]}).bracketed


def test_the_outcome_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "mine.toml"
    assert write(path, outcome()) == [path, tmp_path / "mine_trials.csv"]
    again = read(path)
    assert again == outcome()
    before = path.read_bytes(), trials_file(path).read_bytes()
    write(path, again)
    assert before == (path.read_bytes(), trials_file(path).read_bytes())
    assert read(tmp_path / "other.toml") is None


def test_the_files_hold_every_trial_and_the_choice(tmp_path):
    write(tmp_path / "mine.toml", outcome())
    tables = tomllib.loads((tmp_path / "mine.toml").read_text())
    assert tables["found"]["rloo"]["method"] == {
        "chosen": 1, "score": 0.5, "standard_error": 0.1, "bracketed": False, "trials": 4, "finalists": [1, 2],
        "ranges": {"lr": [1e-4, 1.0]}, "extended": {"lr": [0, 1]}}
    assert list(tables["found"]["zopro"]) == ["warm_start", "method"]
    assert tables["methods"] == {
        "rloo": {"lr": 1e-3}, "mezo": {"lr": 3e-2}, "zopro": {"warm_start_lr": 1e-2, "lr": 0.5},
        "zopro-no-norm-matching": {"lr": 3e-2}}  # its noise is as long as MeZO's
    assert tables["search"]["trials"] == 3 and tables["search"]["share"] == 1 / 3
    with open(tmp_path / "mine_trials.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] in ("mezo", "zopro")]
    assert [(r["method"], r["stage"], r["trial"], r["chosen"], r["score"], r["final score"]) for r in rows] == [
        ("mezo", "method", "0", "no", "-0.05", "failed"), ("mezo", "method", "1", "yes", "0.3", "0.1"),
        ("mezo", "method", "2", "no", "diverged", ""), ("zopro", "warm_start", "0", "no", "0.0", ""),
        ("zopro", "warm_start", "1", "yes", "0.5", "0.5"), ("zopro", "method", "0", "no", "0.0", ""),
        ("zopro", "method", "1", "no", "0.2", ""), ("zopro", "method", "2", "yes", "0.3", "0.3")]
    assert (rows[2]["wmt20_mlqe"], rows[2]["hh_rlhf"], rows[1]["hh_rlhf final"]) == ("0.4", "diverged", "0.1")
    assert (rows[1]["lr"], rows[1]["k"], rows[7]["warm_start_lr"]) == ("0.03", "2", "0.01")


def test_a_damaged_outcome_and_one_by_another_rule_are_refused(tmp_path):
    path = tmp_path / "mine.toml"
    write(path, outcome())
    lines = trials_file(path).read_text().splitlines()
    trials_file(path).write_text("\n".join(lines[:-1]))
    with pytest.raises(BenchmarkError, match=r"mine.toml and mine_trials.csv .*12 trials are announced, 11 are there"):
        read(path)
    trials_file(path).unlink()
    with pytest.raises(BenchmarkError, match="cannot be read together"):
        read(path)
    path.write_text('[search]\nrule = "highest mean over tasks"\n')
    with pytest.raises(ConfigError, match=r"mine.toml holds a search by another rule.*Remove it and mine_trials.csv"):
        read(path)


@pytest.mark.parametrize(("change", "words"), [
    ({"trials": 4}, r"trials of mezo, zopro that cannot stand beside these: trials differ \(3 there, 4 here\)"),
    ({"seeds": [100, 101]}, "seeds differ"),
    ({"share": 0.5}, "share differs"),
    ({"final_seeds": [101]}, "final seeds differ"),
    ({"budget": {"kind": "updates", "limit": 10.0}}, "budget differs"),
    ({"tasks": ["hh_rlhf"]}, "tasks differ"),
    ({"protocol": "1.2"}, "protocol differs"),
    ({"conditions": "ffffffff"}, "the configuration or the data differ"),
])
def test_trials_of_unequal_number_or_conditions_are_refused(tmp_path, change, words):
    with pytest.raises(ConfigError, match=words):
        check_beside(outcome(), SETTINGS | change, ["rloo", "dpo"], tmp_path / "mine.toml")
    if "tasks" not in change:  # a new search of all methods may replace the old one
        check_beside(outcome(), SETTINGS | change, ["rloo", "mezo", "zopro"], tmp_path / "mine.toml")


def test_a_search_on_fewer_tasks_does_not_replace_one_on_more(tmp_path):
    with pytest.raises(ConfigError, match=r"holds a search on wmt20_mlqe too.*another --outcome"):
        check_beside(outcome(), SETTINGS | {"tasks": ["hh_rlhf"]}, ["rloo", "mezo", "zopro"], tmp_path / "mine.toml")


def test_a_method_searched_later_joins():
    check_beside(outcome(RLOO, MEZO), SETTINGS, ["zopro"], None)
    joined = merge(outcome(MEZO, RLOO), outcome(START, ZOPRO, commit="def"), MAIN)
    assert list(joined.found) == ["rloo", "mezo", "zopro"] and joined.commits == ("abc", "def")
    assert [(r["method"], r["stage"]) for r in joined.trials] == (
        [("rloo", "method")] * 4 + [("mezo", "method")] * 3 + [("zopro", "warm_start")] * 2 + [("zopro", "method")] * 3)
    assert joined.methods == outcome().methods
    # a warm start alone, for another method that begins with it, leaves the rest of its owner as it was
    again = merge(joined, outcome(START, MEZO), MAIN)
    assert again.methods == joined.methods and again.found == joined.found and again.trials == joined.trials


@pytest.fixture
def profile(tmp_path):
    write(tmp_path / "tuned" / "mine.toml", outcome())
    path = tmp_path / "mine.toml"

    def load(text=""):
        path.write_text(f'tuned = "tuned/mine.toml"\n{text}')
        return load_profile(str(path))

    return load


def test_a_profile_takes_in_hyperparameters_and_variants_inherit_them(profile):
    config = profile("[methods.rloo]\nlr = 0.5\n")
    assert config.methods["rloo"] == {"lr": 0.5}  # what the profile says stands above
    for name, lr in (("zopro-random", 0.5), ("zopro-warm-start", 0.0), ("mezo-warm", 3e-2), ("lozo-warm", 3e-2),
                     ("zopro-no-norm-matching", 3e-2)):
        values = get_method(name).resolved(config.methods)
        assert (values["lr"], values["warm_start_lr"]) == (lr, 1e-2)
    assert get_method("zopro-published").resolved(config.methods)["warm_start_lr"] == 5e-5


OLD = '[search]\nrule = "old"\n[chosen]\nrloo = 1\n[reference_increase]\nwmt20_mlqe = 0.4\nhh_rlhf = 2.0\n'


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
def test_a_level_of_an_older_search_is_dropped_where_the_user_changes_what_it_was_measured_under(
        profile, tmp_path, assignment, levels):
    (tmp_path / "tuned" / "mine.toml").write_text(OLD)
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


def test_the_table_shows_published_and_chosen_and_words():
    sheet = published_vs_tuned(outcome(), {"hh_rlhf": "HH-RLHF"})
    assert sheet.header == ("method", "setting", "score in the trials", "score in the finals", "bracketed",
                            "wmt20_mlqe", "HH-RLHF", "searched hyperparameters")
    assert (*sheet.rows[:2], *sheet.rows[-2:]) == (
        ("RLOO", "published", "+0.100", "–", "–", "+0.100", "+0.100", "lr 5e-05"),
        ("RLOO", "tuned (trial 1)", "+0.700", "+0.500 ± 0.100", "no", "+0.400", "+0.600", "lr 0.001"),
        ("ZOPrO", "published", "0.000", "–", "–", "0.000", "0.000", "lr 0.0001"),
        ("ZOPrO", "tuned (trial 2)", "+0.300", "+0.300 ± 0.000", "no", "+0.300", "+0.300", "lr 0.5"))
    assert sheet.rows[4][0] == "ZOPrO, warm start"
    assert sheet.reduced == "reduced protocol (2 seeds), not comparable"
    lost = found("mezo", [0.1], [ends("diverged", "diverged")] * 2, {})
    assert published_vs_tuned(outcome(lost), {}).rows == (
        ("MeZO", "published; no trial came to its end", "diverged", "–", "–", "diverged", "diverged", "lr 0.0001"),)
    text = summary(outcome(RLOO, lost))
    assert "in the finals +0.500 ± 0.100 (trial 1: lr = 0.001; NOT bracketed)" in text
    assert "no trial came to its end, so the published setting stays" in text


def test_the_report_is_a_pure_function_of_the_outcome(tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    names = [[path.name for path in write_report(outcome(), folder, {})] for folder in folders]
    assert names[0] == names[1] == [*[f"table_published_vs_tuned.{s}" for s in ("csv", "md", "tex")],
                                    "trial_scores.png", "trial_scores.svg"]
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names[0])
    figure = (folders[0] / "trial_scores.svg").read_text()
    assert all(word in figure for word in ("RLOO", "MeZO", "published setting (trial 0)", "diverged or failed"))
