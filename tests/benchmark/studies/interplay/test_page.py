"""The interactive page in a real headless Chromium, from a file, without a network."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from benchmark.studies.interplay import bowl, scenes
from benchmark.studies.interplay.analysis import analyse
from tests.benchmark.studies.interplay.world import factors, moved, write_run

pytest.importorskip("plotly", reason="needs the extra visualise")
pytest.importorskip("selenium", reason="the browser tests need selenium: pip install -e .[test]")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver: apt-get install chromium chromium-driver")
FLAGS = ("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--window-size=1280,900")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from benchmark.studies.interplay import page as module

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
    paths = {dimensions: bowl.paths(dimensions) for dimensions in bowl.DIMENSIONS}
    arguments = rows, analyses, found, paths, {"hh_rlhf": f"HH {HOSTILE}"}, None
    text = module.render(*arguments)
    assert module.render(*arguments) == text
    path = folder / "interplay.html"
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def test_titles_are_data_and_nothing_is_loaded(page):
    text = page.read_text(encoding="utf-8")
    assert HOSTILE not in text and "HH &lt;script&gt;" in text
    assert "default-src 'none'" in text and "connect-src" not in text
    assert 'src="http' not in text and "<link rel=\"stylesheet\"" not in text


@pytest.fixture(scope="module")
def opened(page, tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.get(page.as_uri())
    WebDriverWait(driver, 60).until(lambda d: d.execute_script("return document.documentElement.dataset.ready"))
    yield driver
    driver.quit()


def data_of(driver, identifier):
    return driver.execute_script("return document.getElementById(arguments[0]).data.map(t => ({type: t.type || '', "
                                 "name: t.name || '', x: Array.from(t.x || []), y: Array.from(t.y || [])}))",
                                 identifier)


def choose(driver, identifier, text):
    Select(driver.find_element(By.ID, identifier)).select_by_visible_text(text)


@needs_browser
def test_the_page_draws_and_answers(opened):
    assert opened.title == "Policy–reward interplay"
    assert len(opened.find_elements(By.CSS_SELECTOR, "#words tbody tr")) > 20
    kinds = [option.text for option in Select(opened.find_element(By.ID, "kind")).options]
    assert kinds == ["weight change", "tensors"]
    scene = data_of(opened, "scene")
    assert [trace["name"] for trace in scene] == ["policy", "reward model"] and scene[0]["type"] == "scatter3d"
    assert len(scene[0]["x"]) == 4
    assert opened.find_elements(By.CSS_SELECTOR, "#scene .gl-container canvas")
    before = scene[0]["x"]
    choose(opened, "run", f"HH {HOSTILE}: ZOPrO, seed 0")
    assert data_of(opened, "scene")[0]["x"] != before
    choose(opened, "dims", "2")
    assert data_of(opened, "scene")[0]["type"] == "scatter"
    assert opened.find_elements(By.CSS_SELECTOR, "#scene svg .scatterlayer .trace path")
    texts = [element.get_attribute("textContent")
             for element in opened.find_elements(By.CSS_SELECTOR, "#scene .textpoint")]
    assert "start" in texts and "end (3)" in texts and "1" in texts


@needs_browser
def test_angles_layers_and_bowl_are_drawn(opened):
    angles = data_of(opened, "angle-plot")
    assert len(angles) == 4 * (2 + 2 * 2) and len(angles[3]["y"]) == 3
    choose(opened, "angle-kind", "tensors")
    assert data_of(opened, "angle-plot")[3]["y"] != angles[3]["y"]
    assert [trace["type"] for trace in data_of(opened, "layer-plot")] == ["heatmap"] * 4
    before = opened.execute_script("return JSON.stringify(document.getElementById('layer-plot').data[0].z)")
    choose(opened, "layer-method", "ZOPrO")
    assert opened.execute_script("return JSON.stringify(document.getElementById('layer-plot').data[0].z)") != before
    assert len(data_of(opened, "bowl-paths")) == 5 and len(data_of(opened, "bowl-loss")) == 4
    width = opened.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width == 0


@needs_browser
def test_nothing_went_wrong_in_the_console(opened):
    severe = [line for line in opened.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == []
