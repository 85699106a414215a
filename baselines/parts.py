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
    "rloo": Part(f"{_OBJECTIVES}.rloo:RLOO", hp.RLOOSettings),
    "rloo_shuffled": Part(f"{_OBJECTIVES}.rloo:ShuffledRLOO", hp.RLOOSettings),
    "ppo": Part(f"{_OBJECTIVES}.ppo:PPO", hp.PPOSettings),
    "online_dpo": Part(f"{_OBJECTIVES}.online_dpo:OnlineDPO", hp.OnlineDPOSettings),
    "dpo": Part(f"{_OBJECTIVES}.dpo:DPO", hp.DPOSettings),
    "reward": Part(f"{_OBJECTIVES}.reward:Reward", hp.RewardSettings),
    "noisy_pairs": Part(f"{_OBJECTIVES}.noisy_pairs:NoisyPairs", hp.NoisyPairsSettings),
}
DIRECTIONS: dict[str, Part] = {
    "gaussian": Part(f"{_DIRECTIONS}.gaussian:Gaussian"),
    "rademacher": Part(f"{_DIRECTIONS}.gaussian:Rademacher"),
    "informed": Part(f"{_DIRECTIONS}.informed:Informed", hp.InformedSettings),
    "low_rank": Part(f"{_DIRECTIONS}.subspace:LowRank", hp.LowRankSettings),
    "left_haar": Part(f"{_DIRECTIONS}.subspace:LeftHaar", hp.SubspaceSettings),
    "both_haar": Part(f"{_DIRECTIONS}.subspace:BothHaar", hp.BothHaarSettings),
    "cone": Part(f"{_DIRECTIONS}.cone:Cone", hp.ConeSettings),
    "curvature": Part(f"{_DIRECTIONS}.curvature:Curvature", hp.CurvatureSettings),
    "blocks": Part(f"{_DIRECTIONS}.masked:Blocks", hp.BlocksSettings),
    "small_weights": Part(f"{_DIRECTIONS}.masked:SmallWeights", hp.SmallWeightsSettings),
    "informed_last_update": Part(f"{_DIRECTIONS}.variants:LastUpdate", hp.InformedSettings),
    "informed_start_norm": Part(f"{_DIRECTIONS}.variants:StartNorm", hp.InformedSettings),
    "informed_scaled_rate": Part(f"{_DIRECTIONS}.variants:ScaledRate", hp.InformedSettings),
    "informed_off_previous": Part(f"{_DIRECTIONS}.variants:OffPrevious", hp.InformedSettings),
    "informed_along_reward": Part(f"{_DIRECTIONS}.variants:AlongReward", hp.InformedSettings),
    "informed_plus_reward": Part(f"{_DIRECTIONS}.variants:PlusReward", hp.InformedSettings),
    "random_factors": Part(f"{_DIRECTIONS}.factors:RandomFactors", hp.RandomFactorsSettings),
    "sign_factors": Part(f"{_DIRECTIONS}.factors:SignFactors"),
}
PROBES: dict[str, Part] = {
    "two_point": Part(f"{_ESTIMATORS}.probes:TwoPoint", hp.TwoPointSettings),
    "conservative": Part(f"{_ESTIMATORS}.probes:Conservative", hp.TwoPointSettings),
    "scalar_sign": Part(f"{_ESTIMATORS}.probes:ScalarSign", hp.TwoPointSettings),
    "normalised": Part(f"{_ESTIMATORS}.probes:Normalised", hp.NormalisedSettings),
    "scalar_adaptive": Part(f"{_ESTIMATORS}.probes:ScalarAdaptive", hp.ScalarAdaptiveSettings),
    "forward_gradient": Part(f"{_ESTIMATORS}.probes:ForwardGradient", hp.ForwardGradientSettings),
    "best": Part(f"{_ESTIMATORS}.probes:Best", hp.BestSettings),
    "three_point": Part(f"{_ESTIMATORS}.probes:ThreePoint", hp.CurvatureSettings),
    "one_sided": Part(f"{_ESTIMATORS}.probes:OneSided", hp.OneSidedSettings),
    "population": Part(f"{_ESTIMATORS}.probes:Population", hp.PopulationSettings),
    "low_rank_population": Part(f"{_ESTIMATORS}.probes:LowRankPopulation", hp.LowRankPopulationSettings),
    "each_example": Part(f"{_ESTIMATORS}.probes:EachExample", hp.EachExampleSettings),
}
RULES: dict[str, Part] = {
    "sgd": Part(f"{_ESTIMATORS}.rules:SGD", hp.SGDSettings),
    "sign": Part(f"{_ESTIMATORS}.rules:Sign", hp.SGDSettings),
    "momentum": Part(f"{_ESTIMATORS}.rules:Momentum", hp.MomentumSettings),
    "adamw": Part(f"{_ESTIMATORS}.rules:AdamW", hp.AdamWSettings),
    "muon": Part(f"{_ESTIMATORS}.rules:Muon", hp.MuonSettings),
    "averaged": Part(f"{_ESTIMATORS}.rules:Averaged", hp.MomentumSettings),
    "adam": Part(f"{_ESTIMATORS}.rules:Adam", hp.AdamSettings),
    "orthogonal": Part(f"{_ESTIMATORS}.rules:Orthogonal", hp.SGDSettings),
    "radazo": Part(f"{_ESTIMATORS}.rules:RAdaZO", hp.RAdaZOSettings),
}
# Zeroth-order estimators of one piece: they take their parameters, settings and the run's seed.
ESTIMATORS: dict[str, Part] = {
    "comparison": Part(f"{_ESTIMATORS}.comparison:Comparison", hp.ComparisonSettings),
    "singular_values": Part(f"{_ESTIMATORS}.singular_values:SingularValues", hp.SingularValuesSettings),
}
