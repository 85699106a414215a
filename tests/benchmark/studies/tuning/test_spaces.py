"""Search spaces as data, and the trials taken from them."""

from __future__ import annotations

import math

import pytest

from baselines.registry import get_method, method_groups
from benchmark.core.errors import ConfigError
from benchmark.plan.resolve import load_profile
from benchmark.studies.tuning.spaces import Dimension, check_completions, load_space, searchable, trial_values

GOOD = '[lr]\nkind = "log"\nlow = 1e-5\nhigh = 1e-2\nsource = "a paper"\n'


def test_every_main_method_has_a_space_that_fits_every_profile():
    assert set(method_groups()["main"]) <= set(searchable())
    for profile in ("smoke", "tiny", "paper"):
        check_completions(searchable(), load_profile(profile).loop.sequences_per_update)
    with pytest.raises(ConfigError, match=r"ppo\.toml: k = 4 does not divide loop.sequences_per_update = 6"):
        check_completions(["ppo"], 6)


def test_what_the_objective_optimises_is_not_searched():
    """A search by reward alone would trade the KL away: its weight stays as published for every method."""
    for method in searchable():
        assert not {"kl_coef", "beta", "loss", "clip"} & {dimension.name for dimension in load_space(method)}


@pytest.mark.parametrize(("dimension", "share", "value"), [
    (Dimension("lr", "log", "s", 1e-4, 1e-2), 0.0, 1e-4),
    (Dimension("lr", "log", "s", 1e-4, 1e-2), 0.5, 1e-3),
    (Dimension("lr", "log", "s", 1e-4, 1e-2), 0.25, 3.16e-4),  # 10^-3.5, three digits
    (Dimension("lr", "log", "s", 1.2345e-4, 1e-2), 0.0, 1.2345e-4),  # rounding does not leave the range
    (Dimension("a", "linear", "s", 1.0, 3.0), 0.25, 1.5),
    (Dimension("k", "choice", "s", values=(2, 4, 8)), 0.0, 2),
    (Dimension("k", "choice", "s", values=(2, 4, 8)), 0.34, 4),
    (Dimension("k", "choice", "s", values=(2, 4, 8)), 0.999, 8),
])
def test_a_share_of_a_range_by_hand(dimension, share, value):
    assert dimension.at(share) == value


def test_trial_0_is_the_published_setting_and_the_others_lie_in_the_space():
    for method in searchable():
        space, trials = load_space(method), trial_values(method, 12, 100)
        published = get_method(method).resolved({})
        assert trials[0] == {d.name: published[d.name] for d in space}
        assert all(d.contains(trial[d.name]) for trial in trials for d in space)
        assert len({tuple(trial.items()) for trial in trials}) == 12


def test_a_trial_does_not_depend_on_how_many_there_are_but_on_method_and_seed():
    assert trial_values("rloo", 4, 100) == trial_values("rloo", 20, 100)[:4]
    assert trial_values("rloo", 1, 100) == trial_values("rloo", 4, 7)[:1]
    assert trial_values("rloo", 4, 100)[1] != trial_values("rloo", 4, 7)[1]
    assert trial_values("mezo", 4, 100)[1]["k"] != trial_values("rloo", 4, 100)[2]["k"]
    # Written down: another scipy, or another order of the file, would silently make another search of it.
    assert trial_values("rloo", 2, 100)[1] == {
        "lr": 0.000412, "k": 8, "epochs": 1, "schedule": "constant", "max_grad_norm": 1.0}


def test_the_points_are_spread_as_a_halton_sequence_spreads_them():
    """Eight successive points fall into eight eighths of the first range (base 2), nine into nine ninths of the second
    (base 3): what independent random draws would do once in 400 searches (8!/8⁸)."""
    trials = trial_values("mezo", 10, 100)[1:]
    lr = [math.log(t["lr"] / 1e-4) / math.log(3e-3 / 1e-4) for t in trials]
    epsilon = [math.log(t["epsilon"] / 1e-3) / math.log(3e-2 / 1e-3) for t in trials]
    assert sorted(int(share * 8) for share in lr[:8]) == list(range(8))
    assert sorted(int(share * 9) for share in epsilon) == list(range(9))


@pytest.mark.parametrize(("text", "words"), [
    ("", "is empty"),
    ("[lr\n", "not valid TOML"),
    (GOOD.replace("[lr]", "[rl]"), "unknown hyperparameter in rloo.toml 'rl'. Did you mean lr"),
    (GOOD.replace('source = "a paper"\n', ""), "rloo.toml: lr has no source"),
    (GOOD.replace('"a paper"', '" "'), r"rloo.toml: lr.source takes text"),
    (GOOD.replace('"log"', '"lin"'), "unknown kind of lr in rloo.toml 'lin'. Did you mean linear"),
    (GOOD.replace('kind = "log"\n', ""), "unknown kind of lr in rloo.toml ''"),
    (GOOD.replace("low", "lower"), "unknown key of lr in rloo.toml 'lower'"),
    (GOOD.replace("low = 1e-5\n", ""), "rloo.toml: lr has no low, which kind = 'log' needs"),
    (GOOD.replace("high = 1e-2", "high = 1e-5"), "rloo.toml: lr needs 0 < low < high, not 1e-05 and 1e-05"),
    (GOOD.replace("low = 1e-5", "low = 0"), "rloo.toml: lr needs 0 < low"),
    (GOOD.replace("low = 1e-5", "low = -1"), "at least 0"),
    (GOOD.replace("low = 1e-5", 'low = "small"'), "rloo.toml, low: rloo.lr takes a number"),
    (GOOD.replace("low = 1e-5", "low = 1e-3"), "rloo.toml: lr: the published value 5e-05 lies outside"),
    (GOOD.replace("[lr]", "[k]"), "rloo.toml: k is no real number: use kind = 'choice'"),
    ('[k]\nkind = "choice"\nvalues = [2]\nsource = "s"\n', "at least two different values"),
    ('[k]\nkind = "choice"\nvalues = [2, 2.0]\nsource = "s"\n', "at least two different values"),
    ('[k]\nkind = "choice"\nvalues = 2\nsource = "s"\n', "takes a list"),
    ('[k]\nkind = "choice"\nvalues = [1, 2]\nsource = "s"\n', "at least 2, not 1"),
    ('[k]\nkind = "choice"\nvalues = [4, 8]\nsource = "s"\n', "the published value 2 lies outside"),
    ("lr = 1\n", "lr takes a table"),
])
def test_a_wrong_space_is_refused_with_file_and_key(tmp_path, text, words):
    (tmp_path / "rloo.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_space("rloo", tmp_path)


def test_a_method_without_a_space_is_named(tmp_path):
    (tmp_path / "rloo.toml").write_text(GOOD)
    assert [d.name for d in load_space("rloo", tmp_path)] == ["lr"]
    with pytest.raises(ConfigError, match=r"unknown method with a search space .* 'ppo'"):
        load_space("ppo", tmp_path)
