"""Small multiples: a family a panel, what it is compared with in each, all other methods in grey behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.reporting.plots import families, frame
from benchmark.reporting.plots.frame import WIDE
from benchmark.reporting.read.reader import Results

COLUMNS = 3
GREY = " Grey: the other methods of the task, each in a panel of its own family."

Key = tuple[Sequence[Artist], Sequence[str]]  # handles and names of a legend


def grid(parts: Mapping[str, Sequence[str]], draw: Callable[[Axes, Sequence[str]], Key]) -> Figure:
    """Panels with the same axes, each with its title and legend above it.

    Args:
        parts: title → what :func:`draw` draws there.
    """
    columns = min(COLUMNS, len(parts))
    rows = -(-len(parts) // columns)
    figure = frame.new(WIDE, 1.9 + 3.1 * rows)
    every = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for i, (axes, (name, own)) in enumerate(zip(every, parts.items(), strict=False)):
        handles, names = draw(axes, own)
        axes.legend(handles, names, title=name, ncols=2, loc="lower left", bbox_to_anchor=(-0.02, 1.0), fontsize=7.5,
                    title_fontproperties={"weight": "bold", "size": 10.5}, alignment="left", handlelength=2.8,
                    handletextpad=0.5, columnspacing=0.8, labelspacing=0.35, borderaxespad=0.2)
        lowest, first = i + columns >= len(parts), i % columns == 0
        axes.tick_params(labelbottom=lowest, labelleft=first)
        axes.set_xlabel(axes.get_xlabel() if lowest else "", fontsize=9)
        axes.set_ylabel(axes.get_ylabel() if first else "", fontsize=9)
    for axes in every[len(parts):]:
        axes.set_axis_off()
    return figure


def panels(results: Results, task: str, methods: Sequence[str], title: str, how: str,
           draw: Callable[[Axes, list[str], list[str]], str]) -> Figure:
    """A figure of ``methods`` of ``task``.

    Args:
        how: how a panel is to be read.
        draw: draws methods, and those behind them, and returns what lies outside the axes.
    """
    present, outside = results.methods_of(task), set()

    def one(axes: Axes, own: Sequence[str]) -> Key:
        outside.add(draw(axes, list(own), [m for m in present if m not in own]))
        return frame.legend(results, own, [task], "π₀ (start)")

    figure = grid(families.panels(methods, present), one)
    frame.frame(figure, f"{results.title(task)}: {title}", frame.seeds(results, task, methods), results.reduced(task),
                frame.caption(results, [task], methods, how + GREY + "".join(outside)))
    return figure
