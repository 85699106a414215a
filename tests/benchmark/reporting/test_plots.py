"""What the figures draw, checked on the artists and against values computed by hand."""

from __future__ import annotations

import itertools

import matplotlib.colors
import matplotlib.style
import numpy as np
import pytest
from matplotlib.markers import MarkerStyle

from baselines.registry import METHODS
from benchmark.reporting.plots import curves, families, frame, overview, panels, paths, scores, style, write
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results
from tests.benchmark.reporting.made import finished

MAIN = [name for name, method in METHODS.items() if method.group == "main"]
CONTROLS = [name for name, method in METHODS.items() if method.group == "ablation"]


def run_of(method, seed=0, ends=1.0, task="hh_rlhf", start=2.0, diverged=False, deviation=2.0, kl=3.0, error=None):
    """Reward from ``start`` half-way to ``ends`` above it, then there; gold moves by a tenth of that."""
    def record(fraction, gain, at):
        return {"fraction": fraction,
                "spent": {"seconds": at, "forward_tokens": 1e6 * at},
                "metrics": {"reward": start + gain, "kl": kl * fraction, "gold": 0.5 + gain / 10}
                | ({} if error is None else {"reward_se": error})}

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


def test_every_method_has_a_panel_where_it_can_be_told_apart():
    """Colours differ by 15 in CIE L*a*b* for common sight, protanopes and deuteranopes (Machado et al. 2009): about
    what the set of Okabe and Ito keeps; markers all differ and are filled."""
    every = list(METHODS)
    parts = families.panels(every, every)
    assert {m for methods in parts.values() for m in methods} == set(every)
    for title, methods in parts.items():
        assert "rloo" in methods and len(methods) <= families.PANEL + 2, title
        looks = style.looks(methods)
        assert len({look.marker for look in looks.values()}) == len(methods), title
        assert all(MarkerStyle(look.marker).is_filled() for look in looks.values()), title
        assert set(methods) <= style.PALETTE.keys() and set(methods) <= style.LABELS.keys()
        for one, two in itertools.combinations(methods, 2):
            assert min(distances(looks[one].colour, looks[two].colour)) > 15, (title, one, two)


