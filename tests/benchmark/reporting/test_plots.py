"""What the figures draw, checked on the artists and against values computed by hand."""

from __future__ import annotations

import itertools

import matplotlib.style
import numpy as np
import pytest

from baselines.registry import METHODS
from benchmark.reporting.plots import curves, frame, scores, style, write
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results
from tests.benchmark.reporting.made import finished

MAIN = [name for name, method in METHODS.items() if method.group == "main"]
CONTROLS = [name for name, method in METHODS.items() if method.group == "ablation"]


def run_of(method, seed=0, ends=1.0, task="hh_rlhf", start=2.0, diverged=False, deviation=2.0, kl=3.0):
    """Reward from ``start`` half-way to ``ends`` above it, then there; gold moves by a tenth of that."""
    def record(fraction, gain, at):
        return {"fraction": fraction,
                "spent": {"seconds": at, "forward_tokens": 1e6 * at},
                "metrics": {"reward": start + gain, "kl": kl * fraction, "gold": 0.5 + gain / 10}}

    curve = [record(0.0, 0.0, 0.0), record(0.5, ends / 2, 5.0 + seed), record(1.0, ends, 10.0 + 2 * seed)]
    first = {"reward": start + 1, "gold": 0.5}
    last = {"reward": start + 1 + ends, "gold": 0.5 + ends / 10}
    summary = {"status": "diverged" if diverged else "done", "initial": {"test": first}, "final": {"test": last}}
    shared = {"reward_accuracy": 1.0, "held_out_pairs": 1, "judge": {"kind": "gold"}, "reward_sd": deviation}
    environment = {"commit": "0123456789ab", "data": {"source": "bundled", "revision": "r1"}, "preparation": shared}
    return finished(task, method, seed, summary, curve[:2] if diverged else curve,
                    environment=environment, profile="tiny", protocol="1",
                    budget={"kind": "forward_tokens", "limit": 1e7})


def results_of(*runs, order=tuple(METHODS)):
    return Results(tuple(runs), (), order, None)


@pytest.fixture
def drawn():
    """Figures are drawn under the report's own settings."""
    with matplotlib.style.context(["default", style.RC]):
        yield


def dots(axes):
    """(points, 2) of every mark without a line, small marks only."""
    lines = [line for line in axes.lines if line.get_linestyle() == "None" and line.get_markersize() < 5]
    return np.concatenate([line.get_xydata() for line in lines]) if lines else np.empty((0, 2))


def words(figure):
    return " ".join(" ".join(text.get_text().split()) for text in figure.texts)


def test_controls_get_a_figure_of_their_own_only_beside_other_methods():
    order = [*MAIN, *CONTROLS]
    assert style.groups(order) == {"": MAIN, "_ablation": ["zopro", *CONTROLS]}
    assert style.groups(["zopro", *CONTROLS]) == {"": ["zopro", *CONTROLS]}
    assert style.groups(MAIN) == {"": MAIN}
    # a method that the registry does not know is compared, and controls without ZOPrO are a figure as well
    assert style.groups(["mine", "no-update"]) == {"": ["mine"], "_ablation": ["no-update"]}


def test_every_figure_can_tell_its_methods_apart():
    for methods in style.groups([*MAIN, *CONTROLS]).values():
        looks = style.looks(methods)
        for one, two in itertools.combinations(methods, 2):
            assert looks[one].colour != looks[two].colour and looks[one].marker != looks[two].marker, (one, two)


@pytest.mark.parametrize(("lows", "high", "expected"), [
    ([0.0, -0.1, -0.2], 1.0, None),
    ([0.0, -0.1, -2.31], 1.0, -1.2),  # the median −0.1 lies 1.1 below the highest: the axis ends as far below it
    ([0.0, -0.1, -2.29], 1.0, None),  # falls less than twice as far
    ([-5.0], 1.0, None),  # alone it flattens nobody
])
def test_axis_ends_where_one_method_would_flatten_the_others(lows, high, expected):
    assert frame.floor(lows, high) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("value", "text"), [(-0.126, "−0.13"), (-0.004, "0.00"), (1.5, "1.50")])
def test_numbers_have_a_true_minus_and_no_negative_zero(value, text):
    assert frame.minus(value) == text


