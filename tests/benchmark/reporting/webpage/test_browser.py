"""The page in a real headless Chromium, from a file, as a reader opens it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmark.reporting import build_sheets, webpage
from benchmark.reporting.tables.per_task import build
from tests.benchmark.browser import (
    ActionChains,
    Keys,
    Select,
    chromium,
    emulate,
    every,
    needs_browser,
    one,
    pixels,
    press,
    texts,
)
from tests.benchmark.reporting.webpage.conftest import HOSTILE

pytestmark = needs_browser
ZOPRO = (0xD5, 0x5E, 0x00)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def address(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("opened") / "index.html"
    path.write_text(page, encoding="utf-8", newline="\n")
    return path.as_uri()


@pytest.fixture
def opened(browser, address):
    """The page freshly loaded; afterwards nothing may stand in the console (a refused load or script does)."""
    emulate(browser)
    browser.get(address)
    yield browser
    assert browser.get_log("browser") == []


def test_loads_without_a_request_and_is_not_blank(opened, tmp_path):
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert texts(opened, "h2") == ["Summary", "Curves", "Tables", "Sample completions", "Provenance", "What is missing"]
    shot = pixels(opened, tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000
    assert (shot == ZOPRO).all(axis=-1).sum() > 1000  # its curves, marks and swatches are drawn
    assert len(np.unique(shot.astype(np.uint32) @ (1 << 16, 1 << 8, 1))) > 100  # colours


def test_a_legend_button_switches_a_method_off_and_on_everywhere(opened):
    curves = ".chart .curve[data-method='rloo']"
    assert len(every(opened, curves)) == 2  # a chart a task
    assert not every(opened, ".chart .curve[data-method='zopro-random']")
    button = one(opened, ".chart .legend button[data-method='rloo']")
    assert button.get_attribute("aria-pressed") == "true"
    before = (pixels(opened) == (0x00, 0x72, 0xB2)).all(axis=-1).sum()
    press(opened, button)
    assert not every(opened, curves)
    others = [b.get_attribute("aria-pressed") for b in every(opened, ".legend button[data-method='rloo']")]
    assert others == ["false"] * 3
    assert (pixels(opened) == (0x00, 0x72, 0xB2)).all(axis=-1).sum() < before - 500  # gone from the picture too
    assert "RLOO" not in texts(opened, ".card h4")
    button.send_keys(Keys.SPACE)  # and by keyboard
    assert len(every(opened, curves)) == 2 and "RLOO" in texts(opened, ".card h4")


def test_shortcuts_show_groups(opened):
    def shown():
        return [g.get_attribute("data-method") for g in every(opened, ".chart[data-task='wmt20_mlqe'] .curve")]

    assert shown() == ["rloo", "zopro", "mezo"]
    for name, expected in (
        ("ablations only", ["rloo", "zopro", "zopro-random"]), ("none", []),
        ("all", ["rloo", "zopro", "mezo", "zopro-random"]), ("methods only", ["rloo", "zopro", "mezo"]),
    ):
        press(opened, next(b for b in every(opened, ".chart .controls button") if b.text == name))
        assert shown() == expected
        empty = "No method is switched on." in one(opened, ".chart svg[tabindex]").text
        assert empty == (expected == [])


def test_over_its_button_a_curve_stands_out(opened):
    button = one(opened, ".chart .legend button[data-method='zopro']")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    ActionChains(opened).move_to_element(button).perform()
    faded = {curve.get_attribute("data-method") for curve in every(opened, ".chart .curve.faded")}
    assert faded == {"rloo", "mezo"}
    ActionChains(opened).move_to_element(one(opened, "h1")).perform()
    assert not every(opened, ".chart .faded")


def test_axis_switches_between_compute_and_time(opened):
    assert "compute [million forward tokens]" in one(opened, ".chart svg[tabindex]").text
    press(opened, one(opened, "button[data-kind='seconds']"))
    for chart in every(opened, ".chart svg[tabindex]"):
        assert "optimisation time [s]" in chart.text and "tokens" not in chart.text
    assert one(opened, "button[data-kind='forward_tokens']").get_attribute("aria-pressed") == "false"


def test_arrow_keys_read_values(opened):
    chart = one(opened, ".chart[data-task='wmt20_mlqe'] svg[tabindex]")
    chart.send_keys(Keys.ARROW_RIGHT)
    tip = ".chart[data-task='wmt20_mlqe'] .tooltip div"
    assert one(opened, ".chart[data-task='wmt20_mlqe'] .tooltip strong").text == "RLOO"
    # validation gains 1.0 and 1.1 at the end
    assert texts(opened, tip) == ["compute: 2.000 million forward tokens", "reward increase +1.050",
                                  "95 % interval +1.000 to +1.100", "n = 2"]
    chart.send_keys(Keys.ARROW_DOWN)  # wraps round to the last curve shown, MeZO, which ends half-way
    assert texts(opened, tip)[0] == "compute: 1.000 million forward tokens"
    assert texts(opened, tip)[3] == "n = 2, 1 diverged: ends where the first run does"
    chart.send_keys(Keys.ARROW_LEFT)
    assert texts(opened, tip)[0] == "compute: 0.984 million forward tokens"  # 1 − 1/64
    chart.send_keys(Keys.ESCAPE)
    assert not one(opened, ".chart .tooltip").is_displayed()


def test_hover_reads_the_nearest_curve(opened):
    chart = one(opened, ".chart[data-task='wmt20_mlqe'] svg[tabindex]")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    marks = every(chart, ".curve[data-method='zopro'] .mark")
    ActionChains(opened).move_to_element(marks[4]).perform()  # the fifth of nine: half of the budget
    tip = one(opened, ".chart[data-task='wmt20_mlqe'] .tooltip")
    assert tip.is_displayed()
    assert tip.text.split("\n") == ["ZOPrO", "compute: 1.000 million forward tokens", "reward increase +0.630",
                                    "95 % interval +0.600 to +0.660", "n = 2"]
    assert len(every(chart, ".curve.faded")) == 2
    ActionChains(opened).move_to_element(one(opened, "h1")).perform()
    assert not tip.is_displayed() and not every(chart, ".faded")


def test_hover_reads_scores(opened):
    panel = one(opened, "#scores .panels > section:nth-child(2)")
    row = one(panel, "[data-method='rloo'] .mark")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", row)
    ActionChains(opened).move_to_element(row).perform()
    assert one(panel, ".tooltip").text.split("\n") == ["RLOO", "+0.950 (95 % interval +0.900 to +1.000), n = 2"]
    assert one(panel, "[data-method='mezo']").text == "diverged"


def test_a_header_sorts_numbers_as_numbers_and_words_last(opened):
    def first_column():
        return texts(opened, "#table-overall tbody th")

    headers = every(opened, "#table-overall thead th")
    assert first_column() == ["RLOO", "ZOPrO", "MeZO", "random only (a = 0)"]
    press(opened, one(headers[1], "button"))
    assert headers[1].get_attribute("aria-sort") == "descending"
    assert first_column() == ["RLOO", "ZOPrO", "MeZO", "random only (a = 0)"]  # 10.5, 9.25, −1,200, not reached
    press(opened, one(headers[1], "button"))
    assert headers[1].get_attribute("aria-sort") == "ascending"
    assert first_column() == ["MeZO", "ZOPrO", "RLOO", "random only (a = 0)"]  # as text 10.5 would precede 9.25
    one(headers[0], "button").send_keys(Keys.ENTER)
    assert headers[1].get_attribute("aria-sort") is None
    assert first_column() == ["MeZO", "random only (a = 0)", "RLOO", "ZOPrO"]


def test_hostile_text_is_seen_and_does_nothing(opened):
    shown = next(text for text in texts(opened, ".card .text") if text.startswith("zopro sagt:"))
    assert HOSTILE.split("\u2028")[0].strip() in shown
    assert any("<script>window.pwned=1</script>" in text for text in texts(opened, "#table-overall td"))
    assert opened.execute_script("return typeof window.pwned") == "undefined"
    assert opened.execute_script("return document.images.length") == 0
    assert "WMT20 <b>MLQE</b>" in texts(opened, "h3")


def test_an_inline_script_would_not_run(browser, address):
    """The policy itself: were something to slip through, the browser refuses it."""
    emulate(browser)
    browser.get(address)
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s)")
    assert browser.execute_script("return typeof window.pwned") == "undefined"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_prompt_and_seed_are_chosen(opened):
    section = one(opened, ".completions[data-task='wmt20_mlqe']")
    prompt, seed = (Select(select) for select in every(section, "select"))
    assert (len(prompt.options), [option.text for option in seed.options]) == (4, ["0", "1"])
    prompt.select_by_index(2)
    assert one(section, ".card .text").text.startswith("2 Translate: The *cat* | sat.\n<script>")
    assert one(section, ".card:nth-child(3)").text == "π₀\nr₀ −2.000\ndie die die"
    seed.select_by_index(1)
    assert one(section, ".card:nth-child(3)").text.startswith("π₀\nr₀ −2.200")
    assert one(section, ".card .text").text.startswith("2 ")  # the same prompt of the other seed
    rloo = next(card for card in every(section, ".card") if card.text.startswith("RLOO"))
    assert "r₀ −1.200" in rloo.text and "+1.000 against π₀" in rloo.text


@pytest.mark.parametrize("width", [390, 768])
def test_narrow_screens_scroll_tables_and_not_the_page(browser, address, width):
    emulate(browser, width=width)
    browser.get(address)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert one(browser, ".chart .curve .line").is_displayed()


def test_dark_scheme(browser, address):
    emulate(browser, scheme="dark")
    browser.get(address)
    shot = pixels(browser)
    assert np.median(shot) < 60
    emulate(browser)
    assert np.median(pixels(browser)) > 200


def test_without_scripts_the_tables_stand(browser, address, elements):
    emulate(browser, scripts=False)
    browser.get(address)
    assert "need JavaScript" in one(browser, "#summary").text
    assert len(every(browser, "tr")) == sum(tag == "tr" for tag, _ in elements.tags)
    assert not one(browser, ".chart").is_displayed()
    assert one(browser, "#table-overall td").is_displayed()
    emulate(browser)


def test_the_page_reads_the_data_that_it_shows(opened, elements):
    """Every point of every curve on the page against the JSON block: ends of lines in pixels of the axis."""
    data = json.loads(elements.texts["script"][0])
    chart = one(opened, ".chart[data-task='wmt20_mlqe'] svg[tabindex]")
    ends = {}
    for group in every(chart, ".curve"):
        path = one(group, ".line").get_attribute("d")
        ends[group.get_attribute("data-method")] = [float(v) for v in path.split("L")[-1].split()]
    curves = {data["methods"][c["method"]]["name"]: c for c in data["curves"]["wmt20_mlqe"]["forward_tokens"]}
    # Two curves fix the scale (pixel = a + b · value); the third must lie on it.
    (y1, y2, y3), (p1, p2, p3) = ([curves[m]["y"][-1] for m in ("rloo", "zopro", "mezo")],
                                  [ends[m][1] for m in ("rloo", "zopro", "mezo")])
    slope = (p2 - p1) / (y2 - y1)
    assert slope < 0
    assert p3 == pytest.approx(p1 + slope * (y3 - y1), abs=0.5)
    assert ends["rloo"][0] == ends["zopro"][0] > ends["mezo"][0]


def test_no_score_chart_is_drawn_to_another_size_than_it_is_shown(browser, results, tmp_path):
    """Text in a drawing that is scaled would be larger or smaller than beside it. Without a unit of the reward there is
    a chart for each task, side by side."""
    runs = tuple(replace(run, environment=replace(run.environment, preparation=None)) for run in results.runs)
    raw = replace(results, runs=runs)
    tables = [build(raw, task) for task in raw.tasks]
    path = tmp_path / "index.html"
    path.write_text(webpage.render(raw, tables, build_sheets(raw, tables)), encoding="utf-8")
    emulate(browser)
    browser.get(path.as_uri())
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('#scores .figure > svg')]"
        ".map((s) => [s.viewBox.baseVal.width, s.clientWidth])")
    assert len(sizes) == len(raw.tasks) > 1
    assert all(abs(drawn - shown) <= 1 for drawn, shown in sizes)
