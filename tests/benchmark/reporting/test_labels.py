"""The second account, by hand."""

from tests.benchmark.reporting.made import finished
from tests.benchmark.reporting.test_aggregate import results_of
from tests.benchmark.reporting.test_sheets import sheets_of

START = {"reward_accuracy": 1.0, "held_out_pairs": 1, "judge": {"kind": "gold"}, "reward_tokens": 2_000_000,
         "reward_labels": 500}


def run(method, completions, pairs_read, start=START):
    metrics = {"initial": {"test": {"reward": 1.0, "kl": 0.0}}, "final": {"test": {"reward": 2.0, "kl": 1.0}}}
    spent = {"forward_tokens": 1_500_000, "completions": completions, "seconds": 1.0, "updates": 1}
    return finished("t", method, 0, metrics | {"spent": spent, "pairs_read": pairs_read, "refinement_labels": 32},
                    [{"spent": {"seconds": 0.0, "forward_tokens": 0.0}, "metrics": {"reward": 1.0}}],
                    environment={"preparation": start, "data": {"pairs": 100, "rows": {}, "prompts": {}}})


def test_who_learns_from_the_reward_model_is_charged_for_it():
    sheet = sheets_of(results_of(run("rloo", 640, 0), run("dpo", 0, 150)))["labels"]
    rloo, dpo = ({row[1]: row[2:] for row in sheet.rows}[name] for name in ("RLOO", "DPO"))
    assert rloo == ("1.50", "2.00", "3.50", "500", "32", "0", "0.00", "1")
    assert dpo == ("1.50", "0.00", "1.50", "0", "0", "100", "1.50", "1")


def test_runs_older_than_the_records_have_no_such_table():
    old = {key: value for key, value in START.items() if not key.startswith("reward_t")}
    assert "labels" not in sheets_of(results_of(run("rloo", 640, 0, old)))
