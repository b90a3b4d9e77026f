"""The loop of timm's quickstart, for `python -m benchmarks.first_row` and `make bench`.

    PYTHON benchmarks/timm_first_row.py photo.jpg

PYTHON is one that has timm and PyTorch, which the pipeline's environment does not. The weights are
random, so nothing is downloaded and only the seconds count.
"""

import sys
from pathlib import Path

MODEL = "mobilenetv3_large_100"


def main() -> None:
    """Print one row for an image, or for each in a folder: its name and the likeliest classes."""
    # imported here, since this file's own folder is imported where neither is installed
    import timm
    import torch
    from PIL import Image

    path = Path(sys.argv[1])
    model = timm.create_model(MODEL, pretrained=False).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model.pretrained_cfg))
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        image = transform(Image.open(file).convert("RGB")).unsqueeze(0)
        with torch.no_grad():
            probabilities = torch.nn.functional.softmax(model(image)[0], dim=0)
        values, indices = torch.topk(probabilities, 5)
        print(file.name, indices.tolist(), values.tolist(), flush=True)


if __name__ == "__main__":
    main()
