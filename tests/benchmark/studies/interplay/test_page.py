"""The interactive page in a real headless Chromium, from a file, without a network."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from benchmark.studies.interplay import page as module
from benchmark.studies.interplay import quadratic_demo, scenes
from benchmark.studies.interplay.analysis import analyse
from tests.benchmark.browser import ActionChains, Keys, Select, chromium, emulate, every, needs_browser, one, texts
from tests.benchmark.studies.interplay.world import factors, moved, write_run

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng, analyses = np.random.default_rng(0), []
    folder = tmp_path_factory.mktemp("runs")
    for method in ("rloo", "zopro"):
        paths = []
        for _ in range(2):
            path = [factors(rng)]
            for _ in range(3):
                path.append(moved(path[-1], rng, 0.1))
            paths.append(path)
        analyses.append(analyse(*write_run(folder, *paths, method=method, rank=3)))
    rows = pd.concat([a.rows for a in analyses], ignore_index=True)
    found = {(a.name, kind): scenes.embeddings(a, kind, ["PCA"]) for a in analyses for kind in a.pictures}
    paths = {dimensions: quadratic_demo.paths(dimensions) for dimensions in quadratic_demo.DIMENSIONS}
    arguments = rows, analyses, found, paths, {"hh_rlhf": f"HH {HOSTILE}"}, None
    text = module.render(*arguments)
    assert module.render(*arguments) == text
    path = folder / "interplay.html"
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


@pytest.fixture(scope="module")
def data(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    return json.loads(found[1])


def test_titles_are_data_and_nothing_is_loaded(page):
    text = page.read_text(encoding="utf-8")
    assert HOSTILE not in text and "HH &lt;script&gt;" in text
    assert "default-src 'none'" in text and "connect-src" not in text and "unsafe" not in text
    assert "src=" not in text and '<link rel="stylesheet"' not in text
    assert set(re.findall(r"https?://[^\s\"'`]+", text)) == {"http://www.w3.org/2000/svg"}
    assert len(text) < 200_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def opened(browser, page):
    """The page freshly loaded; afterwards nothing may stand in the console."""
    emulate(browser)
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def choose(driver, identifier, text):
    Select(one(driver, f"#{identifier}")).select_by_visible_text(text)


def ends(driver, chart, name):
    """Places of the marks of one series, [x, y] in pixels."""
    places = [mark.get_attribute("transform") for mark in every(driver, f"{chart} .curve[data-method='{name}'] .mark")]
    return [[float(v) for v in re.findall(r"translate\((\S+) (\S+)\)", place)[0]] for place in places]


RUN, WALK = "#scene-charts section:nth-child(1)", "#scene-charts section:nth-child(2)"


@needs_browser
def test_trajectories_follow_what_is_chosen(opened, data):
    assert opened.title == "Policy–reward interplay"
    assert [option.text for option in Select(one(opened, "#kind")).options] == ["weight change", "tensors"]
    assert [option.text for option in Select(one(opened, "#run")).options] == [
        f"HH {HOSTILE}: RLOO, seed 0", f"HH {HOSTILE}: ZOPrO, seed 0"]
    before = ends(opened, RUN, "policy"), ends(opened, WALK, "policy")
    assert [len(points) for points in before] == [4, 4]
    choose(opened, "run", f"HH {HOSTILE}: ZOPrO, seed 0")
    after = ends(opened, RUN, "policy"), ends(opened, WALK, "policy")
    assert after[0] != before[0] and after[1] != before[1]
    assert texts(opened, f"{RUN} .note") == ["start", "1", "2", "end (3)"] * 2
    assert [text for text in texts(opened, f"{RUN} .title") if text.startswith("PC")] == [
        f"PC {i + 1} ({round(100 * share)} %)"
        for i, share in enumerate(data["runs"][1]["pictures"]["weight change"]["embeddings"]["PCA|3"]["explained"])]
    choose(opened, "dims", "2")
    assert texts(opened, f"{RUN} .title")[0].endswith("[largest displacement]")
    assert not one(opened, "#turning").is_displayed()
    # In the plane of PCA one unit is as long upwards as across.
    points = np.array(data["runs"][1]["pictures"]["weight change"]["embeddings"]["PCA|2"]["policy"])
    drawn = np.diff(np.array(ends(opened, RUN, "policy")), axis=0) * (1, -1)
    assert drawn / np.diff(points, axis=0) == pytest.approx(np.full((3, 2), drawn[0, 0] / (points[1] - points[0])[0]),
                                                            rel=0.02)


@needs_browser
def test_the_picture_is_a_box_seen_from_the_chosen_side(opened, data):
    """Orthographic: from the front and level one axis points at the reader; dragging turns what is seen."""
    points = np.array(data["runs"][0]["pictures"]["weight change"]["embeddings"]["PCA|3"]["policy"])
    for turn, tilt, axes in ((0, 0, (1, 2)), (-90, 0, (0, 2)), (-90, 90, (0, 1))):
        for name, value in (("turn", turn), ("tilt", tilt)):
            opened.execute_script("const e = document.getElementById(arguments[0]); e.value = arguments[1];"
                                  "e.dispatchEvent(new Event('input', {bubbles: true}))", name, value)
        seen = np.diff(np.array(ends(opened, RUN, "policy")), axis=0) * (1, -1)
        true = np.diff(points[:, axes], axis=0)
        assert seen / np.abs(seen).max() == pytest.approx(true / np.abs(true).max(), abs=0.02), (turn, tilt)
    svg = one(opened, f"{RUN} svg[tabindex]")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    ActionChains(opened).move_to_element(svg).click_and_hold().move_by_offset(60, -20).release().perform()
    assert [one(opened, f"#{name}").get_attribute("value") for name in ("turn", "tilt")] == ["-120", "80"]
    assert not np.allclose(np.diff(np.array(ends(opened, RUN, "policy")), axis=0) * (1, -1), seen, atol=1)


@needs_browser
def test_angles_stand_beside_chance_and_can_be_read(opened, data):
    panel = data["tasks"][0]["angles"]["weight change"][0]
    first = "#angle-charts section:nth-child(1)"
    assert len(every(opened, f"{first} .chance")) == len(panel["x"]) == 3
    assert len(every(opened, "#angle-charts .curve")) == 4 * 2
    assert "angle [°]" in one(opened, first).text and "iteration i" in one(opened, first).text
    one(opened, f"{first} svg[tabindex]").send_keys(Keys.ARROW_RIGHT)
    value = f"{panel['lines'][0]['y'][2]:.2f}°"
    assert one(opened, f"{first} .tooltip").text.split("\n") == ["RLOO", f"iteration 3: {value}", f"seed 0: {value}"]
    before = ends(opened, first, "rloo")
    choose(opened, "angle-kind", "tensors")
    assert ends(opened, first, "rloo") != before


@needs_browser
def test_layers_and_bowl_are_drawn(opened, data):
    last = "#layer-charts section:nth-child(4)"
    z = data["tasks"][0]["layers"][0][3]["z"]
    cells = every(opened, f"{last} .hot, {last} .cold")
    assert [cell.get_attribute("class") for cell in cells] == ["cold" if v < 0 else "hot" for row in z for v in row]
    assert [float(cell.get_attribute("fill-opacity")) for cell in cells] == pytest.approx(
        [min(1, abs(v) / data["deviations"]) for row in z for v in row], abs=0.006)
    svg = one(opened, f"{last} svg[tabindex]")
    svg.send_keys(Keys.ARROW_RIGHT)
    assert one(opened, f"{last} .tooltip").text.startswith("layer 0, iteration 2\ncosine ")
    svg.send_keys(Keys.ARROW_UP)
    assert one(opened, f"{last} .tooltip").text.startswith("layer 1, iteration 2\ncosine ")
    choose(opened, "layer-method", "ZOPrO")
    assert len(every(opened, f"{last} .hot, {last} .cold")) == len(cells)
    assert len(every(opened, "#bowl-charts .curve")) == 2 * 4
    # On the paths' picture a contour goes through all points of its level: the start lies on that of its own loss.
    start = ends(opened, "#bowl-charts section:nth-child(1)", "rloo")[0]
    bottom = every(opened, "#bowl-charts .contour")[0]
    cx, cy, rx, ry = (float(bottom.get_attribute(name)) for name in ("cx", "cy", "rx", "ry"))
    path = data["bowl"]["paths"][0]
    share = path["loss"][0] / data["bowl"]["levels"][0]
    assert ((start[0] - cx) / rx) ** 2 + ((start[1] - cy) / ry) ** 2 == pytest.approx(share, rel=0.02)


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_as_wide_as_the_window(browser, page, width):
    emulate(browser, width=width)
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert len(every(browser, "#words tbody tr")) > 20
