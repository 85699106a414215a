"""Hyperparameters of every objective and estimator: published default, help line and source.

Sources: V = the released ZOPrO code (alessioGalatolo/VisZOPrO @ f7c3401), F = the TRL fork it pins
(alessioGalatolo/trl @ ca1dd277), TF = transformers 4.47.1, M = princeton-nlp/MeZO @ 552cb1b, R = the reference DPO
implementation (eric-mitchell/direct-preference-optimization @ f8b8c0f), Z = ZO-Bench/ZO-LLM, FZ = DKmiyan/FZOO @
d4f8a8b, LO = optsuite/LOZO @ 5d1ade5, HZ = Yanjun-Zhao/HiZOO @ 4f99055, ZM = OPTML-Group/ZO-Muon @ 166a8f3, CM =
LejsDeen/ConMeZO @ fbd895e, SZ = zimingyy/SubZero @ cf6effd, SZ+ = the text of SubZero+ (arXiv 2608.15665), E = ES at
Scale (VsonicV/es-fine-tuning-paper @ 523afc8), OE = openai/evolution-strategies-starter @ 7585f01, EG =
ESHyperscale/HyperscaleES @ b77f7d6, CO = PeterLauLukChen/ComparisonPO @ 46f8e65. A profile may override a default; what
a run used is in its ``config.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark.core.fields import option

LOSSES = ("sigmoid", "cdpo", "robust", "hinge", "ipo", "ipo_mean", "exo_pair", "nca_pair", "sppo_hard", "apo_zero",
          "apo_down", "discopop")
SCHEDULES = ("constant", "linear", "linear_iteration")


def published(default: Any, help: str, source: str, choices: tuple = (), minimum: float | None = None) -> Any:
    """A hyperparameter with its published value."""
    return option(default, help, choices, minimum, source)


@dataclass(frozen=True)
class RolloutSettings:
    """Of every objective that samples: how its completions end, beside EOS and the length limit. Not for evaluation."""

    missing_eos_penalty: float = published(0.0, "taken off the reward of a completion that is cut at the length limit",
                                           "F rloo_config.py, ppo_config.py: none", minimum=0)
    stop: str = published("", "text after whose first occurrence a completion ends; empty = none",
                          "F: stop_token unset, as a text here")


@dataclass(frozen=True)
class RLOOSettings(RolloutSettings):
    k: int = published(2, "completions per prompt", "F rloo_config.py:55-59 (rloo_k)", minimum=2)
    kl_coef: float = published(0.05, "weight of the KL to the reference policy inside the reward",
                               "F rloo_config.py:55-59", minimum=0)
    clip: float = published(0.2, "clip range of the sequence-level ratio", "F rloo_config.py:55-59", minimum=0)
    epochs: int = published(1, "updates on each rollout", "V trainers.py:689 (num_ppo_epochs)", minimum=1)


@dataclass(frozen=True)
class PPOSettings(RolloutSettings):
    k: int = published(1, "completions per prompt", "F ppo_trainer.py:403-609", minimum=1)
    kl_coef: float = published(0.05, "weight of the per-token KL penalty", "F ppo_config.py:62-69", minimum=0)
    clip: float = published(0.2, "clip range of the token-level ratio", "F ppo_config.py:62-69", minimum=0)
    value_clip: float = published(0.2, "clip range of the value around its old value", "F ppo_config.py:62-69",
                                  minimum=0)
    value_coef: float = published(0.1, "weight of the value loss", "F ppo_config.py:62-69", minimum=0)
    gamma: float = published(1.0, "discount", "F ppo_config.py:62-69", minimum=0)
    lam: float = published(0.95, "GAE lambda", "F ppo_config.py:62-69", minimum=0)
    epochs: int = published(1, "updates on each rollout", "V sets num_ppo_epochs = 1", minimum=1)


@dataclass(frozen=True)
class OnlineDPOSettings(RolloutSettings):
    beta: float = published(0.1, "strength of the pull to the reference policy", "F online_dpo_config.py", minimum=0)
    loss: str = published("sigmoid", "preference loss", "F online_dpo_trainer.py:407-616", LOSSES)
    label_smoothing: float = published(0.0, "assumed share of wrong labels (cdpo, robust, exo_pair)",
                                       "F dpo_config.py", minimum=0)
    epochs: int = published(1, "updates on each rollout", "F online_dpo_trainer.py:407-616", minimum=1)


@dataclass(frozen=True)
class DPOSettings:
    beta: float = published(0.1, "strength of the pull to the reference policy", "R README", minimum=0)
    loss: str = published("sigmoid", "preference loss", "R trainers.py", LOSSES)
    label_smoothing: float = published(0.0, "assumed share of wrong labels (cdpo, robust, exo_pair)",
                                       "R trainers.py", minimum=0)


@dataclass(frozen=True)
class RewardSettings(RolloutSettings):
    k: int = published(2, "completions per prompt", "as rloo_k, F rloo_config.py:55-59", minimum=1)
    kl_coef: float = published(0.05, "weight of the KL to the reference policy inside the reward",
                               "F rloo_config.py:55-59", minimum=0)


@dataclass(frozen=True)
class BackpropagationSettings:
    max_grad_norm: float = published(1.0, "gradient norm clip, 0 = none", "TF training_args.py:900; none in F's own "
                                     "training loops, which are RLOO's and PPO's", minimum=0)


@dataclass(frozen=True)
class WarmStartSettings:
    warm_start_lr: float = published(5e-5, "AdamW learning rate of the first iteration (backpropagation)",
                                     "V trainers.py:204-220", minimum=0)
    warm_start_max_grad_norm: float = published(0.0, "gradient norm clip of the first iteration, 0 = none",
                                                "F rloo_trainer.py:332-531 has none", minimum=0)
    warm_start_schedule: str = published("method", "its learning rate over the run, or over each iteration; method = "
                                         "as the method's own", "V: one setting for all its trainers",
                                         ("method", *SCHEDULES))


@dataclass(frozen=True)
class AdamWSettings:
    lr: float = published(5e-5, "learning rate", "V trainers.py:204-220, common to all its trainers", minimum=0)
    schedule: str = published("linear_iteration", "learning rate over the run, or over each iteration",
                              "TF training_args.py: linear to 0 in every trainer, one trainer an iteration", SCHEDULES)
    weight_decay: float = published(0.0, "decoupled weight decay", "TF training_args.py:896", minimum=0)


@dataclass(frozen=True)
class SGDSettings:
    lr: float = published(1e-4, "learning rate", "M README, LoRA search range 1e-4/5e-5", minimum=0)
    schedule: str = published("constant", "learning rate over the run, or over each iteration", "M mezo.sh", SCHEDULES)
    weight_decay: float = published(0.0, "decoupled weight decay", "M mezo.sh", minimum=0)


@dataclass(frozen=True)
class MomentumSettings(SGDSettings):
    weight_decay: float = published(0.0, "weight decay, added to the estimate and so to what momentum keeps",
                                    "M mezo.sh", minimum=0)
    momentum: float = published(0.9, "share of the previous step that is kept", "Z zo-bench/trainer.py:321", minimum=0)


@dataclass(frozen=True)
class MuonSettings(SGDSettings):
    momentum: float = published(0.95, "share of the previous step that is kept", "torch.optim.Muon", minimum=0)


@dataclass(frozen=True)
class TwoPointSettings:
    epsilon: float = published(1e-2, "size of the perturbation", "M README, LoRA", minimum=1e-12)
    samples: int = published(1, "directions an update, two readings each", "M mezo.sh: one", minimum=1)


@dataclass(frozen=True)
class InformedSettings:
    decay: str = published("linear", "how the weight a of the previous update falls over an iteration",
                           "V trainers.py:722-726", ("linear", "exp", "constant"))
    initial_weight: float = published(0.999, "a at the start of an iteration", "V zopro.py:35-69", minimum=0)
    exp_time: float = published(1.0, "updates after which an exp decay has fallen to 1/e", "V zopro.py:35-69",
                                minimum=1e-6)
    project: bool = published(True, "take the reward model's last update out of the noise, per tensor",
                              "V zopro.py:206-233")
    match_norm: bool = published(True, "scale the noise to the previous update's norm, per tensor",
                                 "V zopro.py:206-233")


@dataclass(frozen=True)
class SubspaceSettings:
    subspace_rank: int = published(64, "r, at most the smaller side of a matrix", "ZM llm/README", minimum=1)
    window: int = published(100, "updates that share a subspace", "ZM llm/README", minimum=1)


@dataclass(frozen=True)
class LowRankSettings:
    subspace_rank: int = published(2, "r, at most the smaller side of a matrix", "LO run_lozo.py:65-66", minimum=1)
    window: int = published(50, "updates that share V", "LO run_lozo.py:65-66", minimum=1)
    unevaluated: bool = published(False, "in the first update of a window follow another U than the one evaluated",
                                  "the paper follows the evaluated one; LO LOZOtrainer.py:699-828 does not")


@dataclass(frozen=True)
class BothHaarSettings:
    subspace_rank: int = published(8, "r, at most the smaller side of a matrix", "SZ trainer.py (gauss_rank)",
                                   minimum=1)
    window: int = published(1000, "updates that share a subspace", "SZ README", minimum=1)
    match_norm: bool = published(True, "scale z to the length of Gaussian noise, √(mn)/r", "SZ trainer.py:875-1007")
    moments: str = published("keep", "what a rule remembers when the subspace changes", "SZ+ changes nothing",
                             ("keep", "reset"))


@dataclass(frozen=True)
class ConeSettings:
    angle: float = published(1.35, "half the angle of the cone around the momentum, radians", "CM opt/examples/cone.sh",
                             minimum=0)
    momentum: float = published(0.99, "β: share of the momentum that is kept", "CM opt/examples/cone.sh", minimum=0)
    warm_up: float = published(0.1, "share of the run in which β rises from 0.1 to its value", "CM opt/src/trainer.py: "
                               "2,000 of 20,000 updates", minimum=0)


@dataclass(frozen=True)
class CurvatureSettings:
    epsilon: float = published(1e-3, "size of the perturbation", "HZ HiZOO.sh", minimum=1e-12)
    smoothing: float = published(1e-8, "a: share of the new estimate in h", "HZ README (constant1e-8)", minimum=0)


@dataclass(frozen=True)
class OneSidedSettings:
    epsilon: float = published(1e-3, "size of the perturbation", "ZM llm/README", minimum=1e-12)
    samples: int = published(4, "directions an update, one reading each beside that of θ", "ZM llm/README", minimum=1)


@dataclass(frozen=True)
class AdamSettings(SGDSettings):
    beta1: float = published(0.9, "decay of the mean of the estimates", "SZ+ appendix A", minimum=0)
    beta2: float = published(0.95, "decay of the mean of their squares", "SZ+ appendix A", minimum=0)


@dataclass(frozen=True)
class BlocksSettings:
    block: str = published("tensor", "what is perturbed and moved in one update", "Z zo-bench/trainer.py has modules",
                           ("tensor", "layer"))


@dataclass(frozen=True)
class SmallWeightsSettings:
    sparsity: float = published(0.75, "share of the entries of every tensor that stay", "chosen here; arXiv "
                                "2402.15751 sets it for each task", minimum=0)


@dataclass(frozen=True)
class NormalisedSettings:
    epsilon: float = published(1e-3, "size of the perturbation", "FZ fzoo.sh", minimum=1e-12)
    samples: int = published(8, "directions an update, one reading each", "FZ fzoo.sh", minimum=2)


@dataclass(frozen=True)
class ScalarAdaptiveSettings(TwoPointSettings):
    memory: float = published(0.999, "share of the mean squared slope that is kept", "Adam's β₂, torch.optim.Adam; "
                              "that of arXiv 2605.03869 is not known", minimum=0)
    zeta: float = published(1e-8, "added to its root", "Adam's ε, torch.optim.Adam", minimum=1e-30)


@dataclass(frozen=True)
class RAdaZOSettings(SGDSettings):
    beta1: float = published(0.9, "share of the first moment that is kept", "Adam's β₁, torch.optim.Adam", minimum=0)
    beta2: float = published(0.999, "share of the second moment that is kept", "Adam's β₂, torch.optim.Adam", minimum=0)
    zeta: float = published(1e-8, "added to the second moment, under the root", "Adam's ε, torch.optim.Adam",
                            minimum=1e-30)


@dataclass(frozen=True)
class ForwardGradientSettings:
    samples: int = published(1, "directions an update", "Z trainer.py:1357-1424: one", minimum=1)


@dataclass(frozen=True)
class BestSettings:
    epsilon: float = published(1e-2, "size of the perturbation", "as MeZO, M README, LoRA", minimum=1e-12)
    samples: int = published(8, "perturbed points an update, of which the best may be kept", "as many as FZOO's, "
                             "FZ fzoo.sh", minimum=1)


@dataclass(frozen=True)
class PopulationSettings:
    sigma: float = published(1e-3, "size of the perturbation", "E es_fine-tuning_countdown.py", minimum=1e-12)
    population: int = published(30, "members, one reading each", "E es_fine-tuning_countdown.py", minimum=2)
    antithetic: bool = published(True, "members in pairs θ ± σz", "OE es.py: noise and its mirror image")
    fitness: str = published("zscore", "how fitness is shaped", "E es_fine-tuning_countdown.py; ranks: OE es.py",
                             ("zscore", "ranks"))


@dataclass(frozen=True)
class LowRankPopulationSettings:
    sigma: float = published(1e-3, "size of the perturbation", "EG general_do_evolution.py:54-89", minimum=1e-12)
    population: int = published(32, "members, one reading each", "EG: 1,024 generations an update, 8 on each prompt; "
                                "here every member reads every prompt", minimum=2)
    antithetic: bool = published(True, "members in pairs θ ± σz", "EG noiser/eggroll.py:11-50")


@dataclass(frozen=True)
class RandomFactorsSettings:
    factors: int = published(1, "rank of a member's perturbation of a matrix", "EG general_do_evolution.py:54-89",
                             minimum=1)


@dataclass(frozen=True)
class EachExampleSettings:
    epsilon: float = published(1e-2, "size of the perturbation", "as MeZO, M README, LoRA", minimum=1e-12)
    centred: bool = published(False, "take the mean of the examples' differences off them first", "arXiv 2606.02857 "
                              "divides by their deviation alone")


@dataclass(frozen=True)
class NoisyPairsSettings(DPOSettings):
    margin: float = published(3.0, "log-probabilities under π₀ that differ by more make a pair clean",
                              "CO compute_gradients.py (noise_threshold)", minimum=0)


@dataclass(frozen=True)
class ComparisonSettings:
    lr: float = published(0.035, "step along the unit direction, if all perturbations helped",
                          "CO compute_gradients.py (step_size)", minimum=0)
    schedule: str = published("constant", "learning rate over the run, or over each iteration",
                              "CO compute_gradients.py", SCHEDULES)
    epsilon: float = published(5e-4, "size of the perturbation", "CO compute_gradients.py (perturbation_scale)",
                               minimum=1e-12)
    samples: int = published(1800, "perturbations an update", "CO compute_gradients.py (num_perturbation)", minimum=1)
    least: float = published(0.2, "share of them that must help for an update", "CO compute_gradients.py: 330 of 1,600",
                             minimum=0)
    threshold: float = published(2.5, "entries below this many of their root mean square are left out, 0 = none",
                                 "CO compute_gradients.py: 2.2e-4 at the 1.3e8 entries of Mistral's head", minimum=0)
    trial: float = published(5.0, "length of the trial step that must help, 0 = none", "CO compute_gradients.py",
                             minimum=0)
    centred: bool = published(False, "take the mean of all cᵢ off them", "CO compute_gradients.py: as they are")


@dataclass(frozen=True)
class SingularValuesSettings:
    sigma: float = published(1e-2, "first deviation of the singular values", "as MeZO's epsilon; that of arXiv "
                             "2507.04453 was not to be had", minimum=1e-12)
    population: int = published(24, "members, one reading each", "4 + 3 ln n of cmaes for n = 1,000 singular values; "
                                "that of arXiv 2507.04453 was not to be had", minimum=2)
