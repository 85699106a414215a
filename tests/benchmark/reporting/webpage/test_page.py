"""The page as text: nothing outside it, nothing in it that was data becomes markup, and the numbers are right."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys

import pytest

from benchmark.reporting.read import reader
from benchmark.reporting.tables import per_task
from benchmark.reporting.tables.sheets import Sheet
from benchmark.reporting.webpage import blocks, embed, facts, payload, render
from tests.benchmark.reporting.golden import make
from tests.benchmark.reporting.webpage.conftest import HOSTILE, ORDER, SHEETS, Elements

WMT = "WMT20 <b>MLQE</b>: mean, n = 2"
VISIBLE = HOSTILE.replace("\u202e", "\ufffd")  # what turns text around is shown as a character


@pytest.fixture(scope="module")
def data(elements):
    """The JSON block, read as a browser reads it: the text between the tags."""
    return json.loads(elements.texts["script"][0])


def curve(data, task, kind, method):
    index = [m["name"] for m in data["methods"]].index(method)
    return next(c for c in data["curves"][task][kind] if c["method"] == index)


def test_same_results_same_bytes_whatever_the_hash_seed(runs, page):
    code = (
        "import hashlib, pathlib, sys\n"
        "from benchmark.reporting.read import reader\n"
        "from benchmark.reporting.tables import per_task\n"
        "from benchmark.reporting.webpage import render\n"
        "from tests.benchmark.reporting.webpage.conftest import ORDER, SHEETS\n"
        "r = reader.read(pathlib.Path(sys.argv[1]), method_order=ORDER,\n"
        "                task_titles={'wmt20_mlqe': 'WMT20 <b>MLQE</b>'})\n"
        "text = render(r, [per_task.build(r, t) for t in r.tasks], SHEETS)\n"
        "print(hashlib.sha256(text.encode()).hexdigest())\n"
    )
    found = subprocess.run([sys.executable, "-c", code, str(runs)], capture_output=True, text=True, check=True,
                           env={**os.environ, "PYTHONHASHSEED": "7"}, timeout=120)
    assert found.stdout.strip() == hashlib.sha256(page.encode()).hexdigest()


def test_nothing_outside_the_file_is_loaded(page, elements):
    loads = {"src", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href"}
    links = []
    for tag, attributes in elements.tags:
        assert not loads & set(attributes), (tag, attributes)
        if "href" in attributes:
            links.append((tag, attributes["href"]))
    outside = [link for link in links if not link[1].startswith("#")]
    assert outside.pop(0) == ("link", "data:,")  # an empty icon, so that no browser asks for one
    # What is left stands in <noscript> and names files of the report's own folder.
    quiet = "".join(re.findall(r"<noscript>.*?</noscript>", page, re.DOTALL))
    assert len(outside) == 2 + 2 * 2
    for _, href in outside:
        assert f'href="{href}"' in quiet and re.fullmatch(r"[\w.]+\.(png|md)", href)
    styles = "".join(elements.texts["style"])
    assert "url(" not in styles and "@import" not in styles
    assert set(re.findall(r"https?://[^\s\"'`]+", elements.texts["script"][1])) == {"http://www.w3.org/2000/svg"}


def test_policy_admits_exactly_the_style_and_the_script_of_the_page(elements):
    policy = next(a["content"] for tag, a in elements.tags if tag == "meta" and "http-equiv" in a)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def digest(text):
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    assert len(elements.texts["style"]) == 1 and len(elements.texts["script"]) == 2
    assert rules == {
        "default-src": "'none'", "style-src": digest(elements.texts["style"][0]),
        "script-src": digest(elements.texts["script"][1]), "img-src": "data:", "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not any("style" in a for _, a in elements.tags)  # the policy would drop them


def test_hostile_text_is_text_wherever_it_stands(elements, data):
    tags = [tag for tag, _ in elements.tags]
    assert tags.count("script") == 2 and "img" not in tags and "b" not in tags
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    assert elements.texts["td"].count(VISIBLE) == 1  # cell of a sheet
    warning = " ".join(VISIBLE.split())  # a footnote is one line
    assert any(warning in item for item in elements.texts["li"])
    assert "WMT20 <b>MLQE</b>" in elements.texts["h3"]
    assert data["samples"]["wmt20_mlqe"][0]["prompts"][0]["answers"][0]["text"].endswith(VISIBLE)


def test_embedded_json_cannot_close_its_block():
    text = embed({"a": "</script><!-- & \u2028 \u2029 \ud800 é"})
    assert text == '{"a":"\\u003c/script\\u003e\\u003c!-- \\u0026 \\u2028 \\u2029 \\ud800 é"}'
    with pytest.raises(ValueError):
        embed({"a": float("nan")})


def test_no_path_of_the_machine(page, runs):
    assert str(runs) not in page and runs.parent.name not in page


def test_sections_in_order_and_words_of_the_summary(page, elements):
    places = [page.index(f'<section id="{name}">') for name in
              ("summary", "curves", "tables", "samples", "provenance", "missing")]
    assert places == sorted(places)
    summary = page[places[0]:places[1]]
    assert "Reduced protocol (2 seeds), not comparable." in summary
    assert "2,000,000 forward tokens a run" in summary
    assert 'id="table-overall"' in summary and 'id="table-equal"' not in summary
    notes = [text for text in elements.texts["p"] if text.startswith("n = ")]
    assert notes == ["n = 2 seeds a method; reduced protocol (2 seeds), not comparable",
                     "n = 1–2 seeds a method; reduced protocol (1 seed), not comparable"]
    # 10 golden runs and the two copies; one seed of ZOPrO failed, so 1–2 seeds
    tiles = elements.texts["li"][:4]
    assert tiles == ["4 methods", "2 tasks", "1–2 seeds a method and task", "12 finished runs"]


def test_provenance_and_what_is_missing(results, elements):
    found = dict(facts.provenance(results))
    assert found["Protocol"] == ["1.0"] and found["Commit"] == ["0123456789"]
    assert found["Hardware"] == ["Example CPU & Co., 2 cores, 16 GiB"]
    assert found["Threads"] == ["1; runs at the same time: 1"]
    assert found["Packages"] == ["python 3.11.0, torch 2.0.0"]
    assert found["HH-RLHF"] == [
        "profile tiny, budget 2,000,000 forward tokens a run, seeds 0, 1",
        "data: bundled (revision hh_rlhf-v1)",
        "distinct prompts: 1,000 train, 6 validation, 8 test",
        "r₀ ranks held-out pairs as labelled with accuracy 0.81, 0.81 (16 pairs), judge: gold",
    ]
    lines = results.gaps()
    assert "hh_rlhf / zopro: seed 1: no finished run" in lines
    assert any(re.match(r"ignored hh_rlhf__zopro__s1__\w+ \(failed\): .*no memory", line) for line in lines)
    assert any(re.match(r"ignored hh_rlhf__mezo__s1__\w+ \(unfinished\)$", line) for line in lines)
    assert any(line.startswith("diverged wmt20_mlqe__mezo__s1__") for line in lines)
    assert all(line in elements.texts["li"] for line in lines if "failed" not in line)


def test_hyperparameters_and_shared_settings(results):
    (part,) = blocks.of_settings(results, {"RLOO": "method-0"}).parts
    assert [item.text for item in part.rows[0]] == ["RLOO", "all", "lr = 0.25, schedule = of rloo"]
    assert part.rows[0][0].mark == "method-0" and len(part.rows) == 4
    (shared,) = blocks.of_shared_settings(results).parts
    assert [[item.text for item in row] for row in shared.rows] == [["evaluation.reference_increase", "2.0", "0.5"]]


def test_page_without_settings_and_with_no_sheet(tmp_path):
    make.write_runs(tmp_path)
    for path in tmp_path.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**config, "config": {}}), encoding="utf-8")
    for path in tmp_path.glob("*/environment.json"):
        environment = json.loads(path.read_text(encoding="utf-8"))
        del environment["preparation"]["reward_sd"]
        path.write_text(json.dumps(environment), encoding="utf-8")
    bare = reader.read(tmp_path, method_order=ORDER)
    text = render(bare, [per_task.build(bare, task) for task in bare.tasks], [])
    found = Elements(text)
    assert "Hyperparameters" not in text and "table-overall" not in text
    scores = json.loads(found.texts["script"][0])["scores"]
    # no standard deviation of r₀: raw increases of each task only
    assert [panel["unit"] for panel in scores["panels"]] == ["test reward increase [r₀ score]"] * 2


@pytest.mark.parametrize(("text", "number"), [
    ("+0.410 ±0.042 [+0.380 +0.440]", "0.410"), ("-3.290", "-3.290"), ("−1,234.5", "-1234.5"), ("1.5e-05", "1.5e-05"),
    ("3 of 5", "3"), ("diverged (1 of 2)", ""), ("not reached", ""), ("–", ""), ("", ""),
])
def test_a_cell_sorts_by_the_number_it_begins_with(text, number):
    assert blocks.sort_key(text) == number


def test_cells_of_the_task_table(built):
    block = blocks.of(built[0], {"RLOO": "method-0"})
    end = block.parts[0]
    rloo = dict(zip([title for title, _, _ in end.header], end.rows[0], strict=True))
    assert rloo["method"] == blocks.PageCell("RLOO", mark="method-0")
    # test reward −1.9 → −1.0 and −2.1 → −1.1: it sorts by its end
    assert (rloo["reward, π₀ → end"].text, rloo["reward, π₀ → end"].sort) == ("-2.000 → -1.050", "-1.050")
    assert rloo["reward increase"] == blocks.PageCell("+0.950 ±0.071", "[+0.900 +1.000]", "0.950")
    assert rloo["n"] == blocks.PageCell("2", sort="2")
    mezo = next(row for row in end.rows if row[0].text == "MeZO")
    assert mezo[2].text == "diverged" and mezo[2].sort == "" and len(mezo[0].footnotes) == 2


def test_columns_of_a_sheet():
    (part,) = blocks.of(SHEETS[0], {"ZOPrO": "method-1"}).parts
    assert part.header == (("method", "", ""), ("score", "IQM", "number"), ("words", "", "prose"))
    assert [row[0].mark for row in part.rows] == ["", "method-1", "", ""]
    assert [row[1].sort for row in part.rows] == ["10.5", "9.25", "-1200", ""]
    second = Sheet("k", "t", "", ("task", "method"), (("ZOPrO", "ZOPrO"),))
    assert [item.mark for item in blocks.of(second, {"ZOPrO": "method-1"}).parts[0].rows[0]] == ["", "method-1"]


def test_curves_by_hand(data):
    found = curve(data, "wmt20_mlqe", "forward_tokens", "zopro")
    # gains 0, 0.6, 1.4 and 1.1 times as much, at 0, 1 and 2 million tokens
    assert (found["n"], found["diverged"], len(found["x"])) == (2, 0, payload.POINTS)
    assert (found["x"][0], found["x"][32], found["x"][-1]) == (0, 1, 2)
    assert (found["y"][0], found["y"][32], found["y"][-1]) == (0, 0.63, 1.47)
    assert found["y"][16] == 0.315  # half-way to the middle evaluation
    assert (found["low"][-1], found["high"][-1]) == (1.4, 1.54)  # two seeds: the interval is their span
    seconds = curve(data, "wmt20_mlqe", "seconds", "zopro")
    assert seconds["x"][-1] == 8  # where the first seed ends
    mezo = curve(data, "wmt20_mlqe", "forward_tokens", "mezo")
    assert (mezo["n"], mezo["diverged"], mezo["x"][-1]) == (2, 1, 1)  # ends where the lost run does
    alone = curve(data, "hh_rlhf", "forward_tokens", "mezo")
    assert (alone["n"], alone["low"], alone["high"]) == (1, None, None)
    assert data["levels"] == {"wmt20_mlqe": 2.0, "hh_rlhf": 0.5}
    assert data["kind"] == "forward_tokens"


def test_scores_by_hand(data):
    panels = {panel["title"]: {data["methods"][row["method"]]["name"]: row for row in panel["rows"]}
              for panel in data["scores"]["panels"]}
    assert list(panels) == ["All tasks: interquartile mean, n = 2–4", WMT, "HH-RLHF: mean, n = 1–2"]
    rloo = panels[WMT]["rloo"]
    assert (rloo["value"], rloo["dots"], rloo["n"]) == (0.95, [0.9, 1.0], 2)
    assert (rloo["low"], rloo["high"]) == (0.9, 1.0)
    mezo = panels[WMT]["mezo"]
    assert (mezo["value"], mezo["word"], mezo["dots"]) == (None, "diverged", [])
    # 0.9/2, 1.0/2 and 0.9/0.5, 1.0/0.5: the middle two of 0.45 0.5 1.8 2.0
    overall = panels["All tasks: interquartile mean, n = 2–4"]
    assert overall["rloo"]["dots"] == [0.45, 0.5, 1.8, 2.0] and overall["rloo"]["value"] == 1.15
    assert overall["zopro-random"]["value"] is None and "1 of 2 tasks" in overall["zopro-random"]["word"]


def test_samples_are_few_short_and_of_one_prompt(data):
    seeds = data["samples"]["wmt20_mlqe"]
    assert [entry["seed"] for entry in seeds] == [0, 1]
    assert [prompt["prompt"][0] for prompt in seeds[0]["prompts"]] == ["0", "1", "2", "3"]
    first = seeds[1]["prompts"][0]
    assert (first["base"], first["reward"]) == ("die die die", -2.2)
    assert len(first["reference"]) == 1500 + len(" […]") and first["reference"].endswith(" […]")
    named = {data["methods"][answer["method"]]["name"]: answer for answer in first["answers"]}
    assert list(named) == ["rloo", "zopro", "mezo", "zopro-random"]
    assert named["rloo"]["reward"] == -1.2 and named["mezo"]["reward"] is None
    assert named["rloo"]["text"].startswith("rloo sagt:")


def test_main_methods_are_on_and_ablations_off_where_both_are(results, data):
    assert [(m["name"], m["group"], m["on"]) for m in data["methods"]] == [
        ("rloo", "methods", True), ("zopro", "methods", True), ("mezo", "methods", True),
        ("zopro-random", "ablations", False)]
    assert data["methods"][3]["beside"] == ["rloo", "zopro"]
    assert [m["on"] for m in payload.methods(("zopro", "zopro-random"))] == [True, True]


def test_of_a_crowd_one_family_is_on():
    crowd = ("rloo", "es", "es-plain", "eggroll", "lozo", "lozo-m", "subzero", "zo-muon", "fzoo")
    found = payload.methods(crowd)
    assert [m["name"] for m in found if m["on"]] == ["rloo", "es", "es-plain", "eggroll"]
    assert list(dict.fromkeys(m["group"] for m in found)) == [
        "main methods", "the reward itself", "low-rank directions", "random subspaces", "adaptive steps"]


def test_looks_are_those_of_the_plots(data):
    from benchmark.reporting.plots import style

    looks = style.looks([m["name"] for m in data["methods"]])
    assert [m["colour"] for m in data["methods"]] == [look.colour for look in looks.values()]


def test_markers_as_paths():
    assert payload.marker("s") == ("M-0.5 0.5L0.5 0.5L0.5 -0.5L-0.5 -0.5Z", True)
    assert payload.marker("^")[0].startswith("M0 -0.5")  # points up: y grows downwards
    assert payload.marker("|") == ("M0 0.5L0 -0.5", False)
