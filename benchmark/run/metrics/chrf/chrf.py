"""chrF (Popović 2015) by ``sacrebleu``: F-score (β = 2) over character 1- to 6-grams, whole corpus."""

import datasets
import evaluate
from sacrebleu.metrics import CHRF

_CITATION = "Popović, M. (2015). chrF: character n-gram F-score for automatic MT evaluation. WMT."


class Chrf(evaluate.Metric):
    """Corpus chrF2 with sacrebleu defaults, in [0, 100]."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=_CITATION,
            inputs_description="predictions, references: lists of strings, one reference each",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        return {"chrf": float(CHRF().corpus_score(predictions, [references]).score)}
