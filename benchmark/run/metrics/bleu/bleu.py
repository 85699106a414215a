"""BLEU (Papineni et al. 2002) by ``sacrebleu``: word 1- to 4-grams, tokenizer 13a, whole corpus."""

import datasets
import evaluate
import numpy as np
from sacrebleu.metrics import BLEU

_CITATION = "Post, M. (2018). A Call for Clarity in Reporting BLEU Scores. WMT."


class Bleu(evaluate.Metric):
    """Corpus BLEU with sacrebleu defaults (13a tokens, exponential smoothing, cased), in [0, 100]."""

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
        metric = BLEU()
        counts = np.array(metric._extract_corpus_statistics(predictions, [references]), dtype=float)  # of each text
        total = counts.sum(0) if weights is None else weights @ counts
        score = metric._compute_score_from_stats(total.tolist()).score
        return {"bleu": min(float(score), 100.0)}  # identical texts come out at 100 plus rounding
