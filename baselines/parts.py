"""The parts that methods are made of, each by its name: where its class is, and its hyperparameters.

Classes are imported when they are used. To add a part, write its class and its hyperparameters and add a line to a
table (docs/adding.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from baselines import hyperparameters as hp
from benchmark.core.fields import fields_of
from benchmark.core.naming import load


@dataclass(frozen=True)
class Nothing:
    """The hyperparameters of a part that has none."""


class Part(NamedTuple):
    """Where a class is, and the dataclass of its hyperparameters."""

    target: str
    settings: type = Nothing

    def build(self, first: Any, values: dict[str, Any]) -> Any:
        """An object of the class, from its first argument and those of ``values`` that are its hyperparameters."""
        return load(self.target)(first, settings_from(self.settings, values))


def settings_from(cls: type, values: dict[str, Any]) -> Any:
    return cls(**{name: values[name] for name in fields_of(cls)})


_OBJECTIVES, _ESTIMATORS = "baselines.objectives", "baselines.estimators"
_DIRECTIONS = f"{_ESTIMATORS}.directions"
OBJECTIVES: dict[str, Part] = {
    "rloo": Part(f"{_OBJECTIVES}.rloo:RLOO", hp.RLOO),
    "rloo_shuffled": Part(f"{_OBJECTIVES}.rloo:ShuffledRLOO", hp.RLOO),
    "ppo": Part(f"{_OBJECTIVES}.ppo:PPO", hp.PPO),
    "online_dpo": Part(f"{_OBJECTIVES}.online_dpo:OnlineDPO", hp.OnlineDPO),
    "dpo": Part(f"{_OBJECTIVES}.dpo:DPO", hp.DPO),
    "reward": Part(f"{_OBJECTIVES}.reward:Reward", hp.Reward),
    "noisy_pairs": Part(f"{_OBJECTIVES}.noisy_pairs:NoisyPairs", hp.NoisyPairs),
}
DIRECTIONS: dict[str, Part] = {
    "gaussian": Part(f"{_DIRECTIONS}.gaussian:Gaussian"),
    "rademacher": Part(f"{_DIRECTIONS}.gaussian:Rademacher"),
    "informed": Part(f"{_DIRECTIONS}.informed:Informed", hp.Informed),
    "low_rank": Part(f"{_DIRECTIONS}.subspace:LowRank", hp.LowRank),
    "left_haar": Part(f"{_DIRECTIONS}.subspace:LeftHaar", hp.Subspace),
    "both_haar": Part(f"{_DIRECTIONS}.subspace:BothHaar", hp.BothHaar),
    "cone": Part(f"{_DIRECTIONS}.cone:Cone", hp.Cone),
    "curvature": Part(f"{_DIRECTIONS}.curvature:Curvature", hp.Curvature),
    "blocks": Part(f"{_DIRECTIONS}.masked:Blocks", hp.Blocks),
    "small_weights": Part(f"{_DIRECTIONS}.masked:SmallWeights", hp.SmallWeights),
    "informed_last_update": Part(f"{_DIRECTIONS}.variants:LastUpdate", hp.Informed),
    "informed_start_norm": Part(f"{_DIRECTIONS}.variants:StartNorm", hp.Informed),
    "informed_scaled_rate": Part(f"{_DIRECTIONS}.variants:ScaledRate", hp.Informed),
    "informed_off_previous": Part(f"{_DIRECTIONS}.variants:OffPrevious", hp.Informed),
    "informed_along_reward": Part(f"{_DIRECTIONS}.variants:AlongReward", hp.Informed),
    "informed_plus_reward": Part(f"{_DIRECTIONS}.variants:PlusReward", hp.Informed),
    "random_factors": Part(f"{_DIRECTIONS}.factors:RandomFactors", hp.RandomFactors),
    "sign_factors": Part(f"{_DIRECTIONS}.factors:SignFactors"),
}
PROBES: dict[str, Part] = {
    "two_point": Part(f"{_ESTIMATORS}.probes:TwoPoint", hp.TwoPoint),
    "conservative": Part(f"{_ESTIMATORS}.probes:Conservative", hp.TwoPoint),
    "scalar_sign": Part(f"{_ESTIMATORS}.probes:ScalarSign", hp.TwoPoint),
    "normalised": Part(f"{_ESTIMATORS}.probes:Normalised", hp.Normalised),
    "scalar_adaptive": Part(f"{_ESTIMATORS}.probes:ScalarAdaptive", hp.ScalarAdaptive),
    "forward_gradient": Part(f"{_ESTIMATORS}.probes:ForwardGradient", hp.ForwardGradient),
    "best": Part(f"{_ESTIMATORS}.probes:Best", hp.Best),
    "three_point": Part(f"{_ESTIMATORS}.probes:ThreePoint", hp.Curvature),
    "one_sided": Part(f"{_ESTIMATORS}.probes:OneSided", hp.OneSided),
    "population": Part(f"{_ESTIMATORS}.probes:Population", hp.Population),
    "low_rank_population": Part(f"{_ESTIMATORS}.probes:LowRankPopulation", hp.LowRankPopulation),
    "each_example": Part(f"{_ESTIMATORS}.probes:EachExample", hp.EachExample),
}
RULES: dict[str, Part] = {
    "sgd": Part(f"{_ESTIMATORS}.rules:SGD", hp.SGD),
    "sign": Part(f"{_ESTIMATORS}.rules:Sign", hp.SGD),
    "momentum": Part(f"{_ESTIMATORS}.rules:Momentum", hp.Momentum),
    "adamw": Part(f"{_ESTIMATORS}.rules:AdamW", hp.AdamW),
    "muon": Part(f"{_ESTIMATORS}.rules:Muon", hp.Muon),
    "averaged": Part(f"{_ESTIMATORS}.rules:Averaged", hp.Momentum),
    "adam": Part(f"{_ESTIMATORS}.rules:Adam", hp.Adam),
    "orthogonal": Part(f"{_ESTIMATORS}.rules:Orthogonal", hp.SGD),
    "radazo": Part(f"{_ESTIMATORS}.rules:RAdaZO", hp.RAdaZO),
}
# Zeroth-order estimators of one piece: they take their parameters, settings and the run's seed.
ESTIMATORS: dict[str, Part] = {
    "comparison": Part(f"{_ESTIMATORS}.comparison:Comparison", hp.Comparison),
    "singular_values": Part(f"{_ESTIMATORS}.singular_values:SingularValues", hp.SingularValues),
}
