"""Several settings in one folder: variants of a method are rows, and what cannot share a table loses nobody's report.
"""

import json
import shutil

import pytest

from baselines import registry
from benchmark import read_runs
from benchmark.core.errors import BenchmarkError
from benchmark.reporting import report
from benchmark.reporting.pages import comparison as page
from benchmark.reporting.plots import paper, style
from benchmark.reporting.read import reader, variants
from benchmark.reporting.tables import costs
from benchmark.reporting.tables.comparison import compare
from tests.benchmark.reporting.golden import make
from tests.benchmark.reporting.made import finished
from tests.benchmark.reporting.test_compare import write


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A copy of the golden runs."""
    monkeypatch.setattr("benchmark.reporting.plots.write.write_all", lambda results, folder: [])
    return shutil.copytree(make.RUNS, tmp_path / "out")


def copied(runs, pattern, name="f00d", **hyperparameters):
    """Copies of runs under another hash, with other hyperparameters; their names."""
    found = []
    for folder in sorted(runs.glob(pattern)):
        other = shutil.copytree(folder, folder.with_name(folder.name.rpartition("__")[0] + f"__{name}"))
        change(other, lambda value: value["config"]["method"].update(hyperparameters))
        found.append(other.name)
    assert found
    return found


def change(folder, by, file="config.json"):
    value = json.loads((folder / file).read_text(encoding="utf-8"))
    by(value)
    (folder / file).write_text(json.dumps(value), encoding="utf-8")


def test_settings_of_one_method_are_rows_in_every_output(runs):
    copied(runs, "*__rloo__*", epochs=2)
    result = report(runs, method_order=make.METHOD_ORDER)
    assert result.used == 14 and "RLOO (epochs = 1)" in result.summary
    for name in ("table_hh_rlhf.csv", "table_hh_rlhf.tex", "table_overall.md", "table_cost.csv", "index.html"):
        assert "(epochs = 1)" in (result.folder / name).read_text(encoding="utf-8"), name
    table = (result.folder / "table_hh_rlhf.csv").read_text(encoding="utf-8")
    assert [line.split(",")[1] for line in table.splitlines()[1:]] == ["rloo", "rloo (epochs = 1)", "zopro", "mezo"]
    curves = read_runs(runs).curves()
    assert set(curves["method"]) == {"rloo", "rloo (epochs = 1)", "zopro", "mezo"}
    assert curves.groupby("method")["run"].nunique()["rloo"] == 4
    results = reader.read(runs)
    looks = style.looks(results.methods)
    assert len(set(looks.values())) == len(looks)
    drawn = paper.write(results, ["rloo", "rloo (epochs = 1)"], "reward", "compute", "svg", runs)
    assert "RLOO (epochs = 1)" in next(path for path in drawn if path.suffix == ".svg").read_text(encoding="utf-8")


def run_with(profile="tiny", seed=0, method="dpo", **values):
    return finished("t", method, seed, {}, [], config={"method": values}, profile=profile)


def test_the_plain_name_is_that_of_the_profiles_settings():
    def names(*runs):
        return [run.method for run in variants.named([runs])[0]]

    assert names(run_with(loss="sigmoid"), run_with(loss="ipo")) == ["dpo", "dpo (loss = ipo)"]
    # Where the profile is not known here, or says neither, every row says what it is.
    assert names(run_with("elsewhere", loss="sigmoid"), run_with("elsewhere", loss="ipo")) == [
        "dpo (loss = sigmoid)", "dpo (loss = ipo)"]
    assert names(run_with(beta=7.0), run_with(beta=8, loss="ipo")) == [
        "dpo (beta = 7; loss = missing)", "dpo (beta = 8; loss = ipo)"]
    assert names(run_with(beta=7.0), run_with(seed=1, beta=7)) == ["dpo", "dpo"]
    assert names(run_with(method="new", p="<b>\u202e"), run_with(method="new", p="x, y)")) == [
        "new (p = _b__)", "new (p = x__y_)"]


def test_variants_stand_beside_their_method_by_value():
    names = ["mezo (lr = 0.1)", "mezo (lr = 1e-05)", "mezo", "mezo (lr = 0.02)", "rloo (loss = b)", "rloo (loss = a)"]
    assert variants.order(names, ["mezo", "rloo"]) == [
        "mezo", "mezo (lr = 1e-05)", "mezo (lr = 0.02)", "mezo (lr = 0.1)", "rloo (loss = a)", "rloo (loss = b)"]
    assert style.label("dpo (loss = ipo)") == "DPO (loss = ipo)"
    assert registry.find("dpo (loss = ipo)") is registry.METHODS["dpo"]
    many = [f"mezo (lr = {i})" for i in range(20)]
    assert len({(look.colour, look.marker) for look in style.looks(many).values()}) == 20


def test_a_variant_is_compared_with_itself(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    write(a, "dpo", 0, config={"method": {"loss": "ipo"}})
    write(b, "dpo", 0, config={"method": {"loss": "ipo"}})
    write(b, "dpo", 1, config={"method": {"loss": "sigmoid"}})
    cells = {cell.method: cell.verdict for cell in compare(a, b).cells}
    assert cells == {"dpo": "only in B", "dpo (loss = ipo)": "identical curves"}
    assert "DPO (loss = ipo)" in page.terminal(compare(a, b))
    shutil.rmtree(next(b.glob("*s1*")))
    change(next(b.glob("*s0*")), lambda value: value["config"]["method"].update(loss="sigmoid"))
    assert [cell.method for cell in compare(a, b).cells] == ["dpo"]  # one setting each: two versions of a method


@pytest.mark.parametrize(("other", "reason"), [
    (lambda runs: change(next(runs.glob("*f00d")), lambda v: v["config"]["loop"].update(sequences_per_update=8)),
     "other settings"),
    (lambda runs: change(next(runs.glob("*f00d")), lambda v: v["run"].update(protocol="0.9")), "other settings"),
    (lambda runs: change(next(runs.glob("*f00d")), lambda v: v["run"]["budget"].update(limit=3)), "other settings"),
    (lambda runs: None, "other settings"),  # the same seed twice
    (lambda runs: (next(runs.glob("*f00d")) / "curve.jsonl").write_text("{"), "damaged"),
])
def test_a_command_reports_what_can_stand_beside_its_own_runs(runs, other, reason):
    own = [path.name for path in runs.glob("hh_rlhf__rloo__*")]
    copied(runs, "hh_rlhf__zopro__s0__*")
    other(runs)
    with pytest.raises(BenchmarkError):
        report(runs)
    result = report(runs, around=own)
    assert result.used == 10 and f"1 {reason}" in result.summary
    assert any("left out: hh_rlhf__zopro__s0__f00d" in caution for caution in result.cautions)
    assert {path.name for path in result.folder.glob("table_*.csv")} >= {"table_wmt20_mlqe.csv", "table_hh_rlhf.csv"}


class Silent:
    """Parts of a plugin that do not say what they cost."""


@pytest.mark.parametrize("kind", ["objective", "estimator", "gone"])
def test_a_method_that_cannot_say_what_it_costs_has_no_entry_and_a_report(runs, kind, monkeypatch):
    target = "no_such_module:Part" if kind == "gone" else f"{__name__}:Silent"
    for parts in (registry.OBJECTIVES, registry.ESTIMATORS):
        monkeypatch.setitem(parts, "silent", registry.Part(target))
    row = registry.Method("silent", "rloo", registry.OnePiece("silent"), "") if kind == "estimator" else (
        registry.Method("silent", "silent", registry.FirstOrder(), ""))
    monkeypatch.setitem(registry.METHODS, "silent", row)
    for folder in runs.glob("*__mezo__*"):
        change(folder, lambda value: value["run"].update(method="silent"))
        folder.rename(folder.with_name(folder.name.replace("mezo", "silent")))
    result = report(runs)
    assert result.used == 10 and "silent" in result.summary
    assert costs.predicted(next(run for run in reader.read(runs).runs if run.method == "silent")) is None
