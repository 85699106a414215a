"""How policy and reward model move relative to each other: measures with what chance would give, pictures, and words.

:func:`visualise` reads the adapters that runs keep and writes everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib.style
import pandas as pd

from benchmark.core.errors import ConfigError
from benchmark.core.files import write_text
from benchmark.core.paths import check_plain
from benchmark.plan.run import Run
from benchmark.reporting.plots import style
from benchmark.reporting.plots.frame import save
from benchmark.run.store import RunStore
from benchmark.studies.interplay import embed, figures, page, quadratic_demo, scenes, sentences
from benchmark.studies.interplay.analysis import CHANGE, analyse

# What an earlier call may have written: old figures must not stand beside new ones as if they were current.
OUTPUTS = ("measures.csv", "measures.json", "measures.md", "interplay.html",
           *(f"{stem}.{end}" for stem in ("angles_*", "layers_*", "shapes_*", "trajectories_*", "bowl")
             for end in ("png", "svg")))


def visualise(runs: Sequence[tuple[Run, RunStore]], out: Path, titles: Mapping[str, str], layer: str | None,
              report: Callable[[str], None]) -> list[Path]:
    """Measure ``runs`` and write tables, figures and the page into ``out``; return the paths.

    Writes ``measures.csv``, ``.json`` and ``.md``; per task ``angles_…``, ``layers_…`` and ``shapes_…``; per run
    ``trajectories_…``; ``bowl``, each as PNG and SVG; and ``interplay.html``. Same runs, same bytes.

    Args:
        titles: task → title. layer: look at this transformer layer only. report: told what is done.

    Raises:
        ConfigError: the same method and seed twice, seeds of a method with different settings, or a run without
            adapters or without that layer.
        DataError: adapters that cannot be read.
        BenchmarkError: a profile that is no plain name, or adapters that lead out of their run's folder.
    """
    seen: dict[tuple[str, str, int], str] = {}
    settings: dict[tuple[str, ...], tuple[str, dict]] = {}
    for run, store in runs:
        check_plain(run.config.profile, f"{store.folder.name}/config.json, profile")
        key = (run.task, run.method, run.seed)
        if key in seen:
            raise ConfigError(f"{seen[key]} and {run.name}: the same method and seed with different settings. Move one "
                              f"of them to another folder.")
        seen[key] = run.name
        values = {name: value for name, value in run.resolved().items() if name != "execution"}
        first, others = settings.setdefault(key[:2], (run.name, values))
        if values != others:
            raise ConfigError(f"{first} and {run.name}: seeds of one method with different settings, which must not "
                              f"share a figure. Move one of them to another folder.")
    analyses = []
    for run, store in runs:
        report(f"{run.name}: measuring")
        analyses.append(analyse(run, store, layer))
    rows = pd.concat([a.rows for a in analyses], ignore_index=True)
    for pattern in OUTPUTS:
        for stale in out.glob(pattern):
            stale.unlink()
    written = [out / f"measures.{end}" for end in ("csv", "json", "md")]
    texts = (sentences.csv(rows, layer), sentences.to_json(rows, analyses, layer),
             sentences.markdown(rows, analyses, titles, layer))
    for path, text in zip(written, texts, strict=True):
        write_text(path, text)

    lacking = embed.missing()
    methods = ["PCA", *(name for module, (_, name) in embed.EXTRA.items() if module not in lacking)]
    found = {}
    paths = {dimensions: quadratic_demo.paths(dimensions) for dimensions in quadratic_demo.DIMENSIONS}
    where = "" if layer is None else f", layer {layer} only"
    with matplotlib.style.context(["default", style.RC]):
        for task in dict.fromkeys(rows.task):
            mine = [a for a in analyses if a.run.task == task]
            some, title = rows[rows.task == task], titles.get(task, task)
            drawn, note = list(dict.fromkeys(some.method)), _note(mine)
            subtitle = "   ·   ".join(filter(None, (_subtitle(mine), sentences.reduced(mine))))
            for name, draw, what in (("angles", figures.angles, "angles between updates"),
                                     ("layers", figures.heat, "layers over iterations"),
                                     ("shapes", figures.shapes, "norms, directions and shapes")):
                figure = draw(some, drawn, f"{title}: {what}{where}", subtitle, note)
                written += save(figure, out / f"{name}_{task}")
        for a in analyses:
            report(f"{a.run.name}: drawing with {', '.join(methods)}")
            kind, _ = scenes.picture_of(a)
            for kinds in a.pictures:
                found[a.name, kinds] = scenes.embeddings(a, kinds, methods)
            title = f"{titles.get(a.run.task, a.run.task)}: {style.label(a.run.method)}, seed {a.run.seed}{where}"
            figure = scenes.scenes(a, kind, found[a.name, kind], title, _subtitle([a]))
            written += save(figure, out / f"trajectories_{a.name}")
        written += save(figures.bowls(paths), out / "bowl")
    written.append(out / "interplay.html")
    write_text(written[-1], page.render(rows, analyses, found, paths, titles, layer))
    report(sentences.terminal(rows, titles))
    if lacking:
        packages, names = zip(*(embed.EXTRA[module] for module in lacking), strict=True)
        report(f"note: without {', '.join(packages)} there is no {' and no '.join(names)}. Measures and PCA need none "
               f"of them; install the rest with: pip install -c constraints.txt -e '.[visualise]'")
    return written


def _subtitle(analyses: Sequence) -> str:
    profiles = ", ".join(sorted({a.run.config.profile for a in analyses}))
    seeds = len({a.run.seed for a in analyses})
    sizes = ", ".join(sorted({f"{a.parameters:,}" for a in analyses}))
    counts = ", ".join(str(c) for c in sorted({a.iterations for a in analyses}))
    return f"profile {profiles}, {seeds} seed{'s' if seeds > 1 else ''}, {counts} iterations, {sizes} trained numbers"


def _note(analyses: Sequence) -> str:
    runs, sources = len(analyses), sorted({a.run.config.data.source for a in analyses})
    change = ("Weight change: ΔW = s(B₁A₁ − B₀A₀), free of the gauge of its LoRA factors; tensors: the factors "
              "themselves." if any(CHANGE in a.pictures for a in analyses) else "")
    return " ".join(filter(None, (
        f"{runs} run{'s' if runs > 1 else ''} on {' and '.join(sources)} data; small marks are single seeds, large "
        f"ones their mean.", change, sentences.unmeasured(analyses),
        "Grey: independent random updates of the same shapes and norms.")))
