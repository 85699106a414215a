"""Prompts, completions, truncation, padding."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from benchmark.core.errors import ModelError
from benchmark.core.sections import Decoding
from benchmark.lm.encoder import Encoder
from benchmark.lm.sequences import Sequences, join


@pytest.fixture
def encoder(prepared):
    return prepared.encoder


def test_a_sequence_is_bos_body_cue_completion_eos(encoder):
    ids = encoder.prompt("English: the dog") + encoder.completion("der Hund")
    tokenizer = encoder.tokenizer
    assert tokenizer.decode(ids) == "<bos>English: the dog\nGerman: der Hund<eos>"
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert encoder.eos != encoder.pad


def test_special_tokens_in_data_are_text(encoder):
    ids = encoder.completion("<eos> <pad>")
    assert encoder.eos not in ids[:-1] and encoder.pad not in ids


@pytest.mark.parametrize(("side", "kept"), [("keep_start", "a"), ("keep_end", "z")])
def test_truncation_keeps_the_named_side_and_the_cue(encoder, side, kept):
    decoding = replace(encoder.decoding, max_prompt_tokens=12)
    short = Encoder(encoder.tokenizer, "\nGerman:", side, decoding)
    body = "a " * 50 + "z " * 50
    ids = short.prompt(body)
    text = encoder.tokenizer.decode(ids)
    assert len(ids) == 12 and not short.fits(body)
    assert text.endswith("\nGerman:") and kept in text.removeprefix("<bos>").removesuffix("\nGerman:")


def test_a_cut_completion_has_no_eos(encoder):
    ids = encoder.completion("sehr " * 100)
    assert len(ids) == encoder.decoding.max_new_tokens and encoder.eos not in ids


def test_padding_is_left_for_prompts_and_right_for_completions(encoder):
    sequences = encoder.pad_rows([[5, 6], [7]], [[8], [9, 10]], "cpu")
    assert sequences.ids.tolist() == [[5, 6, 8, encoder.pad], [encoder.pad, 7, 9, 10]]
    assert sequences.mask.tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]
    assert sequences.completion_ids.tolist() == [[8, encoder.pad], [9, 10]]


def test_select_removes_common_padding_and_join_restores_the_layout(encoder):
    sequences = encoder.pad_rows([[5, 6, 7], [8], [9]], [[1, 2, 3], [4], []], "cpu")
    part = sequences.select(slice(1, 3))
    assert part.ids.shape == (2, 2) and part.prompt_length == 1
    whole = join([sequences.select(slice(0, 1)), part], encoder.pad)
    assert torch.equal(whole.ids, sequences.ids) and torch.equal(whole.mask, sequences.mask)


def test_an_empty_completion_keeps_one_column():
    sequences = Sequences(torch.tensor([[3, 0]]), torch.tensor([[1, 0]]), 1)
    assert sequences.select(slice(0, 1)).completion_ids.shape == (1, 1)


def test_a_padded_batch_is_cut_by_length_and_an_even_one_is_left_whole():
    mask = torch.ones(8, 12, dtype=torch.long)
    even = Sequences(torch.arange(96).view(8, 12), mask, 10)
    ((rows, part),) = even.cut(8)
    assert part is even and rows.tolist() == list(range(8))
    assert [rows.tolist() for rows, _ in even.cut(5)] == [[0, 1, 2, 3, 4], [5, 6, 7]]
    lengths = [2, 10, 3, 10, 2, 10, 3, 10]  # of the prompts: 30 of 96 entries are padding
    for row, length in enumerate(lengths):
        mask[row, : 10 - length] = 0
    parts = Sequences(even.ids, mask, 10).cut(8)
    assert [rows.tolist() for rows, _ in parts] == [[0, 4], [2, 6], [1, 3], [5, 7]]  # equal lengths stay in order
    assert [part.prompt_length for _, part in parts] == [2, 3, 10, 10]
    assert parts[0][1].ids.tolist() == [[8, 9, 10, 11], [56, 57, 58, 59]]


def test_every_part_holds_the_rows_it_names():
    """In small batches too, where what would be cut by length is one part."""
    ids, mask = torch.arange(96).view(8, 12), torch.ones(8, 12, dtype=torch.long)
    for row, length in enumerate([10, 2, 3, 10, 2, 10, 3, 2]):
        mask[row, : 10 - length] = 0
    for batch in (4, 8, 32, 64):
        for rows, part in Sequences(ids, mask, 10).cut(batch):
            assert part.ids[:, -1].tolist() == ids[rows, -1].tolist()


def sentencepiece(texts):
    """A tokenizer that begins every text with a space of its own (Llama 2, Mistral, Gemma 1)."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    words.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    words.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"],
                                                         show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def test_cue_and_completion_have_the_tokens_of_the_whole_text():
    texts = ["what is soup?\n\nAssistant: I am sorry", "what is rain?\n\nAssistant: you see"] * 9
    tokenizer = sentencepiece(texts)
    encoder = Encoder(tokenizer, "\n\nAssistant:", "keep_end", Decoding(max_prompt_tokens=64))
    ids = encoder.prompt("what is soup?") + encoder.completion("I am sorry")
    assert tokenizer.decode(ids, skip_special_tokens=True) == texts[0]
    assert encoder.rows([("what is soup?", "I am sorry")], "cpu").ids[0].tolist() == ids


