"""Our objectives against TRL's own trainers: same rows, same weights, same losses, advantages and gradients.

Every test builds a real trainer around the very model that our objective trains. The trainer is made while the adapter
is fresh, so that its reference is π₀; then the adapter is moved. Where TRL samples, the prompts are equally long: it
counts the positions of left-padded rows from the padding on, which rotary embeddings forgive only up to rounding.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch.testing import assert_close

from baselines import hyperparameters as hp
from baselines.contract import Context
from baselines.objectives.dpo import DPO, pair_losses
from baselines.objectives.online_dpo import OnlineDPO
from baselines.objectives.rloo import RLOO, leave_one_out
from benchmark.core.meter import Meter
from benchmark.core.sections import Adapter, Decoding, Model, RewardTraining
from benchmark.lm.encoder import Encoder
from benchmark.lm.loading import tiny_config, tiny_llama, train_tokenizer
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.rollout import Batch, Sampler
from benchmark.lm.sequences import Sequences
from benchmark.lm.trained import add_adapter
from benchmark.lm.training import bradley_terry, margins, train_reward

trl = pytest.importorskip("trl", reason="TRL is not installed")
# TRL and peft still ask transformers for this property by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

SHAPE = Model(hidden_size=16, intermediate_size=32, layers=2, heads=2, kv_heads=1)
CUE = "\nGerman:"
PAIRS = [("English: the dog sleeps", "der Hund schläft", "dog"), ("English: a very small cat", "eine Katze", "Katze"),
         ("x", "y z w v u", "q"), ("English: the dog, again", "der Hund, noch einmal", "das Hund und die Katze")]
PROMPTS = [{"prompt": f"<bos>{body}{CUE}"} for body in "xyzw"]  # equally long
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
TEMPERATURE = 0.7


@pytest.fixture(autouse=True)
def one_thread_and_no_device_left_behind():
    """What accelerate settles on for a trainer must not hold for later tests."""
    from accelerate.state import AcceleratorState

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def encoder():
    tokenizer = train_tokenizer([text for pair in PAIRS for text in pair] * 5, 300)
    return Encoder(tokenizer, CUE, "keep_start", Decoding(max_prompt_tokens=64, max_new_tokens=24))


@pytest.fixture
def policy(encoder):
    """A tiny Llama with a fresh adapter."""
    model = add_adapter(tiny_llama(SHAPE, encoder.tokenizer, 128, 0), Adapter(rank=4, alpha=8), 0)
    return Policy(model, encoder, Meter(), 16)


@pytest.fixture
def arguments(tmp_path):
    """``arguments(trl.DPOConfig, **options)``: float32 on the CPU, nothing reported."""
    def make(cls, **options):
        return cls(str(tmp_path), report_to=[], use_cpu=True, bf16=False, activation_checkpointing=False,
                   disable_tqdm=True, **options)

    return make


@pytest.fixture
def dpo_trainer(policy, arguments):
    def make(**options):
        return trl.DPOTrainer(policy.model, args=arguments(trl.DPOConfig, **options), train_dataset=preferences(),
                              processing_class=policy.encoder.tokenizer)

    return make


def preferences():
    """The pairs as TRL takes them."""
    return Dataset.from_list([{"prompt": f"<bos>{body}{CUE}", "chosen": f" {good}", "rejected": f" {bad}"}
                              for body, good, bad in PAIRS])


def context(policy, sampler=None, sequences=8):
    return Context(policy=policy, sampler=sampler, new_critic=None, pairs=PAIRS, sequences=sequences,
                   temperature=TEMPERATURE, seed=0)


def move(model, seed, scale):
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters.values()):
            stream = torch.Generator().manual_seed(1000 * seed + index)
            parameter.add_(scale * torch.randn(parameter.shape, generator=stream))


def take_gradients(model):
    taken = {name: parameter.grad for name, parameter in model.parameters.items()}
    for parameter in model.parameters.values():
        parameter.grad = None
    return taken


def assert_same(loss, expected, model, gradients):
    """Our loss equals TRL's to 1e-6, its gradients to 1e-5 (of the largest one, where that is above 1): they went back
    through two float32 forward passes, in which a sum of log-probabilities is exact to some 1e-6 only."""
    assert_close(loss, expected, **TOLERANCE)
    loss.backward()
    scale = max(gradient.abs().max().item() for gradient in gradients.values())
    assert scale > 1e-3
    for name, gradient in take_gradients(model).items():
        assert_close(gradient, gradients[name], rtol=1e-5, atol=1e-5 * max(scale, 1.0))


class Table(torch.nn.Module):
    """Stands for a model: the log-probabilities of completions, laid out as in TRL's rows or as in ours."""

    def __init__(self, completions, encoder=None):
        super().__init__()
        self.values, self.encoder = torch.cat(completions).requires_grad_(), encoder

    def _fill(self, mask):
        return torch.zeros(mask.shape).masked_scatter(mask.bool(), self.values)

    def forward(self, labels, **_):
        values = self._fill(labels[:, 1:] != -100)
        return SimpleNamespace(log_probs=values, entropy=values, mean_logits=values, is_top1=values > 0)

    def logprobs(self, sequences):
        return self._fill(sequences.completion_mask)


