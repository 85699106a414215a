"""Short posts that ask for advice: who, what trouble, for how long, what is asked, and one thing beside it.

A good summary tells the trouble and the question in at most two sentences; it leaves out the rest, invents
nothing, and does not talk to the reader.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

from tasks.bundled.text import (
    END,
    brevity,
    damage,
    fluency,
    generator,
    known_bigrams,
    line,
    recall,
    repeated,
    tokens,
    two_completions,
)

# subreddit -> people (or animals), troubles after "has been", questions
BOARDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "relationships": (
        ("girlfriend", "boyfriend", "best friend", "ex"),
        ("ignoring my messages", "lying about money", "reading my diary", "canceling our dates",
         "hiding old letters", "texting my cousin"),
        ("Should I end it?", "Can we still talk?", "Can we fix this?", "Am I too jealous?",
         "Should I wait?"),
    ),
    "roommates": (
        ("roommate", "flatmate", "neighbor", "landlord"),
        ("playing loud music", "eating my food", "leaving dirty dishes", "stealing my mail",
         "smoking inside", "using my kitchen"),
        ("Should I move out?", "Can I call the police?", "How do I stay calm?", "Should I write a letter?",
         "Can I break the lease?"),
    ),
    "jobs": (
        ("boss", "coworker", "manager", "intern"),
        ("copying my ideas", "changing my shifts", "yelling at me", "losing my reports",
         "coming in late", "refusing my vacation"),
        ("Should I quit?", "Should I tell HR?", "Can I get a raise?", "Can they fire me?",
         "Should I find another job?"),
    ),
    "family": (
        ("mother", "father", "sister", "brother"),
        ("borrowing my car", "skipping family dinners", "spending my savings", "fighting with grandma",
         "posting my photos", "telling my secrets"),
        ("Should I say no?", "How do I set limits?", "Am I overreacting?", "Should I forgive them?",
         "Can I stay away?"),
    ),
    "pets": (
        ("dog", "cat", "parrot", "puppy"),
        ("chewing my shoes", "biting the neighbors", "refusing food", "scratching the sofa",
         "avoiding the garden", "waking me up"),
        ("Should I see a vet?", "How do I stop this?", "Is this normal?", "Should I buy new toys?",
         "Can training help?"),
    ),
}  # fmt: skip
NUMBERS = ("two", "three", "four", "five", "six")
UNITS = ("days", "weeks", "months", "years")
ASIDES = (
    "It rained all day.", "I had pasta today.", "We live in town.", "I am a student.",
    "My phone is old.", "The weather is nice.", "I like long walks.", "I like coffee.",
    "It is late here.", "I am on the bus.", "My car is blue.", "I watched a movie.", "The shop was closed.",
    "I turned thirty.", "We have a big garden.", "I work on Sundays.",
)  # fmt: skip
TITLES = ("Problem with my {}", "Advice about my {}", "My {} again", "Tired of my {}")
LAYOUTS = (
    "My {who} has been {trouble} for {span}. {aside} {question}",
    "{aside} My {who} has been {trouble} for {span}. {question}",
    "For {span} my {who} has been {trouble}. {aside} {question}",
)
OPENERS = ("So yeah,", "Long story short,", "Hi everyone,", "I just want to say that")
CLOSERS = ("Thanks for reading.", "Sorry for the long post.", "Edit: thanks for the gold.", "Lol.")
VAGUE = ("Someone is being difficult.", "There is a problem.", "I have a problem with my {}.")
VAGUE_QUESTIONS = ("What should I do?", "Any advice?")

PEOPLE = tuple(who for people, _, _ in BOARDS.values() for who in people)
TROUBLES = tuple(trouble for _, troubles, _ in BOARDS.values() for trouble in troubles)
QUESTIONS = tuple(question for _, _, questions in BOARDS.values() for question in questions)
COMFORTABLE = 17  # words and marks: the longest complete summary has that many
LONGEST = 18  # words: a long-winded summary stays within what a policy may generate

_PEOPLE = {who: line(tokens(f"my {who}")) for who in PEOPLE}
_TROUBLES = {trouble: line(tokens(trouble)) for trouble in TROUBLES}
_QUESTIONS = {question: line(tokens(question)) for question in QUESTIONS}
_ASIDES = [line(tokens(aside)) for aside in ASIDES]
_FILLERS = [line(tokens(filler)) for filler in (*OPENERS, *CLOSERS)]
_QUESTION_STARTS = frozenset(question.split()[0].lower() for question in QUESTIONS) | {"what", "any"}


class Facts(NamedTuple):
    """What a post says; ``None`` where it does not (cut off, or from elsewhere)."""

    who: str | None
    trouble: str | None
    number: str | None
    unit: str | None
    question: str | None


def rows(split: str, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield ``count`` comparisons in the published schema; a larger ``count`` adds to the same rows."""
    seen: set[str] = set()
    for at in range(count):
        draw = generator("summarize_from_feedback", seed, split, at)
        for _ in range(50):
            board, facts, title, post = _post(draw)
            if post + title not in seen:
                break
        seen.add(post + title)
        body = f"SUBREDDIT: r/{board}\n\nTITLE: {title}\n\nPOST: {post}"
        texts = two_completions(draw, partial(summary, facts, board, post), partial(gold, body))
        choice = draw.randrange(2)
        ordered = texts if choice == 0 else texts[::-1]
        yield {
            "info": {"id": f"bundled_{split}_{at}", "post": post, "title": title, "subreddit": board,
                     "site": None, "article": None},
            "summaries": [{"text": text, "policy": "bundled", "note": None} for text in ordered],
            "choice": choice,
            "worker": "bundled",
            "batch": "bundled",
            "split": split,
            "extra": {"confidence": None},
        }  # fmt: skip


