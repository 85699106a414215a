"""Run directories: append, checkpoint, finish, read. A run is done when its ``summary.json`` exists; it is written last
and holds the checksums of itself and of the files beside it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.core.checkpoint import Checkpoints, Saved
from benchmark.core.digests import PREPARING, code_digest
from benchmark.core.errors import AGAIN, BenchmarkError
from benchmark.core.files import (
    check,
    read_object,
    sha256,
    sync,
    unreadable,
    value_digest,
    write_json,
    write_tensors,
    writing,
)
from benchmark.core.records import Failure
from benchmark.core.sections import device_type

LOGS = ("curve.jsonl", "updates.jsonl", "samples.jsonl")
FILES = ("config.json", "environment.json", *LOGS)  # whose checksums a summary holds
CHECKS = ("files", "digest")  # what a summary holds for the sake of checking it
NO_MATTER = {"preparation": ("seconds",), "hardware": ("memory_gib", "cores")}  # parts of an environment → what of it


def comparable(environment: dict[str, Any]) -> dict[str, Any]:
    """What two attempts at a run must have in common for the second to go on where the first stopped; of the checkout
    its code, whatever else a commit holds; of the machine the names of its processors, and how many threads compute."""
    parts: dict[str, Any] = {name: {key: value for key, value in (environment.get(name) or {}).items()
                                    if key not in left_out} for name, left_out in NO_MATTER.items()}
    if "device" in environment:
        parts["device"] = device_type(str(environment["device"]))
    return {key: value for key, value in environment.items() if key not in ("commit", "dirty", "workers")} | parts


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    """How often adapters are kept: two answers in one run would leave a set that no single one gives."""
    return {"execution.keep_every": config["config"]["execution"]["keep_every"]}


class RunStore:
    """The directory of one run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self._digests: dict[str, str] = {}  # of adapters written or checked by this object

    @property
    def done(self) -> bool:
        return (self.folder / "summary.json").is_file()

    @property
    def other_code(self) -> bool:
        """Whether other code than the present one made the run, or the preparation that it started from."""
        environment = read_object(self.folder / "environment.json")
        start = environment.get("preparation") or {}
        return (environment.get("code"), start.get("code")) != (code_digest(), code_digest(PREPARING))

    def summary(self) -> dict[str, Any]:
        """The finished run's summary; BenchmarkError if it, or a file it vouches for, is damaged."""
        summary = read_object(self.folder / "summary.json")
        self.check(summary)
        return {key: value for key, value in summary.items() if key not in CHECKS}

    def check(self, summary: dict[str, Any]) -> None:
        """BenchmarkError if the summary as read, or a file that it vouches for, was altered after the run."""
        if "digest" not in summary:  # runs of earlier versions
            return
        digests = None
        with contextlib.suppress(UnicodeEncodeError):
            if value_digest({key: value for key, value in summary.items() if key != "digest"}) == summary["digest"]:
                digests = summary.get("files")
        if not isinstance(digests, dict):
            raise BenchmarkError(f"{self.folder.name}/summary.json was altered after the run: it does not match its "
                                 f"own checksum. {AGAIN}")
        for file, digest in digests.items():
            try:
                check(self.folder / file, digest)
            except FileNotFoundError:
                raise BenchmarkError(f"{self.folder.name}: altered after the run: {file} is missing. {AGAIN}") from None
            except ValueError as error:
                raise BenchmarkError(f"{self.folder.name}: altered after the run: {error}. {AGAIN}") from None
            except OSError as error:
                raise unreadable(f"{self.folder.name}/{file}", error, AGAIN) from None

    def start(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Begin anew: what an unfinished attempt left is removed."""
        self._digests = {}
        with writing(self.folder / "config.json"):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        write_json(self.folder / "config.json", config)
        write_json(self.folder / "environment.json", environment)

    def begin(self, config: dict[str, Any], environment: dict[str, Any], note: Callable[[str], None]) -> Saved | None:
        """Begin or go on: the state of the last checkpoint that is whole, with the files as they were then; or None,
        with a folder as :meth:`start` leaves it.

        Args:
            note: told why a checkpoint is not used.
        """
        saved = self._last(config, environment, note)
        if saved is None:
            self.start(config, environment)
            return None
        with writing(self.folder / "curve.jsonl"):
            for name in LOGS:
                self._cut(name, saved["logs"].get(name, {"bytes": 0})["bytes"])
            (self.folder / "error.json").unlink(missing_ok=True)
            for path in sorted((self.folder / "adapters").rglob("*")):
                if path.is_file() and path.relative_to(self.folder / "adapters").as_posix() not in saved["adapters"]:
                    path.unlink()
        self._digests = dict(saved["adapters"])
        write_json(self.folder / "config.json", config)
        write_json(self.folder / "environment.json", environment)
        return saved

    def _last(self, config: dict[str, Any], environment: dict[str, Any], note: Callable[[str], None]) -> Saved | None:
        if not self.checkpoints.folder.is_dir():
            return None
        try:
            before = comparable(json.loads((self.folder / "environment.json").read_text(encoding="utf-8")))
            before |= _kept(json.loads((self.folder / "config.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, AttributeError, KeyError, TypeError):  # also: JSON of another shape
            note("its environment.json or config.json cannot be read: the run starts anew")
            return None
        now = comparable(json.loads(json.dumps(environment))) | _kept(config)
        if apart := sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key)):
            note(f"its checkpoint was made in another environment ({', '.join(apart)}): the run starts anew")
            return None
        if (saved := self.checkpoints.load(note, self._accept)) is None:
            note("no checkpoint can be used: the run starts anew")
        return saved

    def _accept(self, saved: Saved) -> None:
        """ValueError or OSError unless logs and adapters are what they were at the checkpoint."""
        for name, log in saved["logs"].items():
            check(self.folder / name, log["sha256"], log["bytes"])
        for name, digest in saved["adapters"].items():
            check(self.folder / "adapters" / name, digest)

    def _cut(self, name: str, size: int) -> None:
        path = self.folder / name
        if not size:
            path.unlink(missing_ok=True)
            return
        with open(path, "r+b") as file:
            file.truncate(size)
        sync(path)

    def checkpoint(self, state: Saved) -> None:
        """Keep ``state``, and how far the logs had got and what adapters there were."""
        logs = {}
        for path in filter(Path.is_file, (self.folder / name for name in LOGS)):
            with writing(path):
                sync(path)
            logs[path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        self.checkpoints.save({**state, "logs": logs, "adapters": self.digests()})

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Append a line to ``name`` (curve.jsonl, updates.jsonl, samples.jsonl)."""
        line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        with writing(self.folder / name), open(self.folder / name, "a", encoding="utf-8", newline="\n") as file:
            file.write(line)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The lines of ``name``; none if it is not there."""
        path = self.folder / name
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
        return [json.loads(line) for line in lines if line]

    def save_adapters(self, iteration: int, policy: dict[str, Any], reward: dict[str, Any]) -> None:
        """Keep the trainable tensors as they are before ``iteration`` (0 = the start)."""
        folder = self.folder / "adapters" / f"iteration_{iteration}"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._save(folder / "policy.safetensors", policy)
        self._save(folder / "reward.safetensors", reward)

    def save_policy(self, iteration: int, update: int, policy: dict[str, Any]) -> None:
        """Keep the policy's trainable tensors after ``update`` updates of the run, within ``iteration``."""
        self._save(self.folder / "adapters" / f"iteration_{iteration}" / f"policy_update_{update:07}.safetensors",
                   policy)

    def _save(self, path: Path, tensors: dict[str, Any]) -> None:
        write_tensors(path, tensors)
        self._digests[path.relative_to(self.folder / "adapters").as_posix()] = sha256(path)

    def _update(self, kind: str, iteration: int) -> dict[str, Any]:
        from safetensors.torch import load_file

        folder = self.folder / "adapters"
        before = load_file(folder / f"iteration_{iteration}" / f"{kind}.safetensors")
        after = load_file(folder / f"iteration_{iteration + 1}" / f"{kind}.safetensors")
        return {name: after[name] - before[name] for name in after}

    def policy_update(self, iteration: int) -> dict[str, Any]:
        """Policy adapter after ``iteration`` minus before it, by tensor name."""
        return self._update("policy", iteration)

    def reward_update(self, iteration: int) -> dict[str, Any]:
        """Reward model's trainable tensors after the refinement of ``iteration`` minus before it."""
        return self._update("reward", iteration)

    def digests(self) -> dict[str, str]:
        """sha256 of every kept adapter file, by its place below ``adapters``."""
        folder = self.folder / "adapters"
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.safetensors"))]
        return {name: self._digests.get(name) or sha256(folder / name) for name in names}

    def tidy(self, keep: str) -> None:
        """Remove checkpoints of a finished run and, with ``keep`` = curves, what no table and no plot of the report
        reads: adapters and the log of updates."""
        if keep == "curves":
            shutil.rmtree(self.folder / "adapters", ignore_errors=True)
            (self.folder / "updates.jsonl").unlink(missing_ok=True)
        self.checkpoints.remove()  # last: as long as they are there, :meth:`tidy_finished` knows of work left

    def tidy_finished(self) -> None:
        """Do what a run that was stopped right after its summary had no time for."""
        if self.checkpoints.folder.is_dir():
            with contextlib.suppress(OSError, ValueError, KeyError):  # nothing is lost if its configuration is damaged
                config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
                self.tidy(config["config"]["execution"]["keep"])

    def finish(self, summary: dict[str, Any], keep: str = "all") -> None:
        """Write the summary, with which the run is done, and remove what ``keep`` leaves out."""
        gone = ("updates.jsonl",) if keep == "curves" else ()
        with writing(self.folder / "error.json"):  # of a failure beside the run, such as another command's
            (self.folder / "error.json").unlink(missing_ok=True)
        files = {}
        for path in (self.folder / name for name in FILES if name not in gone):
            if path.is_file():
                with writing(path):
                    sync(path)
                files[path.name] = sha256(path)
        summary = json.loads(json.dumps({**summary, "files": files}, allow_nan=False))
        write_json(self.folder / "summary.json", {**summary, "digest": value_digest(summary)})
        self.tidy(keep)

    def fail(self, kind: str, message: str, details: str = "") -> None:
        """Record why the run ended; what it wrote so far stays. ``details`` (a traceback) must hold no path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "error.json", Failure(type=kind, message=message, details=details).as_row())
