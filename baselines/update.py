"""What an update says of itself."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Update:
    """What an estimator did.

    Attributes:
        loss: mean of the readings, or the loss that was back-propagated. lr: learning rate.
        figures: further figures for the log. sizes: ‖εz‖ of each tensor that was perturbed.
        readings: of a zeroth-order update, the losses that were read; none of a first-order one.
    """

    loss: float
    lr: float
    figures: dict[str, float]
    readings: tuple[float, ...] = ()
    sizes: dict[str, float] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """How far the readings lie apart: L₊ − L₋ of two; of more, the root mean square of their pairwise differences,
        which is the same thing without the sign."""
        if len(self.readings) == 2:
            return self.readings[0] - self.readings[1]
        return 2**0.5 * statistics.stdev(self.readings)

    def row(self) -> dict[str, float]:
        """Everything for the log."""
        signal = {"difference": self.difference} if self.readings else {}
        return {"loss": self.loss, **signal, **self.figures, "lr": self.lr}