def compare_losses(trainer, rows, encoder, settings, seed):
    """TRL's and our loss of the same log-probabilities, and its gradient with respect to each of them.

    They are multiples of 1/8, so that every sum is exact.
    """
    parts = tuple(encoder.rows([(PAIRS[row][0], PAIRS[row][side]) for row in rows], "cpu") for side in (1, 2))
    lengths = torch.cat([part.completion_mask.sum(1) for part in parts]).tolist()
    stream = torch.Generator().manual_seed(seed)
    reference = [-torch.randint(1, 40, (length,), generator=stream) / 8 for length in lengths]
    current = [values + torch.randint(-12, 13, values.shape, generator=stream) / 8 for values in reference]
    theirs, ours = Table(current), Table(current, encoder)
    trainer.ref_model = Table(reference)
    expected = trainer.compute_loss(theirs, trainer.data_collator([trainer.train_dataset[row] for row in rows]))
    chosen, rejected = torch.stack([values.sum() for values in reference]).chunk(2)
    batch = Batch.of(parts, {"reference_chosen": chosen, "reference_rejected": rejected})
    loss = pair_losses(ours, batch, settings).mean()
    assert_close(loss, expected, **TOLERANCE)
    (loss + expected).backward()
    assert_close(ours.values.grad, theirs.values.grad, **TOLERANCE)


@pytest.mark.parametrize("beta", [0.1, 0.9])
@pytest.mark.parametrize(("name", "smoothing"), [
    ("sigmoid", 0.0), ("hinge", 0.0), ("ipo_mean", 0.0), ("nca_pair", 0.0), ("sppo_hard", 0.0), ("apo_zero", 0.0),
    ("apo_down", 0.0), ("discopop", 0.0), ("robust", 0.0), ("robust", 0.1), ("robust", 0.3), ("exo_pair", 0.0),
    ("exo_pair", 0.2),
])
def test_dpo_losses(name, smoothing, beta, encoder, dpo_trainer):
    """Different: TRL's ``ipo`` is our ``ipo_mean``; its ``exo_pair`` refuses smoothing 0, where ours takes 1e-3."""
    trainer = dpo_trainer(loss_type=[name.removesuffix("_mean")], beta=beta,
                          label_smoothing=1e-3 if (name, smoothing) == ("exo_pair", 0.0) else smoothing)
    for seed in range(3):
        compare_losses(trainer, range(len(PAIRS)), encoder,
                       hp.DPOSettings(beta=beta, loss=name, label_smoothing=smoothing), seed)


@pytest.mark.parametrize(("beta", "smoothing"), [(0.1, 0.1), (0.9, 0.3)])
def test_cdpo_is_aot_of_a_single_pair(beta, smoothing, encoder, dpo_trainer):
    """TRL's ``sigmoid`` ignores label smoothing; its ``aot`` sorts the rows of a batch, which does nothing to one."""
    trainer = dpo_trainer(loss_type=["aot"], beta=beta, label_smoothing=smoothing)
    for row in range(len(PAIRS)):
        compare_losses(trainer, [row], encoder, hp.DPOSettings(beta=beta, loss="cdpo", label_smoothing=smoothing), row)


