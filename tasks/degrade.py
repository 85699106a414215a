"""Worse translations made from good ones: pairs whose order is beyond doubt, without source copies."""

from __future__ import annotations

import random

from tasks.examples import stable_number

KINDS = ("drop", "swap", "repeat", "untranslated", "truncate", "wrong_sentence")


def degrade(translation: str, source: str, other: str, seed: int) -> str | None:
    """Return a worse version of ``translation``, or ``None`` where every way leaves it unchanged.

    The way is drawn from ``seed`` and the two texts: words dropped, moved, repeated or left untranslated,
    the end cut off, or the translation of another sentence (``other``) in its place.
    """
    draw = random.Random(stable_number("degrade", seed, source, translation))
    kinds = list(KINDS)
    draw.shuffle(kinds)
    for kind in kinds:
        worse = _apply(kind, translation.split(), source.split(), other, draw)
        if worse and worse != " ".join(translation.split()) and worse != translation:
            return worse
    return None


def _apply(kind: str, words: list[str], source: list[str], other: str, draw: random.Random) -> str:
    count = len(words)
    some = max(1, round(count * draw.uniform(0.15, 0.5)))
    places = draw.sample(range(count), min(some, count)) if count else []
    if kind == "wrong_sentence":
        return " ".join(other.split())
    if count < 2:
        return ""
    if kind == "drop":
        words = [word for at, word in enumerate(words) if at not in places]
    elif kind == "truncate":
        words = words[: max(1, count - max(1, round(count * draw.uniform(0.25, 0.7))))]
    elif kind == "swap":
        for at in places:
            to = draw.randrange(count)
            words[at], words[to] = words[to], words[at]
    elif kind == "repeat":
        words = [copy for at, word in enumerate(words) for copy in ([word] * (2 if at in places else 1))]
    elif kind == "untranslated" and source:
        for at in places:
            words[at] = source[min(at * len(source) // count, len(source) - 1)]
    return " ".join(words)