def test_budget_figure_shows_every_end_and_the_mean_of_the_increases(drawn):
    results = results_of(*(run_of("rloo", s, ends, start=10.0 * s) for s, ends in enumerate((1.0, 2.0, 6.0))),
                         *(run_of("zopro", s, 1.0) for s in range(3)))
    figure = curves.budget(results, "hh_rlhf", ["rloo", "zopro"], "forward_tokens")
    left, right = figure.axes
    ends = np.array(sorted(dots(left).tolist()))
    # increases, whatever level a seed starts at; seed s ends at 10 + 2s million forward tokens
    assert ends == pytest.approx(np.array([(10, 1), (10, 1), (12, 1), (12, 2), (14, 1), (14, 6)]))
    columns = dots(right)
    assert sorted(columns[columns[:, 0] < 0.5, 1]) == pytest.approx([1, 2, 6])
    means = [line.get_xydata()[0] for line in right.lines if line.get_markersize() == 8]
    assert np.array(means) == pytest.approx(np.array([[0, 3], [1, 1]]))
    # the mean line ends where the first seed ends; the others are then at 1 + 1 · 4/6 and 3 + 3 · 3/7
    (line,) = [line for line in left.lines if line.get_color() == style.PALETTE["rloo"].colour
               and len(line.get_xdata()) == curves.POINTS]
    assert line.get_xydata()[-1] == pytest.approx([10, np.mean([1, 1 + 4 / 6, 3 + 9 / 7])])
    assert "95 % bootstrap interval" in words(figure) and "n = 3 seeds per method" in words(figure)
    assert "reduced protocol (3 seeds), not comparable" in words(figure)


def test_band_of_a_mean_is_between_its_seeds(drawn):
    results = results_of(*(run_of("rloo", s, ends) for s, ends in enumerate((1.0, 3.0))))
    figure = curves.budget(results, "hh_rlhf", ["rloo"], "forward_tokens")
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    # two seeds: a quarter of the resamples is the lower seed alone, another the higher one alone
    at_end = band[np.isclose(band[:, 0], 10), 1]
    assert (min(at_end), max(at_end)) == pytest.approx((1, 1.5 + 1.5 * 4 / 6))


def test_single_seeds_have_no_interval_and_say_so(drawn):
    results = results_of(run_of("rloo"), run_of("zopro"))
    figure = curves.budget(results, "hh_rlhf", ["rloo", "zopro"], "seconds")
    assert not figure.axes[0].collections and "a single seed has no interval" in words(figure)
    assert "bootstrap" not in words(figure)


def test_diverged_runs_are_a_word_and_a_cross_never_in_a_mean(drawn):
    results = results_of(run_of("rloo", 0), run_of("rloo", 1, diverged=True), run_of("zopro", 0), run_of("zopro", 1))
    figure = curves.budget(results, "hh_rlhf", ["rloo", "zopro"], "forward_tokens")
    left, right = figure.axes
    assert [text.get_text() for text in right.texts] == ["diverged"]
    means = [line.get_xydata()[0][0] for line in right.lines if line.get_markersize() == 8]
    assert means == [1]  # the column of ZOPrO alone
    crosses = [line.get_xydata()[0] for line in left.lines if line.get_marker() == "x"]
    assert np.array(crosses) == pytest.approx(np.array([[6, 0.5]]))  # its last finite evaluation
    assert "RLOO (1 of 2 diverged, ×)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_what_lies_outside_the_axis_is_named_and_marked(drawn):
    results = results_of(*(run_of(m, s) for m in ("rloo", "ppo", "zopro") for s in range(2)),
                         run_of("dpo", 0, -7.0), run_of("dpo", 1, -0.5))
    figure = curves.budget(results, "hh_rlhf", ["rloo", "ppo", "dpo", "zopro"], "seconds")
    # lowest values 0, 0, −7, 0: their median 0 lies 1 below the highest
    assert figure.axes[0].get_ylim()[0] == pytest.approx(-1)
    assert "Outside the axes ended: DPO seed 0 at −7.00." in words(figure)
    arrows = [line.get_xydata()[0] for line in figure.axes[1].lines if not line.get_clip_on()]
    assert len(arrows) == 1 and arrows[0][1] == pytest.approx(-1)


def test_paths_start_at_the_origin_and_end_at_the_means(drawn):
    results = results_of(run_of("rloo", 0, 1.0, kl=2.0), run_of("rloo", 1, 3.0, kl=6.0, start=50.0))
    for x, y, middle, end in (("kl", "reward", (2, 1), (4, 2)), ("reward", "gold", (1, 0.1), (2, 0.2))):
        figure = curves.path(results, "hh_rlhf", ["rloo"], x, y, "title")
        (thick,) = [line for line in figure.axes[0].lines if line.get_linewidth() == 2 and line.get_marker() == "None"]
        assert thick.get_xydata() == pytest.approx(np.array([(0, 0), middle, end]))
        (mark,) = [line for line in figure.axes[0].lines if line.get_markersize() == 9.5]
        assert mark.get_xydata()[0] == pytest.approx(end)
    # each seed's own end, and the bars of two seeds that reach from one to the other
    assert np.sort(dots(figure.axes[0]), axis=0) == pytest.approx(np.array([(1, 0.1), (3, 0.3)]))
    bars = [line.get_xydata() for line in figure.axes[0].lines if line.get_linewidth() == 1.1]
    assert bars[0] == pytest.approx(np.array([(1, 0.2), (3, 0.2)]))
    assert bars[1] == pytest.approx(np.array([(2, 0.1), (2, 0.3)]))


