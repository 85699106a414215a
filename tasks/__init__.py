"""What is learned: one adapter a file. Raw rows in, prompts and preference examples out.

``TASKS`` is the whole table; a name is resolved only when asked for, so listing it imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.core.naming import check_name, load

if TYPE_CHECKING:
    from tasks.adapter import TaskAdapter

TASKS = {
    "summarize_from_feedback": "tasks.summarize_from_feedback:SummarizeFromFeedback",
    "wmt20_mlqe": "tasks.wmt20_mlqe:Wmt20Mlqe",
    "hh_rlhf": "tasks.hh_rlhf:HHRLHF",
    "preferences": "tasks.preferences:Preferences",
}
WORLDS = ("summarize_from_feedback", "wmt20_mlqe", "hh_rlhf")  # with a generator; run where no task is named


def get_task(name: str) -> TaskAdapter:
    """Return a new adapter of the task called ``name``.

    Raises:
        ConfigError: no such task; names near matches and all tasks.
    """
    return load(TASKS[check_name(name, TASKS, "task")])()
