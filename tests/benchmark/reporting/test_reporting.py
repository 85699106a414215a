"""The report of the committed golden runs; ``tests/benchmark/reporting/golden/make.py`` says how to regenerate them."""

import csv
import io
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.core.errors import BenchmarkError
from benchmark.reporting import report
from tests.benchmark.reporting.golden import make


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """(result, report folder) of a copy of the committed runs."""
    out = tmp_path_factory.mktemp("golden") / "out"
    shutil.copytree(make.RUNS, out)
    return report(out, method_order=make.METHOD_ORDER)


@pytest.fixture
def runs(tmp_path):
    """A fresh copy of the committed runs, to be damaged."""
    out = tmp_path / "out"
    shutil.copytree(make.RUNS, out)
    return out


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take most of the time of a report; a test that looks at text alone does without."""
    monkeypatch.setattr("benchmark.reporting.plots.write.write_all", lambda results, folder: [])


def edit(out: Path, pattern: str, file: str, change) -> None:
    folders = sorted(out.glob(pattern))
    assert folders, pattern
    for folder in folders:
        value = json.loads((folder / file).read_text(encoding="utf-8"))
        change(value)
        (folder / file).write_text(json.dumps(value), encoding="utf-8")


def rows(result, task: str) -> dict[str, dict[str, str]]:
    text = (result.folder / f"table_{task}.csv").read_text(encoding="utf-8")
    return {row["method"]: row for row in csv.DictReader(io.StringIO(text))}


def test_committed_runs_are_what_the_generator_writes(tmp_path):
    make.write_runs(tmp_path)
    ours = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    theirs = {p.relative_to(make.RUNS): p.read_bytes() for p in make.RUNS.rglob("*") if p.is_file()}
    assert ours == theirs


def test_text_outputs_byte_for_byte(golden):
    expected = {p.name: p.read_bytes() for p in make.EXPECTED.iterdir()}
    written = {p.name: p.read_bytes() for p in golden.written if p.suffix in make.EXTENSIONS}
    assert sorted(written) == sorted(expected)
    for name, value in expected.items():
        assert written[name].decode() == value.decode(), f"{name}: see {make.__file__}"


def test_result_counts_and_names_what_is_left_out(golden):
    assert (golden.used, golden.ignored) == (10, 2)
    assert len(golden.failed) == 1
    assert golden.failed[0].startswith("hh_rlhf__zopro__s1__") and "no memory for a batch" in golden.failed[0]
    assert all(path.is_file() and path.parent == golden.folder for path in golden.written)
    assert "ZOPrO" in golden.summary and "not comparable" in golden.summary


def test_cells_by_hand(golden):
    wmt = rows(golden, "wmt20_mlqe")
    rloo, zopro = wmt["rloo"], wmt["zopro"]
    # test reward: −1.9 → −1.0 (seed 0) and −2.1 → −1.1 (seed 1)
    assert float(rloo["reward_pi0 [r₀ score]"]) == -2.0
    assert float(rloo["reward [r₀ score]"]) == -1.05
    assert [rloo[f"reward_increase_seed_{seed} [r₀ score]"] for seed in (0, 1)] == ["0.9", "1"]
    assert float(rloo["reward_increase [r₀ score]"]) == 0.95
    assert float(rloo["reward_increase_sd [r₀ score]"]) == pytest.approx(0.1 / 2**0.5)  # n − 1
    # gold is 0.5 + gain/4 of the test gain 0.9 and 1.0
    assert float(rloo["gold_change [0–1]"]) == pytest.approx(0.2375)
    # optimisation 10 s and 11 s; 2 million tokens each
    assert (float(rloo["seconds [s]"]), float(rloo["forward_tokens [millions]"])) == (10.5, 2.0)
    # equal time is where the first run that counts ended: MeZO's seed 0, after 5 s. There ZOPrO's seed 0 (8 s) is a
    # quarter past its middle evaluation: 0.6 + 0.25 · 0.8; seed 1 (9 s) a ninth: 0.66 + 1/9 · 0.88.
    assert float(zopro["reward_increase_equal_time_at [s]"]) == 5
    each = [float(zopro[f"reward_increase_equal_time_seed_{seed} [r₀ score]"]) for seed in (0, 1)]
    assert each == pytest.approx([0.8, 0.66 + 0.88 / 9])
    # equal compute is the common end, on the validation split: gains 1.4 and 1.54
    assert float(zopro["reward_increase_equal_compute [r₀ score]"]) == pytest.approx(1.47)
    assert zopro["peak_memory_warm_start [MiB]"] == "420" and rloo["peak_memory_warm_start [MiB]"] == "–"


def test_a_diverged_seed_is_a_word_and_enters_no_mean(golden):
    mezo = rows(golden, "wmt20_mlqe")["mezo"]
    outcomes = {"reward", "reward_increase", "gold", "gold_change", "kl", "length", "ended", "chrf", "bleu"}
    outcomes |= {"reward_increase_equal_time", "reward_increase_equal_compute", "reward_area"}
    words = {column.split(" ")[0] for column, value in mezo.items() if value == "diverged" and "_seed_" not in column}
    assert words == outcomes
    assert [mezo[f"reward_increase_seed_{seed} [r₀ score]"] for seed in (0, 1)] == ["0.01", "diverged"]
    assert float(mezo["seconds [s]"]) == 5.5  # what it cost is known
    text = (golden.folder / "table_wmt20_mlqe.md").read_text(encoding="utf-8")
    assert "| 2 (1 diverged) |" in text and "nan" not in text.lower()


def test_method_order_and_labels(golden):
    assert list(rows(golden, "wmt20_mlqe")) == list(make.METHOD_ORDER)
    text = (golden.folder / "table_wmt20_mlqe.md").read_text(encoding="utf-8")
    assert text.index("| RLOO") < text.index("| ZOPrO") < text.index("| MeZO")


def test_every_table_plot_and_page_says_reduced(golden):
    for path in golden.written:
        if path.suffix != ".png":
            text = path.read_text(encoding="utf-8").lower()
            assert "reduced protocol" in text and "not comparable" in text, path.name


def test_five_seeds_are_not_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "STARTS", {"wmt20_mlqe": dict.fromkeys(range(5), -2.0)})
    for seed in range(5):
        make.write_run(tmp_path, "wmt20_mlqe", "rloo", seed)
    result = report(tmp_path)
    texts = [path.read_text(encoding="utf-8") for path in result.written if path.suffix != ".png"]
    assert not any("reduced protocol" in text for text in texts)
    assert not result.cautions


def test_units_stand_in_every_header(golden):
    for task in make.STARTS:
        header = next(csv.reader(io.StringIO((golden.folder / f"table_{task}.csv").read_text(encoding="utf-8"))))
        words = {"task", "method", "profile", "protocol note", "warnings"}
        assert [h for h in header if h not in words and not h.endswith("]")] == []


def test_text_of_models_is_shown_and_never_acts(golden):
    page = (golden.folder / "report.md").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "[Katze](" not in page and r"\[Katze\](http&#58;//x.example)" in page
    assert r"\*cat\* \| sat.<br>" in page
    assert "&lt;rows&gt; \\| at all" in page  # an error message is data too
    figures = [path.name for path in golden.written if path.suffix == ".png"]
    assert figures and all(page.count(f"]({name})") == 1 for name in figures)
    links = [part.split(")")[0] for part in page.split("](")[1:] if not part.startswith("http&")]
    assert links and all((golden.folder / link).is_file() for link in links)


def test_page_names_what_is_missing(golden):
    page = (golden.folder / "report.md").read_text(encoding="utf-8")
    missing = page[page.index("## What is missing") :]
    assert r"hh\_rlhf / mezo: seed 1: no finished run" in missing
    assert r"hh\_rlhf\_\_mezo\_\_s1\_\_1210abcd (unfinished)" in missing
    assert "(failed): RunError: no memory" in missing
    assert r"diverged wmt20\_mlqe\_\_mezo\_\_s1" in missing


def test_latex_is_escaped_and_balanced(golden):
    text = (golden.folder / "table_wmt20_mlqe.tex").read_text(encoding="utf-8")
    assert r"sd 0.02 \& more\_of\_it" in text
    assert text.isascii()
    assert text.count("{") == text.count("}")
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{rule}") == 5
    for block in text.split(r"\toprule")[1:]:
        body = [line for line in block.split(r"\bottomrule")[0].splitlines() if line.endswith(r"\\")]
        assert len({line.replace(r"\&", "").count("&") for line in body}) == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(golden, tmp_path):
    tables = "".join(p.read_text(encoding="utf-8") for p in golden.written if p.suffix == ".tex")
    head = r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\n{tables}\n\\end{{document}}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_same_runs_same_bytes_wherever_they_lie(golden, runs):
    again = report(runs, method_order=make.METHOD_ORDER)
    assert [p.name for p in again.written] == [p.name for p in golden.written]
    for one, two in zip(golden.written, again.written, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
        assert str(golden.folder.parent).encode() not in one.read_bytes()


def test_figures_have_size_labels_and_units(golden):
    sizes = {"overview.png": 1600, "reward_vs_time_wmt20_mlqe.png": 1200}
    for name, width in sizes.items():
        data = (golden.folder / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", data[16:20])[0] == width
    for name, label in {
        "reward_vs_time": "optimisation time [s]",
        "reward_vs_compute": "compute [million forward tokens]",
        "reward_vs_kl": "KL to π₀ on validation prompts [nats per completion]",
    }.items():
        for task, title in (("wmt20_mlqe", "WMT20 MLQE en-de"), ("hh_rlhf", "HH-RLHF")):
            svg = (golden.folder / f"{name}_{task}.svg").read_text(encoding="utf-8")
            for words in (label, "increase in reward", "[r₀ score, validation]", title, "ZOPrO", "MeZO", "runs used"):
                assert words in svg, (name, task, words)


def test_one_seed_and_one_method_still_report(tmp_path):
    make.write_run(tmp_path, "hh_rlhf", "zopro", 0)
    result = report(tmp_path)
    assert result.used == 1
    cell = rows(result, "hh_rlhf")["zopro"]
    assert cell["reward_increase_sd [r₀ score]"] == "" and float(cell["reward_increase [r₀ score]"]) == 1.3


def test_an_earlier_report_leaves_nothing_behind(runs):
    report(runs)
    for folder in runs.glob("hh_rlhf__*"):
        shutil.rmtree(folder)
    (runs / "report" / "notes.txt").write_text("mine", encoding="utf-8")
    result = report(runs)
    names = {p.name for p in result.folder.iterdir()}
    assert names == {p.name for p in result.written} | {"notes.txt"}
    assert not any("hh_rlhf" in name for name in names)


def test_unknown_methods_come_last(runs, no_figures):
    def rename(value):
        value["run"]["method"] = "annealed"

    edit(runs, "*__rloo__*", "config.json", rename)
    result = report(runs, method_order=make.METHOD_ORDER)
    assert list(rows(result, "wmt20_mlqe")) == ["zopro", "mezo", "annealed"]


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("config.json", lambda v: v["run"].update(protocol="1.1"), "protocol versions"),
        ("config.json", lambda v: v["run"].update(profile="paper"), "profiles"),
        ("config.json", lambda v: v["run"]["budget"].update(limit=5), "budgets"),
        ("config.json", lambda v: v["run"]["budget"].update(kind="seconds"), "budgets"),
        ("environment.json", lambda v: v["data"].update(source="hub"), "data"),
        ("environment.json", lambda v: v["data"].update(revision="other"), "data"),
        ("config.json", lambda v: v["config"]["evaluation"].update(reference_increase=0.5), "settings"),
        ("config.json", lambda v: v["config"]["evaluation"].pop("reference_increase"), "settings"),
        ("config.json", lambda v: v["config"]["loop"].update(sequences_per_update=16), "settings"),
    ],
)
def test_mixtures_are_refused_by_name_and_nothing_is_written(runs, file, change, words):
    edit(runs, "wmt20_mlqe__zopro__s1__*", file, change)
    with pytest.raises(BenchmarkError) as error:
        report(runs)
    message = str(error.value)
    assert words in message and "wmt20_mlqe__zopro__s1__0110abcd" in message and "folder of its own" in message
    assert not (runs / "report").exists()


def test_runs_from_before_a_field_share_a_table_with_those_that_say_what_was_so(runs, no_figures):
    edit(runs, "*__zopro__s0__*", "config.json", lambda v: v["config"]["adapter"].update(kind="lora", only=""))
    edit(runs, "*__zopro__s0__*", "summary.json", lambda v: v.update(trained_parameters=54272))
    result = report(runs)
    for task in ("hh_rlhf", "wmt20_mlqe"):
        assert "d = 54,272 trained parameters." in (result.folder / f"table_{task}.md").read_text(encoding="utf-8")
    edit(runs, "*__zopro__s0__*", "config.json", lambda v: v["config"]["adapter"].update(kind="norms"))
    with pytest.raises(BenchmarkError, match=r"mix settings.*adapter\.kind = 'lora'.*adapter\.kind = 'norms'"):
        report(runs)


def test_a_refusal_names_the_settings_that_differ(runs):
    edit(runs, "wmt20_mlqe__zopro__s1__*", "config.json", lambda v: v["config"]["loop"].update(
        sequences_per_update=16, iterations=2))
    with pytest.raises(BenchmarkError, match="the runs of task 'wmt20_mlqe' mix settings") as error:
        report(runs)
    assert "loop.iterations = missing, loop.sequences_per_update = 32: wmt20_mlqe__mezo__s0" in str(error.value)
    assert "loop.iterations = 2, loop.sequences_per_update = 16: wmt20_mlqe__zopro__s1__0110abcd" in str(error.value)


def test_methods_and_execution_may_differ_and_unlike_seconds_are_a_caution(runs, no_figures):
    edit(runs, "*__rloo__*", "config.json", lambda v: v["config"]["method"].update(epochs=4))
    edit(runs, "*__rloo__*", "config.json", lambda v: v["config"].update(execution={"workers": 2}))
    edit(runs, "*__rloo__*", "environment.json", lambda v: v.update(workers=2))
    result = report(runs)
    assert result.used == 10
    assert "The runs differ in workers: their seconds are not comparable." in result.cautions


def test_two_tasks_may_have_different_budgets(runs, no_figures):
    edit(runs, "hh_rlhf__*", "config.json", lambda v: v["run"]["budget"].update(limit=7))
    assert report(runs).used == 10


def test_same_seed_twice_is_refused(runs):
    shutil.copytree(runs / "wmt20_mlqe__rloo__s0__0000abcd", runs / "wmt20_mlqe__rloo__s0__ffffffff")
    with pytest.raises(BenchmarkError, match=r"s0__0000abcd and .*s0__ffffffff.*count one seed twice"):
        report(runs)


def test_no_finished_run_is_an_error_with_a_remedy(runs, tmp_path):
    for path in runs.glob("*/summary.json"):
        path.unlink()
    with pytest.raises(BenchmarkError, match=r"no finished run \(12 .*(?s:.*)--out(?s:.*)no memory for a batch"):
        report(runs)
    with pytest.raises(BenchmarkError, match="not a folder"):
        report(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["summary.json", "curve.jsonl", "config.json", "environment.json"])
def test_a_damaged_file_is_named(runs, file):
    path = runs / "wmt20_mlqe__rloo__s0__0000abcd" / file
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(BenchmarkError, match=rf"wmt20_mlqe__rloo__s0__0000abcd/{file}.*run it again"):
        report(runs)


def test_a_start_that_differs_is_a_caution(runs, no_figures):
    edit(runs, "wmt20_mlqe__rloo__s0__*", "summary.json", lambda v: v["initial"]["test"].update(reward=-1.5))
    assert any("do not start at the same reward (seed 0)" in c for c in report(runs).cautions)


def test_importing_the_package_is_light():
    code = "import sys, benchmark.reporting; sys.exit(any(m in sys.modules for m in ('matplotlib', 'pandas', 'torch')))"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