def test_scores_by_hand(drawn):
    # standard deviation 2: scores 0.5, 1, 1.5, 4 → the middle half is 1 and 1.5
    results = results_of(*(run_of("rloo", s, ends) for s, ends in enumerate((1.0, 2.0, 3.0, 8.0))),
                         *(run_of("zopro", s, 1.0, diverged=s == 3) for s in range(4)))
    figure = scores.scores(results, aggregate.scores(results))
    axes = figure.axes[0]
    large = [line.get_xydata()[0] for line in axes.lines if line.get_markersize() == 10]
    assert np.array(large) == pytest.approx(np.array([[1.25, 0]]))
    marks = dots(axes)
    assert sorted(marks[marks[:, 1] < 0.5, 0]) == pytest.approx([0.5, 1, 1.5, 4])
    assert sorted(marks[marks[:, 1] > 0.5, 0]) == pytest.approx([0.5, 0.5, 0.5])
    texts = [text.get_text() for text in axes.texts]
    assert texts[0].startswith("1.25 [") and texts[0].endswith("n = 4") and texts[1] == "diverged (1 of 4 runs)"


def test_profile_by_hand():
    share, low, high = scores.profile_curve({"a": [0.0, 1.0], "b": [0.5, None]}, np.array([-1.0, 0.2, 0.7, 1.0]))
    # above −1: 2/2 and 1/2; above 0.2: 1/2 and 1/2; above 0.7: 1/2 and 0; "above" 1 is nobody
    assert share == pytest.approx([0.75, 0.5, 0.25, 0])
    # both tasks drawn at their worst or best happens in 1/16 of the resamples, one task alone in 1/4
    assert low == pytest.approx([0.5, 0, 0, 0]) and high == pytest.approx([1, 1, 0.5, 0])
    assert scores.profile_curve({"a": [0.0]}, np.array([-1.0]))[1:] == (None, None)


def test_profile_leaves_out_a_method_without_every_task(drawn):
    runs = [run_of(m, s, task=t) for t in ("hh_rlhf", "wmt20_mlqe") for m in ("rloo", "zopro") for s in range(2)]
    results = results_of(*(r for r in runs if (r.method, r.task) != ("rloo", "wmt20_mlqe")))
    figure = scores.profile(results, aggregate.scores(results))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["ZOPrO"]
    assert "Not shown, for want of a score on every task: RLOO." in words(figure)


def test_files_of_a_report(tmp_path):
    runs = [run_of(m, s) for m in ("rloo", "zopro", "zopro-random") for s in range(2)]
    written = write.write_all(results_of(*runs), tmp_path)
    stems = [f"{name}{suffix}_hh_rlhf" for name in ("reward_vs_time", "reward_vs_compute", "reward_vs_kl",
             "gold_vs_kl", "gold_vs_reward") for suffix in ("", "_ablation")]
    stems += ["overview", "scores", "profile"]
    assert sorted(p.name for p in written) == sorted(f"{stem}.{kind}" for stem in stems for kind in ("png", "svg"))
    assert sorted(written) == sorted(tmp_path.iterdir())
    text = (tmp_path / "reward_vs_compute_ablation_hh_rlhf.svg").read_text(encoding="utf-8")
    assert "random only (a = 0)" in text and "RLOO" not in text and "4 runs drawn, 6 runs used" in text
    assert "compute [million forward tokens]" in text


def test_without_a_unit_there_are_no_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "save", lambda figure, stem: [stem])
    names = {p.name for p in write.write_all(results_of(run_of("rloo", deviation=None)), tmp_path)}
    assert "overview" in names and not names & {"scores", "profile"}


def test_same_results_same_bytes(tmp_path, drawn):
    results = results_of(*(run_of(m, s) for m in ("rloo", "zopro") for s in range(2)))
    files = [frame.save(scores.profile(results, aggregate.scores(results)), tmp_path / name)
             for name in ("one", "two")]
    for one, two in zip(*files, strict=True):
        assert one.read_bytes() == two.read_bytes()
