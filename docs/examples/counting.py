"""A task with a world of its own: to count from one number to another, without leaving one out."""

import random

from tasks import TASKS
from tasks.adapter import TaskAdapter, numbered
from tasks.examples import PreferenceExample, text_of


def rows(split, count, seed):
    """Generated rows."""
    for number in range(count):
        draw = random.Random(f"{split} {seed} {number}")
        first = draw.randrange(90)
        right = list(range(first, first + draw.randrange(4, 8)))
        missed = draw.choice(right[1:-1])
        yield {"prompt": f"Child {number} of {split} counts from {right[0]} to {right[-1]}.",
               "chosen": " ".join(map(str, right)), "rejected": " ".join(str(n) for n in right if n != missed)}


class Counting(TaskAdapter):
    """Who counts better."""

    name, title = "counting", "Counting"
    prompt_role, completion_role, cue, truncation = "Task", "Answer", "\nAnswer:", "keep_start"
    hub_dataset, hub_splits = "none/counting", {}  # on no hub

    def bundled_rows(self, train, held_out, seed):
        made = (("train", train, "train"), ("test", held_out, "held_out"))
        return [row for name, count, split in made
                for row in numbered(rows(name, count, seed), f"bundled/{name}.jsonl", split)]

    def parse(self, row, notes):
        return PreferenceExample(*(text_of(row.fields.get(field), field) for field in ("prompt", "chosen", "rejected")))

    def gold(self, prompt, completion):
        """The share of the numbers that stand in their place."""
        words = prompt.rstrip(".").split()
        first, last = int(words[-3]), int(words[-1])
        wanted, said = [str(number) for number in range(first, last + 1)], completion.split()
        return sum(a == b for a, b in zip(wanted, said, strict=False)) / max(len(wanted), len(said))


TASKS["counting"] = f"{__name__}:Counting"
