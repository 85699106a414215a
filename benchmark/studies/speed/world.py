"""A made-up world to measure in: random models, prompts and pairs of the configured shape, all in memory.

Policy and reward model are wrapped as :class:`benchmark.run.prepared.Prepared` wraps trained ones. The tokenizer knows
one word an id, so that text and ids convert exactly into each other whoever does it (TRL decodes completions and
encodes them again for its reward model). Its EOS is an id that the model has no entry for and therefore never samples:
all completions have the full length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from baselines.contract import Context, Objective
from benchmark.core.meter import Meter
from benchmark.core.seeding import generator, global_seed
from benchmark.lm.encoder import Encoder
from benchmark.lm.loading import device_of, tiny_config
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.rollout import AnyBatch, PromptStream, Sampler
from benchmark.lm.sequences import Sequences
from benchmark.lm.trained import add_adapter
from benchmark.lm.training import Pair
from benchmark.plan.resolve import Config
from benchmark.run.prepared import parameter_count
from benchmark.run.problem import BatchProblem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD, BOS, END = "<pad>", "<bos>", "<end>"  # ids 0, 1, 2
EOS = "<eos>"  # id = vocabulary: beyond what the model knows
FIRST_WORD = 3
SEED = 0


def word_tokenizer(vocabulary: int, eos: str = EOS) -> PreTrainedTokenizerBase:
    """A tokenizer of ``vocabulary`` entries and one more, the EOS that is never sampled.

    Args:
        eos: END for a library that needs to train on an EOS of its own.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    known = {PAD: 0, BOS: 1, END: 2, **{f"w{i}": i for i in range(FIRST_WORD, vocabulary)}, EOS: vocabulary}
    tokenizer = Tokenizer(WordLevel(known, unk_token=PAD))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=eos)


def llama(config: Config, name: str, device: torch.device, scalar: bool = False) -> torch.nn.Module:
    """A random Llama of the configured shape and dtype; ``scalar``: with a float32 scalar head instead of a vocabulary.

    Args:
        name: of the random stream.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    decoding, vocabulary = config.decoding, config.model.vocabulary
    shape = tiny_config(
        config.model, vocabulary, max_position_embeddings=decoding.max_prompt_tokens + decoding.max_new_tokens,
        pad_token_id=0, bos_token_id=1, eos_token_id=None, **({"num_labels": 1} if scalar else {}))
    cls = AutoModelForSequenceClassification if scalar else AutoModelForCausalLM
    with global_seed("bench", name, SEED), torch.device(device):  # a large model is drawn where it will be
        model = cls.from_config(shape, dtype=getattr(torch, config.model.dtype)).to(device)
    if scalar:
        model.score.float()
    return model


class World:
    """Models, prompts and pairs.

    Args:
        batches: updates for which no prompt and no pair comes twice.
    """

    def __init__(self, config: Config, batches: int):
        self.config, self.device = config, device_of(config.execution)
        self.meter = Meter(synchronize=self.synchronize)
        self.encoder = Encoder(word_tokenizer(config.model.vocabulary), "", "keep_start", config.decoding)
        count = config.loop.sequences_per_update * batches
        self.bodies = bodies(config, count)
        self.pairs = made_up_pairs(config, self.bodies[: count // 2])
        model = add_adapter(llama(config, "policy", self.device), config.adapter, "policy", SEED)
        self.policy = Policy(model.to(self.device), self.encoder, self.meter, config.execution.forward_batch,
                             keep_start=True)
        self.reward = self.new_reward("reward")

    def new_reward(self, name: str) -> RewardModel:
        model = add_adapter(llama(self.config, "reward", self.device, scalar=True), self.config.adapter, name,
                            SEED).to(self.device)
        share = parameter_count(model) / parameter_count(self.policy.model)
        return RewardModel(model, self.encoder, self.meter, self.config.execution.forward_batch, share)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def context(self) -> Context:
        """What an objective is given."""
        config = self.config
        prompts = PromptStream(self.bodies, self.encoder, "prompts", SEED)
        sampler = Sampler(self.policy, self.reward, prompts, config.decoding.temperature, "rollout", SEED)
        return Context(self.policy, sampler, lambda: self.new_reward("critic"), self.pairs,
                       config.loop.sequences_per_update, config.decoding.temperature, SEED)

    def problem(self, objective: Objective, batch: AnyBatch) -> BatchProblem:
        """What one update descends."""
        return BatchProblem(objective, batch, self.config.execution.backward_batch)

    def finished(self, k: int) -> Sequences:
        """The sequences of one update, k completions a prompt, as if they had been sampled."""
        count, length = self.config.loop.sequences_per_update, self.config.decoding.max_new_tokens
        prompts = [self.encoder.prompt(self.bodies[row // k]) for row in range(count)]
        words = random_ids(self.config, count * length, "completions").view(count, length).tolist()
        return self.encoder.pad_rows(prompts, words, self.device)


def random_ids(config: Config, count: int, *seed: object) -> torch.Tensor:
    """Ids (count,) of words."""
    return torch.randint(FIRST_WORD, config.model.vocabulary, (count,), generator=generator("bench", *seed))


def bodies(config: Config, count: int) -> list[str]:
    """Prompts as text, BOS not included: with it 2/3 to 1 times ``max_prompt_tokens`` long."""
    longest = config.decoding.max_prompt_tokens
    lengths = torch.randint(max(2, 2 * longest // 3), longest + 1, (count,), generator=generator("bench lengths"))
    return [text(random_ids(config, length - 1, "prompt", row)) for row, length in enumerate(lengths.tolist())]


def made_up_pairs(config: Config, prompts: Sequence[str], length: int | None = None) -> list[Pair]:
    """(prompt, chosen, rejected), completions of ``length`` words (default: the full length, so without an EOS)."""
    length = length or config.decoding.max_new_tokens
    return [(body, text(random_ids(config, length, "chosen", row)), text(random_ids(config, length, "rejected", row)))
            for row, body in enumerate(prompts)]


def text(ids: torch.Tensor) -> str:
    return " ".join(f"w{i}" for i in ids.tolist())
