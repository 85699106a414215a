"""chrF (Popović 2015) by ``sacrebleu``: F-score (β = 2) over character 1- to 6-grams, whole corpus."""

import datasets
import evaluate
import numpy as np
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

    def _compute(self, predictions: list[str], references: list[str],
                 weights: np.ndarray | None = None) -> dict[str, float]:
        metric = CHRF()
        counts = np.array(metric._extract_corpus_statistics(predictions, [references]), dtype=float)  # of each text
        total = counts.sum(0) if weights is None else weights @ counts
        score = metric._compute_score_from_stats(total.tolist()).score
        return {"chrf": float(score)}
