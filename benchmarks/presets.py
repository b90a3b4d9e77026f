"""Candidates for docs/presets: what each reaches on the validation split, over seeds.

    python -m benchmarks.presets                                  # all candidates, validation only
    python -m benchmarks.presets --only lite0-128 lite0-160 --trainings train_head
    python -m benchmarks.presets --compare default modern         # test accuracy, paired by seed

A candidate is a preset, or an entry of benchmarks/presets.yaml: sections of params.yaml with the
values that differ, and `like`, the entry or preset that these are changes of. The stages `split` to
`augment` run once in a folder of OUTPUT, which candidates with the same frozen part share. Then
`--trainings` (the head, the augmented head and the fine-tuned model, unless told otherwise) are
done once per seed, by the stages themselves. OUTPUT keeps the scores of each training, by all
parameters: a run that was stopped goes on from there, and after a change of code OUTPUT has to be
deleted.

Prints one row per candidate and model, as Markdown: the mean validation loss with its standard
deviation, the mean validation accuracy, and the processor seconds of one training. Split and views
stay, so the spread is that of the trainings alone. Choose by these.

`--compare` is for what was chosen, since it opens the test split. The seeds are those of the split
too, as `benchmarks.seeds --vary splits` has them: other images train and test. Of each of the two
candidates it takes the model of the lowest mean validation loss, and prints the test accuracies by
seed and the mean difference with its 95 % interval (paired t test over seeds, SciPy).
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.training_options import READ_BY_STAGES, scores
from transfer.commands.sweep.trainings import TRAININGS, paired, prepare, train
from transfer.commands.use.params_file import Value
from transfer.commands.use.presets import preset_names, read_preset
from transfer.runtime.files import write_bytes
from transfer.runtime.params import read_params

CANDIDATES = Path("benchmarks/presets.yaml")
NETWORK = (("weights", "convert"), ("backbone", "weights"))  # stages, and what decides them
FROZEN = (
    ("split", "decode", "extract", "augment"),
    ("split", "backbone", "decode", "weights", "extract", "arrays", "augment"),
)
LOSS, ACCURACY, TEST = "validation loss", "validation accuracy", "test accuracy"

Sections = dict[str, dict[str, Value]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--only", nargs="+", metavar="NAME", help="these candidates")
    chosen.add_argument("--compare", nargs=2, metavar="NAME", help="the test accuracy of these")
    parser.add_argument("--seeds", type=int, nargs="+", help="0 1 2, and 0 1 2 3 4 to compare")
    parser.add_argument(
        "--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS), metavar="SECTION"
    )
    parser.add_argument("--output", type=Path, default=Path("logs/presets"))
    arguments = parser.parse_args()
    candidates = read_candidates(
        yaml.safe_load(CANDIDATES.read_text(encoding="utf-8")),
        {name: in_sections(read_preset(name)) for name in preset_names()},
    )
    names = arguments.compare or arguments.only or list(candidates)
    if unknown := [name for name in names if name not in candidates]:
        parser.error(f"no candidate {unknown[0]!r}; there are {', '.join(candidates)}")
    if arguments.compare and (len(set(names)) < 2 or len(set(arguments.seeds or (0, 1))) < 2):
        parser.error("--compare needs two different candidates, and two seeds at least")
    splits = ("validation", "test") if arguments.compare else ("validation",)
    seeds = arguments.seeds or range(5 if arguments.compare else 3)
    rows = []
    for name in names:
        for seed in seeds:
            measured = measure(
                arguments.output.absolute(),
                candidates[name],
                seed,
                splits,
                arguments.trainings,
                varies_split=bool(arguments.compare),
            )
            rows += [{"candidate": name, **row} for row in measured]
            print(f"{name}, seed {seed}: {measured}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    print(compare(table, *names) if arguments.compare else as_markdown(summarise(table)))


def in_sections(values: Mapping[str, Value]) -> Sections:
    """Values by `section.key` as sections, as params.yaml has them."""
    sections: Sections = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = value
    return sections


def read_candidates(
    entries: Mapping[str, dict], presets: Mapping[str, Sections]
) -> dict[str, Sections]:
    """The entries of the file of candidates, each with what it is `like`; then the presets.

    Raises:
        SystemExit: an entry is like one that neither precedes it nor is a preset.
    """
    found: dict[str, Sections] = {}
    for name, entry in entries.items():
        like = entry.get("like", "default")
        known = found | presets
        if like not in known:
            raise SystemExit(f"{CANDIDATES}: {name} is like {like!r}, which does not precede it")
        own = {section: values for section, values in entry.items() if section != "like"}
        found[name] = merged(known[like], own)
    return found | dict(presets)


def merged(sections: Mapping[str, dict], changes: Mapping[str, dict]) -> Sections:
    """Sections of parameters with the values of others in them."""
    return {
        section: {**sections.get(section, {}), **changes.get(section, {})}
        for section in dict.fromkeys((*sections, *changes))
    }


def measure(
    output: Path,
    changes: Sections,
    seed: int,
    splits: Iterable[str],
    sections: Iterable[str],
    varies_split: bool,
) -> list[dict]:
    """Do a candidate's trainings with one seed, or read what an earlier call kept: one row per
    model, with `model`, `seed`, `seconds` of the processor, and its scores on these splits.

    Args:
        sections: of the trainings, those that others start from before these.
        varies_split: whether the seed is that of the split as well.
    """
    seeded = {section: {"seed": seed} for section in (*TRAININGS, *["split"] * varies_split)}
    params = merged(merged(read_params(), changes), seeded)
    decisive = {section: params[section] for section in (*FROZEN[1], *sections, "compute")}
    kept = output / "scores" / f"{digest([decisive, *splits])}.json"
    if not kept.exists():
        network = run_stages(output, *NETWORK, params, ())
        frozen = run_stages(
            output, *FROZEN, params, (network / "data/weights", network / "data/frozen")
        )
        with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(frozen):
            folder = Path(temporary) / "project"
            prepare(folder, READ_BY_STAGES, params)
            with contextlib.chdir(folder):
                rows = [train_and_score(section, seed, splits) for section in sections]
        write_bytes(kept, json.dumps(rows, indent=1).encode())
    return json.loads(kept.read_bytes())


def run_stages(
    output: Path,
    stages: Sequence[str],
    sections: Iterable[str],
    params: Sections,
    inputs: Iterable[Path],
) -> Path:
    """The folder of OUTPUT in which these stages have run with these parameters; what went through
    the frozen network is shared by all of them (`.rows`).

    Args:
        sections: of params.yaml that decide what the stages write.
        inputs: folders of their `data` that other stages have written.
    """
    decisive = {section: params[section] for section in sections}
    folder = output / stages[0] / digest(decisive)
    done = folder / "done"
    if not done.exists():
        names = ("dvc.yaml", "pins.yaml", "stages", "transfer", str(params["split"]["source"]))
        targets = {name: Path(name).absolute() for name in names}
        for name, target in (targets | {f"data/{path.name}": path for path in inputs}).items():
            link = folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        environment = os.environ | {"DVC_ROOT": str(output)}
        for stage in stages:
            words = [sys.executable, "-m", f"stages.{stage}"]
            subprocess.run(words, cwd=folder, env=environment, check=True)
        done.touch()
    return folder


def train_and_score(section: str, seed: int, splits: Iterable[str]) -> dict:
    """Train the model of a section in the working directory; its row."""
    start = time.process_time()
    train(section)
    seconds = time.process_time() - start
    model = TRAININGS[section].model
    return {"model": model, "seed": seed, "seconds": seconds, **scores(model, splits)}


def digest(content: object) -> str:
    """A short name that follows from the content alone."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per candidate and model: mean loss, its standard deviation over seeds, mean accuracy
    and seconds."""
    return (
        rows.groupby(["candidate", "model"], sort=False)
        .agg(
            loss=(LOSS, "mean"),
            sd=(LOSS, "std"),
            accuracy=(ACCURACY, "mean"),
            seconds=("seconds", "mean"),
        )
        .reset_index()
    )


def as_markdown(summary: pd.DataFrame) -> str:
    lines = [
        f"| candidate | model | {LOSS} | {ACCURACY} | processor s |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.candidate} | {row.model} | {row.loss:.3f} (sd {row.sd:.3f}) | "
        f"{row.accuracy:.3f} | {row.seconds:.1f} |"
        for row in summary.itertuples()
    ]
    return "\n".join(lines)


def compare(rows: pd.DataFrame, first: str, second: str) -> str:
    """What the second candidate's best model has on the test split beyond the first one's, in
    words; the best is that of the lowest mean validation loss."""
    summary = summarise(rows).set_index("candidate")
    lines, accuracies = [], []
    for name in (first, second):
        own = summary.loc[name]
        model = own.iloc[own["loss"].argmin()]["model"]
        chosen = rows[(rows["candidate"] == name) & (rows["model"] == model)].set_index("seed")
        accuracies.append(chosen[TEST])
        by_seed = ", ".join(f"{accuracy:.3f}" for accuracy in chosen[TEST])
        lines.append(f"{name}, {model}: test accuracy {chosen[TEST].mean():.3f} ({by_seed})")
    mean, low, high, p = paired(accuracies[1], accuracies[0])
    lines.append(f"difference {mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, p = {p:.2g}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
