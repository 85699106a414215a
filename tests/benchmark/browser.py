"""A headless Chromium that opens pages from a file, without a network, and what tests ask it."""

from __future__ import annotations

import base64
import io
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("selenium", reason="the browser tests need selenium: pip install -e .[test]")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

__all__ = ["ActionChains", "Keys", "Select", "chromium", "emulate", "every", "needs_browser", "one", "pixels", "press",
           "texts"]

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver: apt-get install chromium chromium-driver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900")


@contextmanager
def chromium(folder):
    """A driver whose profile lies in ``folder``."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def emulate(browser, scheme="light", width=1280, scripts=True):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                            {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})


def one(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def every(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def texts(browser, selector):
    return [element.text for element in every(browser, selector)]


def press(browser, element):
    """A click at the middle of the window, where the sticky header does not lie."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def pixels(browser, path=None):
    """What a full-page screenshot shows, as (height, width, 3)."""
    width, height = browser.execute_script(
        "const d = document.documentElement; return [d.scrollWidth, d.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    raw = base64.b64decode(shot["data"])
    if path is not None:
        path.write_bytes(raw)
    return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))
