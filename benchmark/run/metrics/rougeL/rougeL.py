"""ROUGE-L (Lin 2004) by the ``rouge_score`` package: longest common subsequence of words, as F-measure."""

import datasets
import evaluate
import numpy as np
from rouge_score import rouge_scorer

_CITATION = "Lin, C.-Y. (2004). ROUGE: A Package for Automatic Evaluation of Summaries. ACL Workshop."


class RougeL(evaluate.Metric):
    """Mean ROUGE-L F-measure over pairs, in [0, 1]; Porter stemming on, as is usual for English summaries."""

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
        scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
        pairs = zip(references, predictions, strict=True)
        scores = [scorer.score(reference, prediction)["rougeL"].fmeasure for reference, prediction in pairs]
        return {"rougeL": float(np.average(scores, weights=weights))}