def _post(draw: random.Random) -> tuple[str, Facts, str, str]:
    board = draw.choice(tuple(BOARDS))
    people, troubles, questions = BOARDS[board]
    facts = Facts(*map(draw.choice, (people, troubles, NUMBERS, UNITS, questions)))
    post = draw.choice(LAYOUTS).format(
        who=facts.who, trouble=facts.trouble, span=f"{facts.number} {facts.unit}",
        aside=draw.choice(ASIDES), question=facts.question,
    )  # fmt: skip
    return board, facts, draw.choice(TITLES).format(facts.who), post


def ideal(facts: Facts) -> str:
    """Return the best summary of a complete post."""
    return f"My {facts.who} has been {facts.trouble} for {facts.number} {facts.unit}. {facts.question}"


def reference(prompt: str) -> str:
    """Return the best summary of a generated prompt."""
    return ideal(facts_of(prompt))


def summary(facts: Facts, board: str, post: str, draw: random.Random) -> str:
    """Return a summary with 0 to 4 faults, from a good one to a useless one."""
    people, troubles, questions = BOARDS[board]
    faults = draw.sample(
        ("who", "trouble", "span", "no span", "question", "no question", "vague", "vague question", "opener",
         "closer", "aside", "damage", "only question"),
        draw.choices((0, 1, 2, 3, 4), weights=(5, 19, 30, 27, 19))[0],
    )  # fmt: skip
    if "who" in faults:
        facts = facts._replace(who=draw.choice(people))
    if "trouble" in faults:
        facts = facts._replace(trouble=draw.choice(troubles))
    if "span" in faults:
        facts = facts._replace(number=draw.choice(NUMBERS), unit=draw.choice(UNITS))
    if "question" in faults:
        facts = facts._replace(question=draw.choice(questions))
    span = "" if "no span" in faults else f" for {facts.number} {facts.unit}"
    first = f"My {facts.who} has been {facts.trouble}{span}."
    if "vague" in faults:
        first = draw.choice(VAGUE).format(facts.who)
    question = draw.choice(VAGUE_QUESTIONS) if "vague question" in faults else str(facts.question)
    parts = [first]
    if "opener" in faults:
        parts[0] = f"{draw.choice(OPENERS)} {first[0].lower()}{first[1:]}"
    if "aside" in faults:
        parts.append(next((aside for aside in ASIDES if aside in post), ASIDES[0]))
    if "no question" not in faults:
        parts.append(question)
    if "only question" in faults and len(parts) > 1:
        parts = parts[1:]
    if "closer" in faults:
        parts.append(draw.choice(CLOSERS))
    while len(" ".join(parts).split()) > LONGEST:
        parts.pop(draw.randrange(1, len(parts)))
    text = " ".join(parts)
    return damage(text, draw) if "damage" in faults else text


