"""Export a trained model for other programs: no stage of dvc.yaml but a command, for after `dvc repro` or `dvc pull`.

    python -m stages.export
    python -m stages.export --model head --formats onnx litert_int8 --output /srv/models/animals

Each file takes RGB images of any size, uint8 (B, height, width, 3), and gives calibrated probabilities, float32 (B, classes): resizing,
preprocessing, class names and a version are inside. Each is then loaded by its own runtime and held against the Keras model on the
test images, stretched to several sizes. With weights as they are, labels must be equal and probabilities within 1e-4; with smaller
ones, the accuracy may fall by --margin. Where one does not keep to that, nothing is written.
"""

import argparse
import os
import sys
from pathlib import Path

from transfer.errors import PipelineError
from transfer.exporting.names import FORMATS

FAILED, INTERRUPTED = 1, 130


def main() -> None:
    options = parse()
    from transfer.exporting.export import export  # TensorFlow takes seconds, and neither --help nor a wrong option should wait for it

    table = export(options.model, options.formats, options.output, options.margin)
    print(f"\n{table.to_string(index=False)}\n\n{options.output}: {options.model} in {len(table)} formats; export.json says the same")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="finetuned", metavar="NAME", help="scratch, head, augmented or finetuned (the default)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=[*FORMATS], metavar="FORMAT", help=f"some of {', '.join(FORMATS)}")
    parser.add_argument("--output", type=Path, default=Path("models/export"), metavar="FOLDER", help="replaced as a whole (models/export)")
    parser.add_argument("--margin", type=float, default=0.02, help="how much accuracy float16 and int8 may lose (0.02)")
    return parser.parse_args()


def run() -> int:
    """`main` as a program: its exit code; a user's mistake and the machine's refusal are one line each."""
    try:
        main()
    except PipelineError as error:
        print(f"export: {error}", file=sys.stderr)
    except OSError as error:
        place = error.filename2 or error.filename
        print(f"export: {f'{place}: ' if place else ''}{error.strerror or error}; the earlier export is as it was", file=sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
    else:
        return os.EX_OK
    return FAILED


if __name__ == "__main__":
    sys.exit(run())
