"""The site of docs/: which pages it has, and where links lead that leave docs/. `tox -e docs` builds it whole."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.test_docs import DOCS, LINK, name_of, prose

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://example.org/us/suite/"


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / ".ci" / "docs_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module



@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_links_that_leave_the_pages_lead_to_the_repository(page, site):
    text = site.links(page.read_text(encoding="utf-8"), page, REPOSITORY)
    asked = [(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page))
             if not re.match(r"https?://|#", link)]
    outside = [path.relative_to(ROOT).as_posix() for path in asked if not path.is_relative_to(ROOT / "docs")]
    led = re.findall(rf"\]\({REPOSITORY}(blob|tree|raw)/main/([^)#]+)", text)
    assert [path for _, path in led] == outside
    assert all((kind == "tree") == (ROOT / path).is_dir() for kind, path in led)


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_without_a_repository_they_lead_to_pages_of_modules_or_nowhere(page, site):
    text = site.links(page.read_text(encoding="utf-8"), page, None)
    pages = {(ROOT / "docs" / place) for place in site.modules()}
    for link in LINK.findall(re.sub(site.FENCED, "", text)):
        if not re.match(r"https?://|#", link):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target in pages or (target.is_relative_to(ROOT / "docs") and target.exists())


def test_a_pointer_keeps_its_line_and_code_is_left_alone(site):
    page = ROOT / "docs" / "methods" / "x.md"
    text = "[`a:1`](../../benchmark/cli.py#L1)\n```\n[a](../../benchmark/cli.py)\n```\n![p](../../results/README.md)"
    assert site.links(text, page, REPOSITORY) == (
        f"[`a:1`]({REPOSITORY}blob/main/benchmark/cli.py#L1)\n```\n[a](../../benchmark/cli.py)\n```\n"
        f"![p]({REPOSITORY}raw/main/results/README.md)")
    assert site.links(text, page, None) == (
        "[`a:1`](../api/benchmark/cli.md)\n```\n[a](../../benchmark/cli.py)\n```\np")
    assert site.links("[a](../../gone.md)", page, REPOSITORY) == "[a](../../gone.md)"  # the build says so


def test_every_public_module_has_a_page(site):
    found = site.modules()
    assert found["api/benchmark/index.md"] == "benchmark" and found["api/tasks/adapter.md"] == "tasks.adapter"
    assert found["api/baselines/estimators/rules.md"] == "baselines.estimators.rules"
    assert not any("__main__" in place for place in found) and len(found) == len(set(found.values())) > 150
