"""What stands in a run directory: a frozen dataclass a file, a help line and a unit a field.

A field of type X is in every file and never null. One of type X | None may be null, or missing from files of older
versions; where None is its default, runs that have nothing to say there leave it out. An object or a list that is
missing counts as empty. Keys stand in the order of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Self

from benchmark.core.fields import entry, fields_of
from benchmark.core.meter import LEDGERS
from benchmark.core.sections import STORED, Budget

# Known keys of open sets → unit, help. Tasks and methods from elsewhere may bring more.
METRICS = {
    "reward": ("r₀ score", "mean score of the completions by the initial reward model r₀"),
    "current_reward": ("score", "the same by the reward model as refined so far"),
    "gold": ("0–1", "mean gold score, where the rows have one"),
    "win_rate": ("0–1", "the judge's preference for the completions over π₀'s, ties a half"),
    "kl": ("nats per completion", "KL divergence to π₀, KL(π ‖ π₀)"),
    "ess": ("0–1", "effective share of π₀'s completions when weighted by π/π₀; from 0.5 on the others are taken from "
                   "them, below from completions of π"),
    "reward_se": ("r₀ score", "standard error of the increase of reward over π₀, from prompts and completions"),
    "gold_se": ("0–1", "the same of gold"),
    "win_rate_se": ("0–1", "the same of win_rate"),
    "length": ("tokens", "mean length of a completion"),
    "ended": ("0–1", "share of completions that end with EOS"),
    "rougeL": ("0–1", "ROUGE-L F-measure against the references; tasks that ask for it"),
    "chrf": ("0–100", "chrF against the references; tasks that ask for it"),
    "bleu": ("0–100", "BLEU against the references; tasks that ask for it"),
}
FIGURES = {
    "reward": ("score", "mean reward of the completions learned from; objectives that sample"),
    "kl": ("nats per completion", "mean KL estimate of these completions; objectives with a KL penalty"),
    "margin": ("score", "mean difference of the rewards of a pair; online DPO"),
    "value_error": ("score²", "mean squared error of the critic's values; PPO"),
    "loss": ("loss", "loss of the batch; of a zeroth-order update the mean of its readings"),
    "gradient_norm": ("loss/‖θ‖", "norm of the gradient before clipping; backpropagation"),
    "difference": ("loss", "L₊ − L₋; of more readings the root mean square of their differences; zeroth-order"),
    "slope": ("loss/ε", "weight of z in the estimate; norm of all weights where several z are drawn; zeroth-order"),
    "z_norm": ("‖θ‖", "norm of the (first) perturbation z; zeroth-order"),
    "step_norm": ("‖θ‖", "norm of the step; zeroth-order"),
    "relative_perturbation": ("ratio", "‖εz‖/‖θ‖; zeroth-order"),
    "changed_share": ("0–1", "share of the trained entries that adding εz changes; zeroth-order"),
    "step_cosine": ("−1–1", "cosine of step and z, 0 where one of them is zero; zeroth-order"),
    "weight": ("0–1", "weight a of the previous update in z; ZOPrO"),
    "beta": ("0–1", "share of the momentum that is kept; ConMeZO"),
    "block": ("", "block that is perturbed, from 0; block-wise MeZO"),
    "h_change_mean": ("", "mean of |h − 1| over the entries of the diagonal curvature h; HiZOO"),
    "h_change_max": ("", "largest |h − 1|; HiZOO"),
    "spread": ("loss", "standard deviation of the members' losses; ESSA"),
    "member_norm": ("‖θ‖", "distance of the first member from the mean; ESSA"),
    "kept": ("", "multiple of the step that was kept; conservative updates"),
    "lr": ("", "learning rate"),
    "noise_floor": ("loss", "how large the difference becomes by noise alone in 95 % of cases; zeroth-order"),
}
GOLD_SCALE = {
    "constant": ("0–1", "of the constant text that does best on validation prompts, among demonstrations"),
    "copy": ("0–1", "of the prompt, copied"),
    "demonstrations": ("0–1", "of demonstrations, on their own prompts"),
    "references": ("0–1", "of the test prompts' references"),
}
PEAKS = {
    "loaded": ("MiB", "memory before the first update (not a peak)"),
    "warm_start": ("MiB", "peak of the first-order warm start; methods that have one"),
    "optimisation": ("MiB", "peak of all other rollouts and updates"),
}
SECONDS, TOKENS = ({name: (unit, help) for name, help in LEDGERS.items()} for unit in ("s", "tokens"))
SETTINGS = {name: ("", ", ".join(fields_of(cls)).replace("folder, ", "")) for name, cls in STORED.items()}
Section = dict[str, bool | float | str | None]
Metrics = dict[str, Any]  # what is no finite number counts as missing wherever one is read


@dataclass(frozen=True, kw_only=True)
class Record:
    """A file, a line of a log, or a part of one."""

    def as_row(self) -> dict[str, Any]:
        """The JSON object that is written."""
        row: dict[str, Any] = {}
        for spec in fields(self):
            value = getattr(self, spec.name)
            if spec.metadata["spread"]:
                row |= value
            elif value is not None or spec.default is MISSING:
                row[spec.name] = (value.as_row() if isinstance(value, Record) else
                                  dict(vars(value)) if is_dataclass(value) else
                                  list(value) if isinstance(value, tuple) else value)
        return row

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The record of what ``values`` holds under the names of its fields."""
        return cls(**{spec.name: values[spec.name] for spec in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Identity(Record):
    task: str = entry("task")
    method: str = entry("method")
    seed: int = entry("seed of everything random")
    hash: str | None = entry("first 8 hexadecimal digits of the sha256 of all that can change the result")
    profile: str | None = entry("profile that the configuration started from")
    protocol: str | None = entry("version of the protocol; results of different ones are never put in one table")
    budget: Budget = entry("what the run may spend")
    task_version: str | None = entry("version of the task's reading of its rows")
    revision: str | None = entry("revision of the data, as in environment.json")
    model_digest: str | None = entry("hash of the model's files, if it lies in a folder", default=None)
    judge_digest: str | None = entry("hash of the judging language model's files, if it lies in a folder; of the code "
                                     "of a plugin's judge, too", default=None)
    plugins: dict[str, str] | None = entry("plugins that brought the task, the method or its parts, or the judge → "
                                           "origin, hash of the code", default=None)


@dataclass(frozen=True, kw_only=True)
class Configuration(Record):
    """config.json: which run it is, and every setting."""

    run: Identity = entry("which run it is")
    config: dict[str, str | Section] = entry("name of the profile, hyperparameters under method, settings by section",
                                             keys=SETTINGS)


@dataclass(frozen=True, kw_only=True)
class Hardware(Record):
    cpu: str | None = entry("processor")
    cores: int | None = entry("cores that the system has")
    memory_gib: float | None = entry("main memory", "GiB")
    gpu: str | None = entry("graphics processor, if the run used one")

    def __str__(self) -> str:
        """One line."""
        return ", ".join(filter(None, (
            self.cpu or "unknown processor", f"{self.cores} cores" if self.cores else None,
            None if self.memory_gib is None else f"{self.memory_gib:.0f} GiB", self.gpu)))


@dataclass(frozen=True, kw_only=True)
class Machine(Record):
    """By which code and where something was measured."""

    version: str | None = entry("version of the suite; Major.Minor is the protocol")
    commit: str | None = entry("commit of the checkout; null outside of one")
    dirty: bool | None = entry("whether tracked files differed from the commit")
    code: str | None = entry("first 16 hexadecimal digits of the sha256 of the code that decides a run's numbers")
    python: str | None = entry("version of Python")
    packages: dict[str, str] = entry("package → version, of those that a result depends on")
    platform: str | None = entry("operating system and architecture")
    hardware: Hardware = entry("the machine")
    cuda: str | None = entry("version of CUDA, if the run used it")
    device: str | None = entry("cpu or cuda:N")
    threads: int | None = entry("CPU threads of the run")
    workers: int | None = entry("runs at the same time; 0 = in the command's own process")


@dataclass(frozen=True, kw_only=True)
class DataUsed(Record):
    source: str | None = entry("bundled, local or hub")
    revision: str | None = entry("revision of the hub's rows, a hash of any others")
    rows: dict[str, Any] = entry("rows read and used, and reason → number of those that were rejected")
    prompts: dict[str, int | None] = entry("split → distinct prompts")
    pairs: int | None = entry("training pairs")
    long_prompts: int | None = entry("prompts longer than decoding.max_prompt_tokens, cut or left out")
    equal_pairs: dict[str, int | None] | None = entry(
        "split → pairs left out because their completions are the same tokens within decoding.max_new_tokens",
        default=None)


@dataclass(frozen=True, kw_only=True)
class ModelUsed(Record):
    path: str | None = entry("hub name or folder's name; empty for a tiny Llama made from the configuration")
    revision: str | None = entry("revision on the hub; null for a folder's model and one made here")
    parameters: int | None = entry("parameters of the policy, whether trained or not")
    special_tokens: dict[str, int | None] = entry("ids of bos, eos and pad")


@dataclass(frozen=True, kw_only=True)
class JudgeUsed(Record):
    kind: str = entry("gold, reward_model, llm, or one of a plugin")
    loss: float | None = entry("of a judging reward model: loss at the end of its training", "loss", default=None)
    accuracy_seen: float | None = entry("share of pairs, seen in training, that it ranks right", "0–1", default=None)
    accuracy: float | None = entry("of a judge with pairs of its own: share of held-out pairs it ranks as labelled",
                                   "0–1", default=None)
    own_pairs: int | None = entry("pairs that it alone has seen", default=None)


@dataclass(frozen=True, kw_only=True)
class SharedStart(Record):
    key: str | None = entry("the preparation's key in the cache")
    code: str | None = entry("hash of the code that made it, as above", default=None)
    sft_loss: float | None = entry("loss at the end of supervised fine-tuning", "nats per token")
    reward_loss: float | None = entry("loss at the end of the training of r₀", "loss")
    reward_accuracy: float = entry("share of held-out pairs that r₀ ranks as labelled", "0–1")
    held_out_pairs: int = entry("number of these pairs")
    judge: JudgeUsed = entry("who judges")
    seconds: float | None = entry("time of the preparation", "s")
    reward_sd: float | None = entry("standard deviation of r₀ over π₀'s completions of the test split; to leading "
                                    "order no increase exceeds reward_sd · √(2 KL)", "r₀ score", default=None)
    reward_tokens: float | None = entry("forward tokens of the training of r₀, booked as a run's are", "tokens",
                                        default=None)
    reward_labels: int | None = entry("labels that r₀ learned from: pairs, and scores where the task has them, each "
                                      "counted once", default=None)
    gold_scale: dict[str, float] | None = entry("mean gold, on the test prompts, of answers that need no model; null "
                                                "where the rows have none", keys=GOLD_SCALE, default=None)


@dataclass(frozen=True, kw_only=True)
class Environment(Machine):
    """environment.json: where, by which code and from which start a run was made."""

    data: DataUsed = entry("what the task's rows were")
    model: ModelUsed = entry("the policy's model")
    plugins: dict[str, str] | None = entry("as in config.json", default=None)
    preparation: SharedStart | None = entry("what all methods of this task and seed start from")


@dataclass(frozen=True, kw_only=True)
class Spent(Record):
    forward_tokens: float | None = entry("policy-forward equivalents, padding excluded", "tokens")
    seconds: float | None = entry("time", "s")
    completions: int | None = entry("completions scored by the reward model")
    updates: int | None = entry("updates")
    generated_tokens: int | None = entry("tokens sampled, prompts and padding excluded", "tokens", default=None)
    computed_tokens: float | None = entry("policy-forward equivalents that were computed: what readings or rows share "
                                          "counts once", "tokens", default=None)


@dataclass(frozen=True, kw_only=True)
class CurveRow(Record):
    """A line of curve.jsonl: one evaluation of one split."""

    split: str = entry("validation or test")
    fraction: float = entry("share of the budget at which the evaluation was due", "0–1")
    update: int = entry("updates made by then")
    iteration: int = entry("iteration, from 0")
    spent: Spent = entry("what the method itself has spent by then: rollouts and updates")
    ledgers: dict[str, float] = entry("ledger → time by then; they add up to the wall time", keys=SECONDS)
    metrics: Metrics = entry("metric → its value on this split", keys=METRICS)


@dataclass(frozen=True, kw_only=True)
class UpdateRow(Record):
    """A line of updates.jsonl: one update. Its figures stand in the row itself, in the order in which they are got."""

    update: int = entry("updates made, this one included")
    iteration: int = entry("iteration, from 0")
    figures: dict[str, float] = entry("what method and loop say of the update", keys=FIGURES, spread=True)
    spent: Spent = entry("spent by then")


@dataclass(frozen=True, kw_only=True)
class Sample(Record):
    """A line of samples.jsonl: completions of one test prompt."""

    prompt: str | None = entry("the prompt")
    reference: str | None = entry("the task's own answer")
    base: str | None = entry("completion of π₀")
    base_reward: float | None = entry("its score", "r₀ score")
    completion: str | None = entry("completion of the final policy")
    reward: float | None = entry("its score", "r₀ score")


@dataclass(frozen=True, kw_only=True)
class HealthFigures(Record):
    updates: int | None = entry("zeroth-order updates")
    below_noise: float | None = entry("share of them whose difference is below the noise floor", "0–1")
    median_signal_to_noise: float | None = entry("median size of the difference over the noise floor", "ratio")
    median_relative_perturbation: float | None = entry("median of ‖εz‖/‖θ‖", "ratio")
    median_changed_share: float | None = entry("median share of entries that εz changes", "0–1")
    median_step_cosine: float | None = entry("median size of the cosine of step and z", "0–1")
    median_step_norm: float | None = entry("median norm of a step", "‖θ‖")
    median_z_norm: float | None = entry("median norm of z", "‖θ‖")


@dataclass(frozen=True, kw_only=True)
class Resumed(Record):
    count: int | None = entry("how often the run was taken up again")
    after_updates: tuple[int, ...] = entry("after how many updates each time")


@dataclass(frozen=True, kw_only=True)
class Summary(Record):
    """summary.json: what came of the run. Written last; a run is finished when it is there."""

    status: str = entry("done or diverged")
    run: dict[str, Any] = entry("which run it is, as in config.json")
    initial: dict[str, Metrics] = entry("split → metrics of π₀, as in curve.jsonl")
    final: dict[str, Metrics] | None = entry("split → metrics at the end of the budget; null for a diverged run")
    reward_increase: float | None = entry("final minus initial test reward; null for a diverged run", "r₀ score")
    reward_increase_se: float | None = entry("its standard error from prompts and completions", "r₀ score",
                                             default=None)
    spent: Spent = entry("spent in all")
    overshoot: dict[str, Any] = entry("kind of the budget, and by what amount the last update went beyond it")
    wall_seconds: float | None = entry("time of the run, evaluation and interrupted attempts included", "s")
    ledgers: dict[str, float] = entry("ledger → time", keys=SECONDS)
    ledger_tokens: dict[str, float] = entry("ledger → forward tokens", keys=TOKENS)
    peak_memory_mib: dict[str, float] = entry("tensors on the device with CUDA, else the resident set", keys=PEAKS)
    health: HealthFigures | None = entry("of zeroth-order updates, medians of absolute values; null if it made none")
    trained_parameters: int | None = entry("number d of trained parameters of the policy")
    warnings: tuple[str, ...] = entry("what a reader of the result must know")
    pairs_read: int | None = entry("the task's own pairs that the method read, repetitions included; divided by "
                                   "data.pairs of environment.json, passes over them", default=None)
    refinement_labels: int | None = entry("pairs that the judge labelled for refinements of the reward model",
                                          default=None)
    refinement_equal: int | None = entry("those of them that were twice the same completion, and taught nothing",
                                         default=None)
    resumed: Resumed = entry("interruptions")
    adapters: dict[str, str] | None = entry("file below adapters/ → its sha256, kept or not", default=None)
    files: dict[str, str] | None = entry("other file → its sha256", default=None)
    digest: str | None = entry("sha256 of this file's other fields, as JSON with sorted keys", default=None)


@dataclass(frozen=True, kw_only=True)
class Failure(Record):
    """error.json: why the last attempt at a run ended. A run that goes on removes it."""

    type: str | None = entry("kind of the error; Interrupted = stopped by the user")
    message: str | None = entry("what happened and what to do")
    details: str | None = entry("traceback of an error that nobody foresaw, without places")


FILES: dict[str, type[Record]] = {
    "config.json": Configuration, "environment.json": Environment, "curve.jsonl": CurveRow, "updates.jsonl": UpdateRow,
    "samples.jsonl": Sample, "summary.json": Summary, "error.json": Failure,
}
