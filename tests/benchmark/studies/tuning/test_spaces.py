"""Search spaces as data, and the points taken from them."""

from __future__ import annotations

import math

import pytest

from baselines.registry import METHODS, method_groups
from benchmark.core.errors import ConfigError
from benchmark.plan.resolve import load_profile
from benchmark.studies.tuning.spaces import (
    EXTENSIONS,
    Dimension,
    Space,
    check_completions,
    load_space,
    read_spaces,
)
from benchmark.studies.tuning.stages import searched_as, subjects

GOOD = '[methods.rloo]\nlr = { low = 1e-5, high = 1e-2, source = "a paper" }\n'
KINDS = ("norms", "lora", "full")
LR = Dimension("lr", 1e-4, 1e-2)
FEW = Dimension("epochs", values=(1, 2, 4), least=1)


def searched(kind):
    """Every search that any method which can train ``kind`` needs."""
    methods = [name for name, row in METHODS.items() if kind in row.kinds]
    return subjects([name for name in methods if searched_as(name, kind)], kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_that_can_train_a_kind_has_a_space_there_that_fits_every_profile(kind):
    found = {subject: load_space(subject.method, kind, subject.warm) for subject in searched(kind)}
    assert {*method_groups()["main"]} <= {subject.method for subject in found}
    for subject, space in found.items():
        assert 1 <= len(space.dimensions) <= 3, "few trials are collinear in many dimensions"
        for profile in ("smoke", "tiny", "paper"):
            check_completions(space, str(subject), load_profile(profile).loop.sequences_per_update)
    with pytest.raises(ConfigError, match=r"of rloo: k = 4 does not divide loop.sequences_per_update = 6"):
        check_completions(load_space("rloo", kind), "rloo", 6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_optimised_and_what_defines_zopro_is_not_searched(kind):
    """A search by reward alone would trade the KL away: its weight stays as published for every method."""
    for subject in searched(kind):
        space = load_space(subject.method, kind, subject.warm)
        assert not {"kl_coef", "beta", "loss", "clip"} & {*space.names}
    zopro = load_space("zopro", kind)
    assert zopro.fixed["initial_weight"] == 0.999 and [d.name for d in zopro.dimensions] == ["lr", "epsilon"]
    assert zopro.dimensions[0].high == 30


@pytest.mark.parametrize(("method", "name", "value"), [
    ("rloo", "lr", 3e-2), ("mezo", "lr", 0.1), ("mezo", "epsilon", 1e-2), ("zopro", "lr", 3.0),
    ("zopro", "epsilon", 5e-2)])
def test_settings_known_to_work_with_gains_lie_inside_their_ranges(method, name, value):
    dimension = {d.name: d for d in load_space(method, "norms").dimensions}[name]
    assert dimension.edge(value, [dimension.low, dimension.high]) == 0


@pytest.mark.parametrize(("dimension", "share", "value"), [
    (LR, 0.0, 1e-4),
    (LR, 0.5, 1e-3),
    (LR, 0.25, 3.16e-4),  # 10^-3.5, three digits
    (Dimension("lr", 1.2345e-4, 1e-2), 0.0, 1.2345e-4),  # rounding does not leave the range
    (FEW, 0.0, 1),
    (FEW, 0.34, 2),
    (FEW, 0.999, 4),
])
def test_a_share_of_a_range_by_hand(dimension, share, value):
    assert dimension.at(share) == value


@pytest.mark.parametrize(("dimension", "value", "tried", "edge"), [
    (LR, 1e-3, [1e-4, 1e-2], 0),
    (LR, 1.7e-4, [1e-4, 1e-2], -1),  # an eighth of two decades ends at 1.78e-4
    (LR, 1.8e-4, [1e-4, 1e-2], 0),
    (LR, 5.7e-3, [1e-4, 1e-2], 1),
    (LR, 5.5e-3, [1e-4, 1e-2], 0),
    (LR, 1e-3, [1e-3, 2e-4], 1),  # the largest that was tried
    (LR, 1e-3, [1e-3, 2e-3], -1),
    (LR, 1e-7, [1e-3], -1),  # a published value outside
    (LR, 0.0, [1e-3], -1),
    (FEW, 1, [], 0),  # nothing lies below
    (FEW, 2, [], 0),
    (FEW, 4, [], 1),
    (FEW, 9, [], 1),
    (Dimension("k", values=(4, 8), least=2), 4, [], -1),
    (Dimension("schedule", values=("linear", "constant")), "constant", [], 0),  # no order, no edge
    (Dimension("centred", values=(False, True)), True, [], 0),
])
def test_where_an_edge_is_by_hand(dimension, value, tried, edge):
    assert dimension.edge(value, tried) == edge


def test_an_end_is_moved_by_a_decade_or_by_the_last_step_of_values_and_not_for_ever():
    whole, new = LR.extended(1)
    assert (whole.low, whole.high, new.low, new.high) == pytest.approx((1e-4, 1e-1, 1e-2, 1e-1))
    whole, new = whole.extended(-1)
    assert (whole.low, whole.high, new.low, new.high) == pytest.approx((1e-5, 1e-1, 1e-5, 1e-4))
    assert whole.moved == (1, 1) and EXTENSIONS == 2
    whole, _ = whole.extended(1)
    assert whole.high == pytest.approx(1.0) and whole.extended(1) is None and whole.extended(-1)
    whole, new = FEW.extended(1)
    assert (whole.values, new.values) == ((1, 2, 4, 8), (8,))
    assert Dimension("k", values=(4, 8), least=2).extended(-1)[0].values == (2, 4, 8)


def test_a_space_grows_at_the_edges_of_the_best_trial_and_new_points_lie_beyond():
    space = Space((LR, FEW), {"k": 4})
    tried = [{"lr": 1e-4, "epochs": 1}, {"lr": 1e-2, "epochs": 4}]
    assert space.extended({"lr": 1e-3, "epochs": 2}, tried) == (space, {})
    whole, parts = space.extended({"lr": 9e-3, "epochs": 4}, tried)
    assert [*parts] == ["lr", "epochs"] and whole.dimensions[1].values == (1, 2, 4, 8)
    for point in parts["lr"].points(8, "a"):
        assert 1e-2 <= point["lr"] <= 0.1 and point["epochs"] in (1, 2, 4, 8) and point["k"] == 4
    for point in parts["epochs"].points(8, "a"):
        assert point["epochs"] == 8 and 1e-4 <= point["lr"] <= 0.1


def test_a_point_does_not_depend_on_how_many_there_are_but_on_method_and_seed():
    space = load_space("mezo", "norms")
    points = space.points(4, "mezo", 100)
    assert points == space.points(20, "mezo", 100)[:4] and space.points(0, "mezo", 100) == []
    assert points != space.points(4, "mezo", 7) and points != space.points(4, "mezo-q2", 100)
    # Written down: another scipy, or another order of the file, would silently make another search of it.
    assert points[0] == {"lr": 0.0113, "epsilon": 0.0214, "k": 4, "epochs": 4}


def test_the_points_are_spread_as_a_halton_sequence_spreads_them():
    """Eight successive points fall into eight eighths of the first range (base 2), nine into nine ninths of the second
    (base 3): what independent random draws would do once in 400 searches (8!/8⁸)."""
    space = load_space("mezo", "norms")
    points = space.points(9, "mezo", 100)
    shares = [[math.log(p[d.name] / d.low) / math.log(d.high / d.low) for p in points] for d in space.dimensions]
    assert sorted(int(share * 8) for share in shares[0][:8]) == list(range(8))
    assert sorted(int(share * 9) for share in shares[1]) == list(range(9))


def write(folder, text, kind="norms"):
    (folder / f"{kind}.toml").write_text(text)
    return folder


def test_a_space_is_made_of_its_own_table_that_of_its_base_and_what_is_shared(tmp_path):
    write(tmp_path, """
        [shared]
        k = { value = 4, source = "s" }
        [methods.mezo]
        lr = { low = 1e-2, high = 1.0, source = "s" }
        epsilon = { low = 1e-3, high = 1.0, source = "s" }
        samples = { value = 3, source = "s" }
        [methods.lozo]
        window = { value = 7, source = "s" }
        [methods.mezo-dpo]
        like = "mezo"
        lr = { low = 1.0, high = 2.0, source = "s" }
        """)
    lozo, dpo = (load_space(name, "norms", folder=tmp_path) for name in ("lozo", "mezo-dpo"))
    assert lozo.fixed == {"samples": 3, "window": 7, "k": 4} and [d.name for d in lozo.dimensions] == ["lr", "epsilon"]
    assert dpo.fixed == {"samples": 3} and dpo.dimensions[0].low == 1.0  # DPO has no k
    assert load_space("mezo-q5", "norms", folder=tmp_path).fixed == {"k": 4}  # 5 samples are what it is


@pytest.mark.parametrize(("text", "words"), [
    ("[methods.lr\n", "not valid TOML"),
    (GOOD.replace("methods", "method"), "unknown table in norms.toml 'method'. Did you mean methods"),
    (GOOD.replace("rloo", "rlo"), "unknown method 'rlo'"),
    (GOOD.replace("lr =", "rl ="), "unknown hyperparameter of norms.toml: rloo 'rl'. Did you mean lr"),
    (GOOD.replace(', source = "a paper"', ""), "norms.toml: rloo.lr takes a table with source and low and high"),
    (GOOD.replace('"a paper"', '" "'), r"norms.toml: rloo.lr.source takes text"),
    (GOOD.replace("low", "lower"), "takes a table with source and low and high"),
    (GOOD.replace("low = 1e-5, ", ""), "takes a table with source and low and high"),
    (GOOD.replace("high = 1e-2", "high = 1e-5"), "norms.toml: rloo.lr needs 0 < low < high, not 1e-05 and 1e-05"),
    (GOOD.replace("low = 1e-5", "low = 0"), "norms.toml: rloo.lr needs 0 < low"),
    (GOOD.replace("low = 1e-5", "low = -1"), "at least 0"),
    (GOOD.replace("low = 1e-5", 'low = "small"'), "rloo.lr takes a number"),
    ('[methods.rloo]\nk = { low = 2, high = 4, source = "s" }', "rloo.k is no real number: list its values"),
    ('[methods.rloo]\nk = { values = [2], source = "s" }', "at least two different values"),
    ('[methods.rloo]\nk = { values = [2, 2.0], source = "s" }', "at least two different values"),
    ('[methods.rloo]\nk = { values = [4, 2], source = "s" }', "ascending order"),
    ('[methods.rloo]\nk = { values = 2, source = "s" }', "takes a list"),
    ('[methods.rloo]\nk = { values = [1, 2], source = "s" }', "at least 2, not 1"),
    ('[methods.rloo]\nk = { value = 2, source = "s" }', "rloo searches nothing"),
    ("[methods.rloo]\nlr = 1\n", "lr takes a table"),
    ("", "rloo has no search space for adapter.kind = norms"),
])
def test_a_wrong_space_is_refused_with_file_and_key(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        load_space("rloo", "norms", folder=write(tmp_path, text))


def test_a_kind_without_a_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"search spaces lora.toml \(adapter.kind = lora\): cannot be read"):
        read_spaces("lora", tmp_path)
