"""The zeroth-order family: one thing changed in MeZO at a time. Rows of the registry's group ``zo``."""

from __future__ import annotations

from typing import Any

from baselines.method import Method, ZerothOrder

MEZO = ZerothOrder("gaussian")


def _both(name: str, estimator: ZerothOrder, summary: str, base: str = "", **more: Any) -> tuple[Method, Method]:
    """A row on the RLOO surrogate and one on the DPO loss, ``base`` and ``base``-dpo being theirs."""
    return (Method(name, "rloo", estimator, summary, group="zo", base=base, **more),
            Method(f"{name}-dpo", "dpo", estimator, f"{summary}, on the DPO loss", group="zo",
                   base=base and f"{base}-dpo", **more))


FAMILY = (
    Method("mezo-momentum", "rloo", ZerothOrder("gaussian", rule="momentum"), "MeZO with heavy-ball momentum",
           group="zo"),
    Method("mezo-sign", "rloo", ZerothOrder("gaussian", rule="sign"), "MeZO, the sign of every entry", group="zo"),
    Method("mezo-adam", "rloo", ZerothOrder("gaussian", rule="adamw"), "MeZO's estimate followed by AdamW",
           group="zo"),
    Method("mezo-muon", "rloo", ZerothOrder("gaussian", rule="muon"), "MeZO's estimate, orthogonalised",
           group="zo"),
    Method("mezo-momentum-dpo", "dpo", ZerothOrder("gaussian", rule="momentum"),
           "MeZO with heavy-ball momentum, on the DPO loss", group="zo"),
    Method("mezo-sign-dpo", "dpo", ZerothOrder("gaussian", rule="sign"),
           "MeZO, the sign of every entry, on the DPO loss", group="zo"),
    Method("mezo-adam-dpo", "dpo", ZerothOrder("gaussian", rule="adamw"),
           "MeZO's estimate followed by AdamW, on the DPO loss", group="zo"),
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
)