@lru_cache(maxsize=1)
def _known() -> frozenset[tuple[str, str]]:
    sentences = [*ASIDES, *CLOSERS, *QUESTIONS, *VAGUE_QUESTIONS]
    for who in PEOPLE:
        sentences += [text.format(who) for text in VAGUE]
        sentences += [f"{opener} my {who} has been" for opener in OPENERS]
        # In gold these neighbours come from different places, so every slot meets every filler of the next.
    for who, trouble in (
        (who, trouble) for people, troubles, _ in BOARDS.values() for who in people for trouble in troubles
    ):
        sentences.append(f"My {who} has been {trouble}.")
    ends = {trouble.split()[-1] for trouble in TROUBLES}
    sentences += [f"My {who} has been {trouble} for" for who in PEOPLE[:1] for trouble in TROUBLES]
    sentences += [f"for {number} {unit}." for number in NUMBERS for unit in UNITS]
    sentences += [f"for {number} {unit} my {who} has" for number in NUMBERS[:1] for unit in UNITS for who in PEOPLE[:1]]
    sentences += [f"{end}." for end in ends]
    known = known_bigrams(sentences)
    # Pieces above start or stop inside a sentence: only a full stop ends a text, only a sentence starts one.
    return frozenset(
        (one, two)
        for one, two in known
        if not (two == "<end>" and one not in END) and not (one in ("<start>", *END) and two in ends)
    )


@lru_cache(maxsize=4096)
def facts_of(body: str) -> Facts:
    """Return the facts of a prompt body; ``None`` for each that is not found."""
    words = tokens(body)
    text = line(words)
    number = unit = None
    for at, word in enumerate(words[:-2]):
        if word == "for" and words[at + 1] in NUMBERS and words[at + 2] in UNITS:
            number, unit = words[at + 1], words[at + 2]
    return Facts(
        next((who for who, phrase in _PEOPLE.items() if phrase in text), None),
        next((trouble for trouble, phrase in _TROUBLES.items() if phrase in text), None),
        number,
        unit,
        next((question for question, phrase in _QUESTIONS.items() if phrase in text), None),
    )


def gold(prompt: str, completion: str) -> float:
    """Return in [0, 1] how good ``completion`` summarises ``prompt``; 1 is complete, 0 is no text.

    Content (who 0.15, trouble 0.35, how long 0.15, question 0.35; a false one of the right kind counts a
    little) times form (fluent, short, no chatter, no aside, no repeat, a clean end).
    """
    words = tokens(completion)
    if not words:
        return 0.0
    facts = facts_of(prompt)
    return (0.2 + 0.8 * _content(facts, words)) * _form(words, completion)


def _content(facts: Facts, words: list[str]) -> float:
    parts: list[tuple[float, float]] = []
    text = line(words)
    if facts.who:
        named = [who for who, phrase in _PEOPLE.items() if phrase in text]
        parts.append((0.15, 1.0 if named == [facts.who] else 0.5 if facts.who in named else 0.25 * bool(named)))
    if facts.trouble:
        told = [trouble for trouble, phrase in _TROUBLES.items() if phrase in text]
        trouble = facts.trouble.split()
        right = recall(words, [trouble[0], trouble[-1]])
        parts.append((0.35, max(right - 0.3 * (facts.trouble not in told), 0.25 * bool(told), 0.0)))
    if facts.number and facts.unit:
        spans = ("for" in words) * (any(n in words for n in NUMBERS) and any(u in words for u in UNITS))
        parts.append((0.15, max(0.2 * spans, recall(words, [facts.number, facts.unit]) ** 2)))
    if facts.question:
        phrase = tokens(facts.question)
        asked = [question for question, phrase_of in _QUESTIONS.items() if phrase_of in text]
        some = 0.3 if "?" in words and any(word in _QUESTION_STARTS for word in words) else 0.0
        close = 0.7 * recall(words, phrase[1:-1] or phrase) ** 2
        parts.append((0.35, 1.0 if asked == [facts.question] else max(some, close if "?" in words else 0.5 * close)))
    weight = sum(part for part, _ in parts)
    # A prompt without any known fact asks for nothing that could be told: only form counts, at a low level.
    return sum(part * value for part, value in parts) / weight if weight else 0.3


def _form(words: list[str], completion: str) -> float:
    text = line(words)
    value = fluency(words, _known())
    value *= brevity(len(words), COMFORTABLE)
    value *= 0.75 ** sum(filler in text for filler in _FILLERS)
    value *= 0.75 ** sum(aside in text for aside in _ASIDES)
    value *= max(0.3, 0.85 ** repeated(words))
    value *= 1.0 if completion.strip().endswith(END) else 0.8
    value *= 1.0 if completion.strip()[0].isupper() else 0.93
    return value