SIGHTS = (
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
)
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour, sight):
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(sight @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distances(one, two):
    return [np.linalg.norm(lab(one, sight) - lab(two, sight)) for sight in SIGHTS]


def test_families_follow_the_parts_of_a_method():
    assert families.families(["mine", "lozo-dpo", "lozo-m", "es", "rloo", "lozo"]) == {
        "main methods": ["rloo"], "the reward itself": ["es"], "low-rank directions": ["lozo-m", "lozo"],
        "low-rank directions, DPO loss": ["lozo-dpo"], "other methods": ["mine"]}
    assert families.family("no-update") == families.family("frozen") == "other settings"  # the old name too
    many = families.panels([f"m{i}" for i in range(13)], ["rloo"])
    assert {title: len(own) for title, own in many.items()} == {
        f"other methods ({i} of 3)": n for i, n in ((1, 6), (2, 6), (3, 4))}  # 5 + 5 + 3, beside RLOO
    # a panel of what stands in the others anyway is none
    assert list(families.panels(["rloo", "zopro", "zopro-random"], ["rloo", "zopro", "zopro-random"])) == [
        "ZOPrO, one part changed"]


def test_a_crowd_is_ranked_within_its_families():
    crowd = ["rloo", "mezo", "zopro", "lozo", "lozo-m", "lozo-released", "es", "es-plain", "eggroll"]
    value = dict(zip(crowd, (1, 3, None, 5, 4, 6, 0, -1, 2), strict=True))
    assert families.ranked(crowd, value) == [
        None, "mezo", "rloo", "zopro", None, "eggroll", "es", "es-plain", None, "lozo-released", "lozo", "lozo-m"]
    assert families.ranked(crowd[:8], value) == crowd[:8]


CROWDED = ["rloo", "mezo", "zopro", "lozo", "lozo-m", "es", "eggroll", "fzoo", "conmezo"]


def crowd(seeds=2):
    return results_of(*(run_of(m, s, 1.0 + 0.1 * i, kl=1.0 + i) for i, m in enumerate(CROWDED) for s in range(seeds)))


def test_a_crowd_of_curves_is_a_panel_a_family_with_the_others_in_grey(drawn):
    results = crowd()
    figure = panels.panels(results, "hh_rlhf", CROWDED, "title", "how.", lambda axes, own, behind: curves.draw_budget(
        axes, results, "hh_rlhf", own, "forward_tokens", behind=behind))
    axes = [own for own in figure.axes if own.axison]
    assert [own.get_legend().get_title().get_text() for own in axes] == [
        "main methods", "the reward itself", "low-rank directions", "shaped or partial directions", "adaptive steps"]
    for own in axes:
        names = [text.get_text() for text in own.get_legend().get_texts()]
        grey = [line for line in own.lines if line.get_color() == frame.BEHIND["color"]]
        assert names[0] == "RLOO" and names[-1] == "π₀ (start)"
        assert len(names) - 1 + len(grey) == len(CROWDED)  # each once
        assert own.get_xlim() == axes[0].get_xlim() and own.get_ylim() == axes[0].get_ylim()


def test_overview_of_a_crowd_has_a_row_a_method(drawn):
    figure = overview.overview(crowd())
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert rows == ["main methods", "ZOPrO", "MeZO", "RLOO", "the reward itself", "EGGROLL", "ES",
                    "low-rank directions", "LOZO-M", "LOZO", "shaped or partial directions", "ConMeZO",
                    "adaptive steps", "FZOO"]
    for axes, scale in zip(figure.axes, (1, 0.1), strict=True):  # reward, then gold
        marks = [line.get_xydata()[0] for line in axes.lines if line.get_markersize() == 6.5]
        assert np.array(sorted(marks, key=lambda mark: mark[1]))[:3] == pytest.approx(
            np.array([(1.2 * scale, 1), (1.1 * scale, 2), (1.0 * scale, 3)]))


def test_frontier_leads_with_what_nobody_exceeds_at_its_price(drawn):
    results = results_of(run_of("rloo", ends=1.0, kl=1.0), run_of("mezo", ends=0.5, kl=2.0),
                         run_of("dpo", ends=2.0, kl=2.0), run_of("zopro", ends=-1.0, kl=0.5))
    assert paths.undominated(results, "hh_rlhf", "reward") == ["rloo", "dpo"]  # MeZO is dearer and lower, ZOPrO a loss
    figure = paths.frontier(results)
    reward, gold = figure.axes
    assert gold.get_ylabel().startswith("change in gold score") and reward.get_xlim() == gold.get_xlim()
    ends = [line.get_xydata()[0] for line in reward.lines if line.get_markersize() == 9.5]
    assert sorted(map(tuple, ends)) == [(0.5, -1.0), (1.0, 1.0), (2.0, 0.5), (2.0, 2.0)]


def test_the_bound_is_a_line_through_the_origin_where_the_start_tells_its_slope(drawn):
    with_bound = results_of(run_of("rloo", deviation=0.5), run_of("rloo", 1, deviation=1.5))
    assert paths.bound(with_bound, "hh_rlhf") == pytest.approx(2**0.5)
    assert paths.bound(results_of(run_of("rloo", deviation=None)), "hh_rlhf") is None
    axes = paths.path(with_bound, "hh_rlhf", ["rloo"], "kl", "reward", "title").axes[0]
    (line,) = [line for line in axes.lines if line.get_linewidth() == paths.BOUND["linewidth"]]
    assert axes.get_xlim()[1] < 4 and axes.get_ylim()[1] < 3  # it does not widen the axes
    (_, _), (kl, top) = line.get_xydata()
    assert top == pytest.approx(np.sqrt(2 * kl))


def test_a_single_seed_has_the_band_of_its_standard_errors(drawn):
    results = results_of(run_of("rloo", error=0.1))
    figure = curves.budget(results, "hh_rlhf", ["rloo"], "forward_tokens")
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    at_end = band[np.isclose(band[:, 0], 10), 1]
    assert (min(at_end), max(at_end)) == pytest.approx((1 - 0.196, 1 + 0.196), abs=1e-3)
    assert "from prompts and completions" in words(figure) and "bootstrap" not in words(figure)
    several = results_of(run_of("rloo", error=0.1), run_of("rloo", 1, error=0.1))
    assert not aggregate.curves(several, "hh_rlhf", "rloo", "seconds").sampled  # then it is that of seeds


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
        figure = paths.path(results, "hh_rlhf", ["rloo"], x, y, "title")
        (thick,) = [line for line in figure.axes[0].lines if line.get_linewidth() == 2 and line.get_marker() == "."]
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
    stems += ["overview", "frontier", "scores", "profile"]
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
