"""What the bundled worlds share: words, fluency, repetition, and how two completions of a row are drawn."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import pairwise

from tasks.examples import stable_number

TOKEN = re.compile(r"\w+(?:'\w+)*|[^\w\s]")
END = (".", "!", "?")
START_MARK, END_MARK = "<start>", "<end>"

# Share of rows whose preference is the wrong way round, as careless annotators leave it.
LABEL_NOISE = 0.04
# Two completions of a row differ by at least this much gold, unless many draws bring no such pair.
GAP = 0.1


def tokens(text: str) -> list[str]:
    """Return the lower-case words and punctuation marks of ``text``."""
    return TOKEN.findall(text.lower().replace("\u2019", "'"))


def bigrams(sequence: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield neighbouring tokens, with the start and the end of the text as tokens."""
    before = START_MARK
    for token in sequence:
        yield before, token
        before = token
    yield before, END_MARK


def known_bigrams(sentences: Iterable[str]) -> frozenset[tuple[str, str]]:
    """Return the neighbours that occur in ``sentences``, and any end of one with any start of another."""
    known: set[tuple[str, str]] = set()
    starts = set()
    for sentence in sentences:
        pairs = list(bigrams(tokens(sentence)))
        starts.add(pairs[0][1])
        known.update(pairs)
    known.update((mark, start) for mark in END for start in starts)
    return frozenset(known)


def fluency(sequence: Sequence[str], known: Container[tuple[str, str]]) -> float:
    """Return in [0, 1] how much of a text is put together as the world's sentences are; 0 for no text.

    The cube of the share of known neighbours: one odd place costs little, random words come out near 0.
    """
    if not sequence:
        return 0.0
    pairs = list(bigrams(sequence))
    return (sum(pair in known for pair in pairs) / len(pairs)) ** 3


def repeated(sequence: Sequence[str]) -> int:
    """Return how many tokens repeat: the same word twice running, or a word pair seen before."""
    pairs = list(pairwise(sequence))
    return sum(one == two for one, two in pairs) + len(pairs) - len(set(pairs))


def brevity(length: int, comfortable: int) -> float:
    """Return 1 up to ``comfortable`` words, then less by 7 % of that for each word more, down to 0.3."""
    return max(0.3, 1.0 - 0.07 * max(0, length - comfortable))


def line(sequence: Sequence[str]) -> str:
    """Return tokens with a space around each, so that ``line(phrase) in line(text)`` finds a phrase."""
    return f" {' '.join(sequence)} "


def recall(sequence: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the share of ``wanted`` words that occur in ``sequence``."""
    present = set(sequence)
    return sum(word in present for word in wanted) / len(wanted) if wanted else 0.0


def generator(*parts: object) -> random.Random:
    """Return a generator seeded by ``parts`` alone."""
    return random.Random(stable_number(*parts))


def two_completions(
    draw: random.Random, sample: Callable[[random.Random], str], gold: Callable[[str], float]
) -> tuple[str, str]:
    """Return ``(preferred, other)``: two different samples, by gold but for ``LABEL_NOISE``."""
    best: tuple[float, str, str] = (-1.0, "", "")
    for _ in range(12):
        one, two = sample(draw), sample(draw)
        difference = gold(one) - gold(two)
        if one != two and abs(difference) > best[0]:
            best = (abs(difference), one, two) if difference >= 0 else (abs(difference), two, one)
        if best[0] >= GAP:
            break
    _, better, worse = best
    return (worse, better) if draw.random() < LABEL_NOISE else (better, worse)


def damage(text: str, draw: random.Random) -> str:
    """Return ``text`` spoilt as by a careless writer: a word lost, doubled or moved, or the end cut off."""
    words = text.split()
    if len(words) < 4:
        return text
    kind = draw.choice(("lose", "double", "cut", "move", "stop"))
    at = draw.randrange(1, len(words) - 1)
    if kind == "lose":
        del words[at]
    elif kind == "double":
        words.insert(at, words[at])
    elif kind == "cut":
        words = words[: max(2, at)]
    elif kind == "move":
        words.insert(draw.randrange(len(words)), words.pop(at))
    else:
        words[-1] = words[-1].rstrip(".!?")
    return " ".join(words)
