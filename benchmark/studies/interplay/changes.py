"""The change of a weight that LoRA factors stand for, and the inner product of two such changes.

A LoRA update changes the weight by ΔW = s(B₁A₁ − B₀A₀). The factors have a gauge freedom (BM and M⁻¹A are the same
weight for any invertible M), ΔW has not. With the changes δA, δB and the means Ā, B̄ of the two factors,

    ΔW = s(δB Ā + B̄ δA) = s U V,    U = [δB, B̄] (m, 2r),    V = [Ā; δA] (2r, n),

exactly and without the cancellation of B₁A₁ − B₀A₀, and inner products of two such changes are those of 2r × 2r
matrices: ⟨UV, U'V'⟩ = Σ (UᵀU') ∘ (VV'ᵀ). No m × n matrix is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Change:
    """ΔW/s of one module over one iteration: U and V as above, and the norms of δA and δB."""

    left: np.ndarray
    right: np.ndarray
    norm_a: float
    norm_b: float

    @classmethod
    def between(cls, a0: np.ndarray, b0: np.ndarray, a1: np.ndarray, b1: np.ndarray) -> Change:
        """b1 a1 − b0 a0; a (r, n), b (m, r)."""
        da, db = a1 - a0, b1 - b0
        return cls(np.hstack([db, (b0 + b1) / 2]), np.vstack([(a0 + a1) / 2, da]), float(np.linalg.norm(da)),
                   float(np.linalg.norm(db)))

    @property
    def rank(self) -> int:
        """r."""
        return len(self.right) // 2


@dataclass
class Product:
    """Two changes' UᵀU' and VV'ᵀ, 2r × 2r each: every figure of the pair comes from them."""

    left: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, one: Change, other: Change) -> Product:
        return cls(one.left.T @ other.left, one.right @ other.right.T)

    @property
    def value(self) -> float:
        """⟨ΔW, ΔW'⟩/s²."""
        return float((self.left * self.right).sum())

    @property
    def fourth(self) -> float:
        """Of a change with itself: Σσ⁴ of the singular values σ; σ² are the eigenvalues of (UᵀU)(VVᵀ)."""
        product = self.left @ self.right
        return float((product * product.T).sum())

    @property
    def means_a(self) -> np.ndarray:
        """Ā Ā'ᵀ, (r, r)."""
        r = len(self.right) // 2
        return self.right[:r, :r]

    @property
    def means_b(self) -> np.ndarray:
        """B̄ᵀ B̄', (r, r)."""
        r = len(self.left) // 2
        return self.left[r:, r:]
