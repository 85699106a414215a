"""One figure in a process of its own: a JSON request on standard input, a JSON answer on standard output."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """``{"result": …}``, or ``{"failed": reason}``; a reason holds no path."""
    import torch

    from benchmark.core.errors import BenchmarkError
    from benchmark.core.paths import without_places
    from benchmark.plan.plugins import load_plugins
    from benchmark.studies.speed.measure import time_figure
    from benchmark.studies.speed.memory import memory_figure
    from benchmark.studies.speed.plan import Figure

    figure = Figure.from_dict(request["figure"])
    torch.set_num_threads(figure.config.execution.threads)
    if figure.config.execution.device != "cpu" and figure.part in ("methods", "sweeps"):  # as real runs do
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        if plugins := request.get("plugins"):
            load_plugins(filter(None, plugins))
        return {"result": (memory_figure if request["memory"] else time_figure)(figure)}
    except BenchmarkError as error:
        return {"failed": without_places(str(error))}
    except Exception as error:  # one figure that cannot be had must not stop the others
        reason = without_places(" ".join(str(error).split()))
        return {"failed": f"{type(error).__name__}: {reason[:300]}"}


def main() -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what libraries print must not get into the answer
        json.dump(answer(json.load(sys.stdin)), out)


if __name__ == "__main__":
    main()
