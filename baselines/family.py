"""The zeroth-order family: one thing changed in MeZO at a time. Rows of the registry's group ``zo``."""

from __future__ import annotations

from dataclasses import replace

from baselines.method import Method, OnePiece, ZerothOrder

MEZO = ZerothOrder("gaussian")
ES = ZerothOrder("gaussian", "population")
ES_LR = {"lr": (5e-4, "E es_fine-tuning_countdown.py")}
GRZO = Method("grzo", "rloo", ZerothOrder("sign_factors", "each_example"),
              "GRZO: every completion along a direction of its own", group="zo",
              published={"lr": (1e-5, "without scale, as FZOO (DKmiyan/FZOO fzoo.sh); GRZO's own was not to be had")})
COMPO = Method("compo", "noisy_pairs", OnePiece("comparison"), "ComPO: DPO on clean pairs, then comparisons on noisy",
               group="zo", warm_start=1)
POPULATION = (
    Method("essa", "reward", OnePiece("singular_values"), "ESSA: CMA-ES over singular values, on the reward itself",
           group="zo"),
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
    Method("mezo-momentum", "rloo", ZerothOrder("gaussian", rule="momentum"), "MeZO with heavy-ball momentum",
           group="zo"),
    Method("mezo-sign", "rloo", ZerothOrder("gaussian", rule="sign"), "MeZO, the sign of every entry", group="zo"),
    Method("mezo-adam", "rloo", ZerothOrder("gaussian", rule="adamw"), "MeZO's estimate followed by AdamW",
           group="zo"),
    Method("mezo-muon", "rloo", ZerothOrder("gaussian", rule="muon"), "MeZO's estimate, orthogonalised",
           group="zo"),
    Method("mezo-reward", "reward", MEZO, "Gaussian two-point SPSA on the reward of fresh completions", group="zo"),
    *POPULATION,
)
