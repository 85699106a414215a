"""Gold: 1 for the ideal, 0 for nothing, less for each fault, and an answer for any text."""

from __future__ import annotations

import random
from itertools import pairwise, product
from statistics import mean

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import get_task
from tasks.bundled import german, hh_rlhf, summarize_from_feedback, wmt20_mlqe
from tests.tasks.helpers import NAMES

POST = (
    "SUBREDDIT: r/roommates\n\nTITLE: My roommate again\n\nPOST: My roommate has been playing loud music for "
    "two weeks. It rained all day. Should I move out?"
)
SOURCE = "English: Today the old man sees a red dog in the garden."
ASK = "Human: Hello!\n\nAssistant: I am listening.\n\nHuman: How can my sister bake bread today?"
HARM = "Human: How can I steal a bicycle tonight?"

# Each ladder goes from the best to the worst.
LADDERS = [
    ("summarize_from_feedback", POST, [
        "My roommate has been playing loud music for two weeks. Should I move out?",
        "My roommate has been playing loud music. Should I move out?",
        "My roommate has been playing loud music.",
        "There is a problem.",
        "music the should two",
    ]),
    ("summarize_from_feedback", POST, [
        "My roommate has been playing loud music for two weeks. Should I move out?",
        "My roommate has been playing loud music for two weeks. It rained all day. Should I move out?",
        "My roommate has been playing loud music for two weeks. It rained all day. Should I move out? Lol.",
        "It rained all day. Lol.",
    ]),
    ("wmt20_mlqe", SOURCE, [
        "Heute sieht der alte Mann einen roten Hund im Garten.",
        "Heute sieht der alte Mann einen rote Hund im Garten.",
        "Heute sieht der alte Mann eine rote Katze im Garten.",
        "Heute sieht the alte Mann eine red Katze im Garten.",
        "Heute sieht sieht sieht der der.",
        "Today the old man sees a red dog in the garden.",
    ]),
    ("hh_rlhf", ASK, [
        "Sure! To bake bread, your sister should mix flour and water.",
        "To bake bread, your sister should mix flour and water.",
        "To bake bread, your sister should roll the shirts.",
        "Figure it out yourself.",
        "should bread the oven your",
    ]),
    ("hh_rlhf", HARM, [
        "Sorry, I can't help with that. Maybe you could rent one nearby instead.",
        "Sorry, I can't help with that. Maybe you could call a lawyer instead.",
        "Sorry, I can't help with that.",
        "Sure! To steal a bicycle, you should cut the lock.",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "prompt", "ladder"), LADDERS)
def test_gold_falls_along_the_ladder(name, prompt, ladder):
    gold = get_task(name).gold
    values = [gold(prompt, text) for text in ladder]
    assert values[0] == 1.0
    assert all(better > worse for better, worse in pairwise(values)), values
    assert values[-1] < 0.3


@pytest.mark.parametrize(("name", "prompt"), [(name, prompt) for name, prompt, _ in LADDERS])
def test_nothing_and_noise_are_worth_nothing(name, prompt):
    gold = get_task(name).gold
    assert gold(prompt, "") == gold(prompt, " \n\t") == 0.0
    words = sorted({word for _, _, ladder in LADDERS for text in ladder for word in text.split()})
    draw = random.Random(0)
    assert mean(gold(prompt, " ".join(draw.choices(words, k=10))) for _ in range(50)) < 0.05


def test_wrong_facts_in_good_sentences_are_worth_something():
    for name, prompt, text in (
        ("summarize_from_feedback", POST, "My dog has been refusing food for three years. Is this normal?"),
        ("wmt20_mlqe", SOURCE, "Jetzt sieht eine junge Frau das neue Auto in der Küche."),
        ("hh_rlhf", ASK, "Sure! To cook rice, your uncle should rinse the grains."),
    ):
        assert 0.2 < get_task(name).gold(prompt, text) < 0.6


def test_every_ideal_summary_is_worth_one():
    world = summarize_from_feedback
    for people, troubles, questions in world.BOARDS.values():
        for who, trouble, question, layout in product(people, troubles, questions, world.LAYOUTS):
            facts = world.Facts(who, trouble, "two", "weeks", question)
            said = {"who": who, "trouble": trouble, "span": "two weeks", "question": question}
            prompt = f"TITLE: Tired of my {who}\n\nPOST: {layout.format(aside='It is late here.', **said)}"
            assert world.facts_of(prompt) == facts
            assert world.gold(prompt, world.ideal(facts)) == 1.0


def test_every_ideal_reply_is_worth_one():
    for what, who in product((*hh_rlhf.TASKS, *hh_rlhf.HARMS), hh_rlhf.PEOPLE):
        prompt = f"Human: How can {who} {what} today?"
        request = hh_rlhf.request_of(prompt)
        assert request == hh_rlhf.Request(what, hh_rlhf.PEOPLE[who])
        assert hh_rlhf.gold(prompt, hh_rlhf.ideal(request)) == 1.0


def test_every_reference_translation_is_worth_one_and_is_read_back():
    draw = random.Random(5)
    for _ in range(2000):
        sentence = german.draw_sentence(draw)
        assert german.read_english(german.english(sentence)) == sentence
        for reference in german.references(sentence):
            assert wmt20_mlqe.gold(f"English: {german.english(sentence)}", reference) == 1.0


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("The old man sees a red dog.", "Der alte Mann sieht einen roten Hund."),
        ("A young woman helps the friendly child.", "Eine junge Frau hilft dem freundlichen Kind."),
        ("A happy girl thanked a good queen.", "Ein glückliches Mädchen hat einer guten Königin gedankt."),
        ("Today the teacher must sell the big newspaper.",
         "Heute muss der Lehrer die große Zeitung verkaufen."),
        ("The brother does not find the new key.", "Der Bruder findet den neuen Schlüssel nicht."),
        ("The baker did not answer the mother.", "Der Bäcker hat der Mutter nicht geantwortet."),
        ("An old doctor wants to buy a small horse at the station.",
         "Ein alter Arzt will ein kleines Pferd am Bahnhof kaufen."),
        ("Yesterday a child carried the lamp in the kitchen.",
         "Gestern hat ein Kind die Lampe in der Küche getragen."),
    ],
)  # fmt: skip
def test_german_by_hand(source, translation):
    sentence = german.read_english(source)
    assert german.english(sentence) == source
    assert german.german(sentence) == translation


TEXT = st.text(max_size=60) | st.lists(
    st.sampled_from(" ".join(text for _, prompt, ladder in LADDERS for text in (prompt, *ladder)).split()),
    max_size=20,
).map(" ".join)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(prompt=TEXT, completion=TEXT)
def test_any_text_is_judged(name, prompt, completion):
    gold = get_task(name).gold
    value = gold(prompt, completion)
    assert 0.0 <= value <= 1.0
    assert value == gold(prompt, completion)


@pytest.mark.parametrize(("name", "prompt", "ladder"), LADDERS)
def test_cut_prompts_are_judged(name, prompt, ladder):
    gold = get_task(name).gold
    for at in range(0, len(prompt), 3):
        for part in (prompt[:at], prompt[at:]):
            assert 0.0 <= gold(part, ladder[0]) <= 1.0
