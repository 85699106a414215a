"""The zeroth-order family: one thing changed in MeZO at a time. Rows of the registry's group ``zo``."""

from __future__ import annotations

from baselines.method import Method, ZerothOrder

MEZO = ZerothOrder("gaussian")
FAMILY = (
    Method("mezo-momentum", "rloo", ZerothOrder("gaussian", rule="momentum"), "MeZO with heavy-ball momentum",
           group="zo"),
    Method("mezo-sign", "rloo", ZerothOrder("gaussian", rule="sign"), "MeZO, the sign of every entry", group="zo"),
    Method("mezo-adam", "rloo", ZerothOrder("gaussian", rule="adamw"), "MeZO's estimate followed by AdamW",
           group="zo"),
    Method("mezo-muon", "rloo", ZerothOrder("gaussian", rule="muon"), "MeZO's estimate, orthogonalised",
           group="zo"),
    Method("mezo-reward", "reward", MEZO, "Gaussian two-point SPSA on the reward of fresh completions", group="zo"),
)
