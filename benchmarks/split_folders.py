"""The images of the split as folders, split/class/file, as notebooks read them.

    python -m benchmarks.split_folders FOLDER

The manifest of `dvc repro split` says which image is in which split.
"""

import argparse
from pathlib import Path

from transfer.dataset.manifest import read_manifest
from transfer.runtime.params import load_param
from transfer.sources.reader import read_source


def main() -> None:
    """Write the folders below the one of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    write_split_folders(parser.parse_args().folder)


def write_split_folders(folder: Path) -> None:
    """Write each image of the manifest as folder/split/class/file."""
    manifest = read_manifest().set_index("path")
    for entry in read_source(Path(load_param(str, "split.source")), set(manifest.index)):
        if entry.path.endswith("/"):
            continue
        row = manifest.loc[entry.path]
        target = folder / row["split"] / row["class_name"] / Path(entry.path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(entry.content)


if __name__ == "__main__":
    main()
