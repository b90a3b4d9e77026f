"""`make run`: repair what a killed DVC left, bring the pipeline up to date, print what came out, its seconds and what was reused."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import yaml

from transfer.door import LOGS
from transfer.models import MODEL_NAMES
from transfer.repair import print_repairs

METRICS = Path("metrics")


def main() -> None:
    started = time.time()
    print_repairs("run")
    finished = subprocess.run([sys.executable, "-m", "dvc", "repro", *sys.argv[1:]], check=False)  # noqa: S603, no shell
    if finished.returncode:
        sys.exit(finished.returncode)
    pipeline = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    print()
    print(summarise(pipeline, seconds_since(started)).to_string(index=False))
    print(f"\nThe whole run took {time.time() - started:.0f} s. All of it: plots/report.html. Compare: dvc exp show.")


def seconds_since(started: float) -> dict[str, float]:
    """Seconds of each stage that has run since `started`, by its name."""
    logs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in LOGS.glob("*.json")}
    return {name: log["seconds"] for name, log in logs.items() if log["started"] >= started}


def summarise(pipeline: dict, seconds: dict[str, float]) -> pd.DataFrame:
    """A row a model: accuracy with its 95 % interval, the seconds of all stages run for it, which ones ran, which were reused."""
    rows = []
    for name, scores in read_metrics().items():
        needed = stages_behind(pipeline, f"models/{name}.json")
        ran = [stage for stage in needed if stage in seconds]
        rows.append(
            {
                "model": name,
                "accuracy (95 % interval)": f"{scores['accuracy']:.3f} ({scores['accuracy_low']:.3f} to {scores['accuracy_high']:.3f})",
                "seconds": f"{sum(seconds[stage] for stage in ran):.1f}",
                "run now": ", ".join(ran) or "nothing",
                "reused from the cache": ", ".join(stage for stage in needed if stage not in seconds) or "nothing",
            }
        )
    return pd.DataFrame(rows)


def read_metrics() -> dict[str, dict]:
    """Metrics by model, in the order in which the pipeline builds the models."""
    found = {name: json.loads((METRICS / f"{name}.json").read_text(encoding="utf-8")) for name in MODEL_NAMES}
    return {name: scores for name, scores in found.items() if scores}  # a model that was skipped has none


def stages_behind(pipeline: dict, output: str) -> list[str]:
    """The stages that `output` needs, directly or through others, in the order of dvc.yaml."""
    makers = {path: name for name, stage in pipeline.items() for path in stage.get("outs", []) if isinstance(path, str)}
    needed, pending = set(), [output]
    while pending:
        maker = makers.get(pending.pop())
        if maker and maker not in needed:
            needed.add(maker)
            pending += pipeline[maker]["deps"]
    return [name for name in pipeline if name in needed]


if __name__ == "__main__":
    main()