@pytest.mark.parametrize("cue", ["\n\nAssistant:", "\nTL;DR:", "\nGerman:"])
def test_a_byte_level_tokenizer_has_the_tokens_of_each_part(prepared, cue):
    encoder = Encoder(prepared.encoder.tokenizer, cue, "keep_end", Decoding(max_prompt_tokens=64, max_new_tokens=64))
    for text in ("der Hund", "(ja) 12", "…", ""):
        alone = prepared.encoder._asked([cue, f" {text}"])
        assert [encoder._cue, encoder.completion(text)[:-1]] == alone


CHAT = ("{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<eos>\n{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}")


@pytest.fixture
def chatting(prepared):
    tokenizer = copy.deepcopy(prepared.encoder.tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = CHAT.replace("<eos>", tokenizer.eos_token)
    return tokenizer


def test_a_chat_is_what_the_template_makes_of_body_and_cue(chatting):
    decoding = Decoding(max_prompt_tokens=64, max_new_tokens=32, template="chat")
    encoder = Encoder(chatting, "\nGerman:", "keep_end", decoding)
    message = [{"role": "user", "content": "The dog sees me.\nGerman:"}]
    whole = chatting.apply_chat_template(message, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert encoder.prompt("The dog sees me.") == whole
    said = encoder.completion(" Der Hund. ")
    assert encoder.text(said) == "Der Hund." and said[-1] == encoder.eos
    assert said[:-1] == chatting("Der Hund.", add_special_tokens=False)["input_ids"]
    assert encoder.rows([("The dog sees me.", "Der Hund.")], "cpu").ids[0].tolist() == whole + said
    # A body that says what the template says is text.
    assert encoder.prompt("<|turn|>").count(chatting.convert_tokens_to_ids("<|turn|>")) == 2


def test_a_long_message_is_cut_inside_the_template(chatting):
    decoding = Decoding(max_prompt_tokens=30, template="chat")
    ids = Encoder(chatting, "\nGerman:", "keep_end", decoding).prompt("The dog sees me. " * 20)
    text = chatting.decode(ids)
    assert len(ids) == 30 and text.startswith("<|turn|>user") and text.endswith("\nGerman:"
                                                                            f"{chatting.eos_token}\n<|turn|>assistant\n")


@pytest.mark.parametrize(("template", "words"), [
    (None, "has no chat template"), ("{{ messages[0]['content'] }}{{ messages[0]['content'] }}", "shows a message 2"),
    ("nothing", "shows a message 0 times")])
def test_a_template_that_will_not_do_is_said(chatting, template, words):
    chatting.chat_template = template
    with pytest.raises(ModelError, match=words):
        Encoder(chatting, "\nGerman:", "keep_end", Decoding(template="chat"))
