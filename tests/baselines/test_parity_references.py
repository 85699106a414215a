"""What TRL has no counterpart of, against slow implementations that can be read: plain Python, one number at a time."""

from __future__ import annotations

import json
import math
import statistics
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import pad
from torch.testing import assert_close

from baselines import hyperparameters as hp
from baselines.contract import Context
from baselines.objectives.ppo import PPO, generalised_advantages
from baselines.objectives.preference_losses import preference_loss
from benchmark.core.meter import Meter
from benchmark.lm.rollout import Batch, PromptStream, Rollout, Sampler
from benchmark.lm.sequences import Sequences
from benchmark.run.loop import execute
from benchmark.run.store import RunStore

TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
LENGTHS = [7, 1, 4, 6, 2]  # of the completions
ROWS, WIDTH, PROMPT = len(LENGTHS), max(LENGTHS), 3
MASK = (torch.arange(WIDTH) < torch.tensor(LENGTHS).unsqueeze(1)).float()


def ragged(stream, scale=1.0):
    """Random rows, 0 beyond their ends."""
    return scale * torch.randn(ROWS, WIDTH, generator=stream) * MASK


def rows_of(tensor):
    """The rows as lists of floats, up to their ends."""
    return [row[:length] for row, length in zip(tensor.tolist(), LENGTHS, strict=True)]


def table(rows):
    """The inverse of ``rows_of``."""
    return torch.tensor([[*row, *[0.0] * (WIDTH - len(row))] for row in rows])


def slow_advantages(rewards, values, gamma, lam):
    """A_t = Σ_l (γλ)^l δ_{t+l} over the rest of the row, with δ_s = r_s + γ V_{s+1} − V_s."""
    advantages = []
    for r, v in zip(rewards, values, strict=True):
        delta = [r[s] + gamma * (v[s + 1] if s + 1 < len(v) else 0.0) - v[s] for s in range(len(r))]
        advantages.append([sum((gamma * lam) ** (s - t) * delta[s] for s in range(t, len(r))) for t in range(len(r))])
    return advantages


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (0.7, 0.0), (0.0, 0.9)])
def test_gae_is_the_double_sum(gamma, lam):
    for seed in range(5):
        stream = torch.Generator().manual_seed(seed)
        rewards, values = ragged(stream), ragged(stream)
        assert_close(generalised_advantages(rewards, values, MASK, gamma, lam),
                     table(slow_advantages(rows_of(rewards), rows_of(values), gamma, lam)), **TOLERANCE)


def make_ppo(settings, values, logprobs=None, rollout=None):
    """PPO whose critic and policy look their values (ROWS, WIDTH) up by the first token, which is the row's number."""
    def at_every_position(sequences):
        return pad(values[sequences.ids[:, 0]], (0, 1), value=99.0)  # 99: not to be looked at

    critic = SimpleNamespace(parameters={}, values=at_every_position, values_chunked=at_every_position)
    policy = SimpleNamespace(logprobs=lambda sequences, temperature: logprobs[sequences.ids[:, 0]])
    sampler = SimpleNamespace(rollout=lambda sequences, k: rollout)
    return PPO(Context(policy=policy, sampler=sampler, new_critic=lambda: critic, pairs=(), sequences=ROWS,
                       temperature=0.7, seed=0), settings)


def numbered_sequences():
    attention = torch.cat([torch.ones(ROWS, PROMPT), MASK], 1).long()
    return Sequences(torch.arange(ROWS).unsqueeze(1).expand_as(attention).contiguous(), attention, PROMPT)


def test_what_ppo_collects():
    """Reward per token = −c · (log π − log π₀), plus the score at the last one; then GAE, returns and whitening."""
    for seed in range(3):
        stream = torch.Generator().manual_seed(seed)
        logprobs, reference, values = (ragged(stream) for _ in range(3))
        scores = torch.randn(ROWS, generator=stream)
        rollout = Rollout(numbered_sequences(), logprobs, reference, scores, 1)
        batch = make_ppo(hp.PPOSettings(gamma=0.9, lam=0.8, kl_coef=0.3), values, rollout=rollout).collect()
        rewards = [[-0.3 * (p - q) for p, q in zip(ps, qs, strict=True)]
                   for ps, qs in zip(rows_of(logprobs), rows_of(reference), strict=True)]
        for row, score in zip(rewards, scores.tolist(), strict=True):
            row[-1] += score
        advantages = slow_advantages(rewards, rows_of(values), 0.9, 0.8)
        flat = [a for row in advantages for a in row]
        mean, spread = statistics.mean(flat), math.sqrt(statistics.variance(flat) + 1e-8)
        assert_close(batch.values["advantages"], table([[(a - mean) / spread for a in row] for row in advantages]),
                     **TOLERANCE)
        assert_close(batch.values["returns"], table(advantages) + values, **TOLERANCE)
        assert torch.equal(batch.values["values"], values) and torch.equal(batch.values["old"], logprobs)