@pytest.mark.parametrize(("name", "beta"), [("sigmoid", 0.1), ("sigmoid", 0.5), ("ipo_mean", 0.1), ("apo_down", 0.5)])
def test_dpo_from_text_to_gradients(name, beta, policy, dpo_trainer):
    trainer = dpo_trainer(loss_type=[name.removesuffix("_mean")], beta=beta)
    move(policy, 1, 0.3)
    expected = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    expected.backward()
    gradients = take_gradients(policy)
    objective = DPO(context(policy), hp.DPOSettings(beta=beta, loss=name))
    assert_same(objective.loss(objective.collect()), expected, policy, gradients)


def test_dpo_token_ids_and_log_probabilities(policy, dpo_trainer):
    trainer = dpo_trainer()
    move(policy, 1, 0.7)
    inputs = trainer.data_collator(list(trainer.train_dataset))
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    with torch.no_grad():
        current = trainer.model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels,
                                fused_lm_head=True).log_probs.sum(1).chunk(2)
    reference = trainer.compute_ref_log_probs(trainer.model, inputs)
    assert (current[0] - reference[0]).abs().min() > 0.01
    for side, column in ((1, "chosen_ids"), (2, "rejected_ids")):
        for pair, row in zip(PAIRS, trainer.train_dataset, strict=True):
            assert policy.encoder.prompt(pair[0]) == row["prompt_ids"]
            assert policy.encoder.completion(pair[side]) == row[column]
        sequences = policy.encoder.rows([(pair[0], pair[side]) for pair in PAIRS], policy.device)
        assert_close(policy.logprobs_chunked(sequences).sum(1), current[side - 1], **TOLERANCE)
        with policy.reference():
            assert_close(policy.logprobs_chunked(sequences).sum(1), reference[side - 1], **TOLERANCE)


def sampling_options(encoder):
    """EOS is made likely, so that the lengths differ."""
    return {"temperature": TEMPERATURE, "generation_kwargs": {"sequence_bias": [[[encoder.eos], 3.0]]}}


