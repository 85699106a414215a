"""A direction: Gaussian noise of which only the large draws are kept, so that most numbers stay as they are."""

from dataclasses import dataclass
from statistics import NormalDist

from baselines.contract import Direction
from baselines.registry import DIRECTIONS, METHODS, Method, Part, ZerothOrder
from benchmark.core.fields import option


@dataclass(frozen=True)
class TailSettings:
    threshold: float = option(1.0, "draws of a smaller size are zero", minimum=0, source="keeps 32 % of the numbers")


class Tail(Direction):
    """z = g·1[|g| > t] / √(2(t φ(t) + 1 − Φ(t))) with g ~ N(0, 1): mean 0 and variance 1."""

    def z(self, name, theta, noise):
        t, normal, g = self.settings.threshold, NormalDist(), noise()
        variance = 2 * (t * normal.pdf(t) + 1 - normal.cdf(t))
        return g * (g.abs() > t) / variance**0.5


DIRECTIONS["tail"] = Part(f"{__name__}:Tail", TailSettings)
METHODS["mezo-tail"] = Method("mezo-tail", "rloo", ZerothOrder("tail"), "MeZO along the large draws of Gaussian noise",
                              group="examples", base="mezo")
