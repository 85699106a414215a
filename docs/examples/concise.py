"""A judge: of two answers the one with fewer words is better, of two without words neither."""

import math

from benchmark.core.sections import JUDGES


class Concise:
    """P(first is better) = σ((words of the second − words of the first) / 4); an answer without words loses."""

    def __init__(self, settings, adapter, device):
        """settings: the section ``judge``; adapter: the task's; device: where a model would go."""

    def prefer(self, prompts, first, second):
        return [1 / (1 + math.exp((words(a) - words(b)) / 4)) for a, b in zip(first, second, strict=True)]


def words(text):
    return len(text.split()) or 100


JUDGES["concise"] = f"{__name__}:Concise"