def sampler_of(policy, monkeypatch, prompt_ids, prompt_mask, completion_ids, completion_mask, rewards):
    """Our sampler, whose policy "samples" the given tokens and whose reward model gives the given rewards."""
    ends = [row.index(policy.encoder.eos) if policy.encoder.eos in row else 99 for row in completion_ids.tolist()]
    columns = torch.arange(completion_ids.shape[1])
    assert torch.equal(completion_mask, (columns <= torch.tensor(ends).unsqueeze(1)).long())  # as ours: EOS included
    assert prompt_mask.all() and len(set(ends)) > 1
    sequences = Sequences(torch.cat([prompt_ids, completion_ids], 1), torch.cat([prompt_mask, completion_mask], 1),
                          prompt_ids.shape[1])

    def generate(prompts, temperature, *seed, copies=1):
        assert [prompt for prompt in prompts for _ in range(copies)] == prompt_ids.tolist()
        return sequences, policy.logprobs_chunked(sequences, temperature)

    monkeypatch.setattr(policy, "generate", generate)
    stream = SimpleNamespace(take=lambda count: (None, prompt_ids[:: len(prompt_ids) // count].tolist()))
    return Sampler(policy, SimpleNamespace(score_chunked=lambda sequences: rewards), stream, TEMPERATURE)


@pytest.mark.parametrize(("k", "kl_coef", "clip"), [(2, 0.2, 0.02), (4, 0.5, 0.05)])
def test_rloo_advantages_and_loss(k, kl_coef, clip, policy, arguments, monkeypatch):
    """Same in TRL: k1 KL inside the reward, leave-one-out, the ratio of whole sequences at the sampling temperature,
    EOS counted, the mean over completions. Different: TRL takes the old log-probabilities from another forward pass
    where we keep those of the generation; it can normalise advantages and clip rewards (not by default)."""
    rewards = torch.randn(4 * k, generator=torch.Generator().manual_seed(k))
    trainer = trl.RLOOTrainer(
        policy.model, reward_funcs=lambda completions, **_: rewards.tolist(), train_dataset=Dataset.from_list(PROMPTS),
        args=arguments(trl.RLOOConfig, num_generations=k, beta=kl_coef, epsilon=clip, max_completion_length=3,
                       per_device_train_batch_size=4 * k, **sampling_options(policy.encoder)),
        processing_class=policy.encoder.tokenizer)
    trainer.model.train()
    move(policy, 1, 0.3)
    theirs = trainer._generate_and_score_completions([row for row in PROMPTS for _ in range(k)])
    sampler = sampler_of(policy, monkeypatch, theirs["prompt_ids"], theirs["prompt_mask"], theirs["completion_ids"],
                         theirs["completion_mask"], rewards)
    objective = RLOO(context(policy, sampler, 4 * k), hp.RLOOSettings(k=k, kl_coef=kl_coef, clip=clip))
    batch = objective.collect()
    assert_close(batch.values["old"], theirs["old_logps"], **TOLERANCE)
    assert_close(batch.values["advantages"], theirs["advantages"], **TOLERANCE)
    assert (batch.values["advantages"] - leave_one_out(rewards, k)).abs().max() > 0.01  # the KL is in it

    move(policy, 2, 0.1)
    expected = trainer.compute_loss(trainer.model, theirs)
    assert 0 < trainer._metrics["train"]["clip_ratio/region_mean"][-1] < 1
    expected.backward()
    gradients = take_gradients(policy)
    assert_same(objective.loss(batch), expected, policy, gradients)


@pytest.mark.parametrize(("name", "beta"), [("sigmoid", 0.1), ("sigmoid", 0.5), ("ipo", 0.05), ("ipo", 0.1)])
def test_online_dpo_selection_and_loss(name, beta, policy, arguments, monkeypatch):
    """Same in TRL: log-probabilities without temperature, ties go to the first, ``ipo`` on sums. Different: it repeats
    the batch of prompts where we keep the two completions of a prompt side by side."""
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    first, second = torch.tensor([1.0, -1.0, 0.5, 2.0]), torch.tensor([0.5, 1.0, 0.5, 3.0])  # the third is a tie
    trainer = OnlineDPOTrainer(
        policy.model, reward_funcs=lambda completions, **_: [*first.tolist(), *second.tolist()],
        args=arguments(OnlineDPOConfig, beta=beta, loss_type=name, max_new_tokens=2,
                       **sampling_options(policy.encoder)),
        train_dataset=Dataset.from_list(PROMPTS), processing_class=policy.encoder.tokenizer)
    sampled, generate = [], trainer._generate
    monkeypatch.setattr(trainer, "_generate", lambda *given: sampled.append(generate(*given)) or sampled[-1])
    move(policy, 1, 0.3)
    expected = trainer.training_step(trainer.model, {"prompt": [row["prompt"] for row in PROMPTS]})
    gradients = take_gradients(policy)

    side_by_side = torch.arange(8).view(2, 4).t().flatten()
    prompt_ids, prompt_mask, ids, mask = (part[side_by_side] for part in sampled[0][:4])
    assert (ids[::2] != ids[1::2]).any(1).all()
    sampler = sampler_of(policy, monkeypatch, prompt_ids, prompt_mask, ids, mask,
                         torch.stack([first, second], 1).flatten())
    objective = OnlineDPO(context(policy, sampler), hp.OnlineDPOSettings(beta=beta, loss=name))
    batch = objective.collect()
    for part, rows in zip(batch.parts, ([0, 3, 4, 7], [1, 2, 5, 6]), strict=True):
        assert torch.equal(part.completion_ids, ids[rows]) and torch.equal(part.completion_mask, mask[rows])
    assert_same(objective.loss(batch), expected, policy, gradients)


def test_bradley_terry(encoder, arguments):
    """Different: TRL has no soft preferences (our ties and judged pairs); we have no margins and no centring."""
    from transformers import LlamaForSequenceClassification

    torch.manual_seed(2)
    network = LlamaForSequenceClassification(tiny_config(SHAPE, len(encoder.tokenizer), pad_token_id=encoder.pad,
                                                         num_labels=1, initializer_range=0.2))
    trainer = trl.RewardTrainer(network, args=arguments(trl.RewardConfig), train_dataset=preferences(),
                                processing_class=encoder.tokenizer)
    model = RewardModel(network, encoder, Meter(), 8)
    expected = trainer.compute_loss(network, trainer.data_collator(list(trainer.train_dataset)))
    expected.backward()
    gradients = take_gradients(model)
    difference = margins(model, PAIRS)
    assert difference.min() < -0.1 and difference.max() > 0.1
    assert_same(bradley_terry(difference).mean(), expected, model, gradients)
    settings = RewardTraining(steps=1, batch=len(PAIRS), lr=0.0)
    assert train_reward(model, PAIRS, [], settings, 4, 0) == pytest.approx(expected.item(), rel=1e-6)
