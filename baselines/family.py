"""The zeroth-order family: one thing changed in MeZO at a time. Rows of the registry's group ``zo``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from baselines.method import Method, OnePiece, ZerothOrder

MEZO = ZerothOrder("gaussian")
ZO_ADAM = {"lr": (1e-4, "Z sweeps of zo_adam, 1e-4 to 1e-6"),
           "schedule": ("constant", "Z zo-bench/trainer.py:316-319: asserted; one Adam for the whole run")}


def _both(name: str, estimator: ZerothOrder, summary: str, base: str = "", **more: Any) -> tuple[Method, Method]:
    """A row on the RLOO surrogate and one on the DPO loss, ``base`` and ``base``-dpo being theirs."""
    return (Method(name, "rloo", estimator, summary, group="zo", base=base, **more),
            Method(f"{name}-dpo", "dpo", estimator, f"{summary}, on the DPO loss", group="zo",
                   base=base and f"{base}-dpo", **more))


def _alone(name: str, estimator: ZerothOrder, summary: str, **more: Any) -> tuple[Method, Method]:
    """Both rows of a method whose step does not follow MeZO's scale; on the DPO loss it is set as on RLOO's."""
    rloo, dpo = _both(name, estimator, summary, **more)
    return rloo, replace(dpo, base=name)


LOZO_EPSILON = {"epsilon": (1e-3, "LO large_models/README")}
ZO_MUON = {"lr": (1e-2, "ZM llm/README"), "epsilon": (1e-3, "ZM llm/README")}
SUBZERO = {"lr": (3e-5, "SZ+ appendix A: 1.5e-5 to 5e-5 with LoRA"), "epsilon": (1e-3, "SZ trainer.py")}
SUBZERO_PLUS = {"lr": (1e-2, "SZ+ appendix A: 5e-3 to 5e-2 with LoRA"), "window": (50, "SZ+ appendix A: 50 or 100"),
                "samples": (99, "SZ+ appendix A"), "epsilon": (1e-3, "SZ+ appendix A")}
LOZO = _both("lozo", ZerothOrder("low_rank"), "LOZO: U Vᵀ, V kept for a window", "mezo", published=LOZO_EPSILON)
SUBSPACES = (
    *LOZO,
    *_both("lozo-m", ZerothOrder("low_rank", rule="averaged"), "LOZO with a moving average of the estimates of U",
           "mezo", published=LOZO_EPSILON),
    replace(LOZO[0], name="lozo-released", summary="LOZO, a window's first step along an unevaluated U", base="lozo",
            variant=LOZO[0], defaults={"unevaluated": True}),
    *_both("conmezo", ZerothOrder("cone"), "ConMeZO: directions on a cone around the momentum", "mezo",
           published={"epsilon": (1e-3, "CM opt/examples/cone.sh")}),
    *_both("hizoo", ZerothOrder("curvature", "three_point"), "HiZOO: directions scaled by an estimate of the Hessian",
           "mezo"),
    *_both("subzero", ZerothOrder("both_haar"), "SubZero: U Z Vᵀ, U and V orthonormal for a window", "mezo",
           published=SUBZERO),
    *_alone("subzero-plus", ZerothOrder("both_haar", "one_sided", "adam"), "SubZero+: many queries of one subspace, "
            "Adam in it", defaults={"match_norm": False}, published=SUBZERO_PLUS),
    *_alone("zo-muon", ZerothOrder("left_haar", "one_sided", "orthogonal"), "ZO-Muon: queries of one subspace, the "
            "estimate orthogonalised", published=ZO_MUON),
    *_alone("subspace-mezo", ZerothOrder("left_haar"), "ZO-Muon's subspace, two readings, the estimate as it is",
            published=ZO_MUON),
    *_both("block-mezo", ZerothOrder("blocks"), "MeZO, one block of tensors after the other", "mezo"),
    *(replace(row, group="zo-full") for row in _both("sparse-mezo", ZerothOrder("small_weights"), "MeZO on small "
                                                     "weights; all parameters, no adapter", "mezo",
                                                     kinds=("norms", "full"))),
)
ES = ZerothOrder("gaussian", "population")
ES_LR = {"lr": (5e-4, "E es_fine-tuning_countdown.py")}
GRZO = Method("grzo", "rloo", ZerothOrder("sign_factors", "each_example"),
              "GRZO: every completion along a direction of its own", group="zo",
              published={"lr": (1e-5, "without scale, as FZOO (DKmiyan/FZOO fzoo.sh); GRZO's own was not to be had")})
COMPO = Method("compo", "noisy_pairs", OnePiece("comparison"), "ComPO: DPO on clean pairs, then comparisons on noisy",
               group="zo", warm_start=1)
POPULATION = (
    Method("essa", "reward", OnePiece("singular_values"), "ESSA: CMA-ES over singular values, on the reward itself",
           group="zo", kinds=("lora", "full")),
    COMPO,
    replace(COMPO, name="compo-dense", summary="ComPO, all entries of its direction kept", base="compo",
            defaults={"threshold": 0.0}),
    replace(COMPO, name="compo-centred", summary="ComPO, the mean taken off its comparisons", base="compo",
            defaults={"centred": True}),
    GRZO,
    replace(GRZO, name="grzo-dpo", objective="dpo", summary="GRZO on the DPO loss: every pair along its own direction",
            base="grzo"),
    Method("es", "reward", ES, "evolution strategy on the reward itself, antithetic members", group="zo",
           published=ES_LR),
    Method("es-plain", "reward", ES, "ES at Scale: one-sided members, z-scores", group="zo", base="es",
           defaults={"antithetic": False, "fitness": "zscore"}, published=ES_LR),
    Method("eggroll", "reward", ZerothOrder("random_factors", "low_rank_population"),
           "EGGROLL: low-rank members, on the reward itself", group="zo",
           published={"lr": (1.0, "EG general_do_evolution.py:54-89 (lr_scale)")}),
)
FAMILY = (
    *_both("mezo-momentum", ZerothOrder("gaussian", rule="momentum"), "MeZO with heavy-ball momentum"),
    *_both("mezo-sign", ZerothOrder("gaussian", rule="sign"), "MeZO, the sign of every entry"),
    *_both("mezo-adam", ZerothOrder("gaussian", rule="adamw"), "MeZO's estimate followed by AdamW", published=ZO_ADAM),
    Method("mezo-muon", "rloo", ZerothOrder("gaussian", rule="muon"), "MeZO's estimate, orthogonalised",
           group="zo", kinds=("lora", "full")),
    *_both("fzoo", ZerothOrder("rademacher", "normalised"), "one-sided signs, the step over the losses' deviation",
           published={"lr": (1e-5, "FZ fzoo.sh")}),
    *(row for q in (2, 5, 10) for row in _both(f"mezo-q{q}", MEZO, f"MeZO, mean of {q} directions", "mezo",
                                               defaults={"samples": q})),
    *_both("mezo-conservative", ZerothOrder("gaussian", "conservative"),
           "MeZO, and the best of θ, θ − step and θ + step is kept", "mezo"),
    *_both("mezo-sign-scalar", ZerothOrder("gaussian", "scalar_sign"), "MeZO, the sign of the slope"),
    *_both("meazo", ZerothOrder("gaussian", "scalar_adaptive"), "MeZO over a running deviation of its slopes"),
    *_both("radazo", ZerothOrder("gaussian", rule="radazo"), "MeZO's estimate, Adam on its first moment"),
    *_both("forward-gradient", ZerothOrder("gaussian", "forward_gradient"), "exact derivative along Gaussian noise",
           "mezo"),
    *_both("random-search", ZerothOrder("gaussian", "best"), "the best of several Gaussian perturbations",
           defaults={"lr": 1.0}),
    Method("mezo-reward", "reward", MEZO, "Gaussian two-point SPSA on the reward of fresh completions", group="zo"),
    *SUBSPACES,
    *POPULATION,
)