def slow_ppo_loss(logprobs, values, stored, settings):
    """Mean over all tokens of max(−Aρ, −A clip(ρ)) + c · ½ max((V − R)², (clip(V) − R)²)."""
    total = 0.0
    columns = [rows_of(stored[name]) for name in ("old", "advantages", "values", "returns")]
    for *row, lengths in zip(logprobs, values, *columns, LENGTHS, strict=True):
        for t in range(lengths):
            new, value, old, advantage, old_value, target = (column[t] for column in row)
            ratio = math.exp(new - old)
            near_ratio = min(max(ratio, 1 - settings.clip), 1 + settings.clip)
            near_value = old_value + min(max(value - old_value, -settings.value_clip), settings.value_clip)
            total += max(-advantage * ratio, -advantage * near_ratio)
            total += settings.value_coef * 0.5 * max((value - target) ** 2, (near_value - target) ** 2)
    return total / sum(LENGTHS)


@pytest.mark.parametrize("settings", [hp.PPOSettings(), hp.PPOSettings(clip=0.05, value_clip=0.5, value_coef=1.0)])
def test_ppo_losses_and_their_gradients(settings):
    """The gradients by central differences of the slow loss; micro-batches add up to the whole."""
    for seed in range(3):
        stream = torch.Generator().manual_seed(seed)
        stored = {name: ragged(stream) for name in ("old", "advantages", "values", "returns")}
        logprobs, values = stored["old"] + ragged(stream, 0.3), stored["values"] + ragged(stream, 0.4)
        slow = [rows_of(logprobs), rows_of(values)]
        expected = slow_ppo_loss(*slow, stored, settings)
        logprobs.requires_grad_()
        values.requires_grad_()
        objective = make_ppo(settings, values, logprobs)
        batch = Batch.of((numbered_sequences(),), stored)
        assert sum(objective.loss(part).item() for part in batch.split(2)) == pytest.approx(expected, abs=1e-6)
        loss = objective.loss(batch)
        assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
        loss.backward()
        for rows, gradient in zip(slow, (logprobs.grad, values.grad), strict=True):
            numerical = [[0.0] * len(row) for row in rows]
            for i, row in enumerate(rows):
                for t, kept in enumerate(row):
                    for sign in (1, -1):
                        row[t] = kept + sign * 1e-5
                        numerical[i][t] += sign * slow_ppo_loss(*slow, stored, settings) / 2e-5
                    row[t] = kept
            assert_close(gradient, table(numerical), **TOLERANCE)


@pytest.mark.parametrize("kl_coef", [0.0, 0.5])
def test_the_score_sits_on_the_last_token_of_a_sampled_completion(kl_coef, prepared, monkeypatch):
    """On EOS if there is one. With γ = λ = 0 the returns are the rewards of the tokens."""
    meter, eos = Meter(), prepared.encoder.eos
    policy = prepared.policy(meter, 0)
    reward = prepared.reward(meter, 0, policy=policy)
    for index, parameter in enumerate(policy.parameters.values()):
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    often = torch.zeros(len(prepared.encoder.tokenizer)).index_fill(0, torch.tensor(eos), 4.0)
    policy.model.get_output_embeddings().register_forward_hook(lambda module, given, logits: logits + often)
    prompts = PromptStream([row.text for row in prepared.data.prompts["train"]], prepared.encoder, "prompts", 0)
    sampler = Sampler(policy, reward, prompts, 1.0, "rollout", 0)
    rollout = sampler.rollout(32, 1)
    monkeypatch.setattr(sampler, "rollout", lambda sequences, k: rollout)
    context = Context(policy=policy, sampler=sampler, pairs=(), sequences=32, temperature=1.0, seed=0,
                      new_critic=lambda: prepared.reward(meter, 0, "critic", policy=policy))
    returns = PPO(context, hp.PPOSettings(gamma=0.0, lam=0.0, kl_coef=kl_coef)).collect().values["returns"]

    ids = rollout.sequences.completion_ids.tolist()
    last = [row.index(eos) if eos in row else len(row) - 1 for row in ids]
    assert sum(end < returns.shape[1] - 1 for end in last) > 5 and any(eos not in row for row in ids)
    expected = torch.zeros_like(returns)
    for row, end in enumerate(last):
        expected[row, : end + 1] = -kl_coef * (rollout.logprobs - rollout.reference)[row, : end + 1]
        expected[row, end] += rollout.rewards[row]
    assert_close(returns, expected, **TOLERANCE)


@pytest.mark.parametrize("name", hp.LOSSES)
def test_every_preference_loss_can_be_selected(name, prepared, make_run, tmp_path):
    """As by ``--method dpo --set loss=NAME``. The first update's loss is that of a policy at its reference."""
    run = make_run("dpo", f"loss={name}", "beta=0.3", "label_smoothing=0.2", "budget.limit=1", "evaluation.points=1",
                   "loop.iterations=1", "loop.refine_pairs=0")
    store = RunStore(tmp_path / name)
    assert execute(run, prepared, store, lambda state: None)["status"] == "done"
    (update,) = [json.loads(line) for line in (store.folder / "updates.jsonl").read_text().splitlines()]
    zero, one = torch.zeros(1), torch.ones(1)
    assert update["loss"] == pytest.approx(preference_loss(name, zero, zero, 0.3, 0.2, (one, one)).item(), rel=1e-5)
