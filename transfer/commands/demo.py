"""Try a trained model in a browser, after `dvc repro` or `dvc pull`.

    python -m transfer demo                              # then open the address that it prints
    python -m transfer demo --model head --port 0
    curl --data-binary @photo.jpg http://127.0.0.1:8000/predict

The page takes images and shows for each one its class with calibrated probabilities, how unlike the
training images it is, the nearest training images, and the regions that speak for the class
(Grad-CAM); for the model neighbours it is a training image instead. POST /predict returns the same
as JSON, and POST /explain the heat map or that image; the body is an image's bytes.

Only this machine can reach it unless --host says otherwise. It needs no network, keeps no image,
and serves no file. There is no password: with --host 0.0.0.0 anyone who can connect to the machine
can use it. Ctrl-C ends it.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable

from transfer.inference import cli
from transfer.runtime.program import command_parser

MOST_MEGABYTES = 256  # the limit of `split` for one file


def main(argv: list[str]) -> None:
    """Load the model that the command line names and serve the page; Ctrl-C ends it without an
    error."""
    options = parse(argv)
    with contextlib.suppress(KeyboardInterrupt):
        demonstrate(options)


def demonstrate(options: argparse.Namespace) -> None:
    """Load the model and serve the page until Ctrl-C."""
    # Flask and the model take a second to load, and --help should not wait. A port in use is
    # reported before the model is loaded.
    from transfer.demo.app import create_app
    from transfer.demo.server import is_loopback, listen, serve, trusted_hosts, url
    from transfer.demo.service import load_service

    most_bytes = options.max_megabytes * 1_000_000
    with listen(options.host, options.port) as listening:
        if not is_loopback(listening):
            print(
                f"demo: other machines can connect to {options.host}, and no password is needed",
                file=sys.stderr,
            )
        service = load_service(options.model)
        print(
            f"demo: {service.name} at {url(options.host, listening)} (Ctrl-C ends it)", flush=True
        )
        serve(
            create_app(service, trusted_hosts(options.host, listening, options.name), most_bytes),
            listening,
            most_bytes,
        )


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line of `demo`."""
    parser = command_parser("demo", __doc__)
    cli.add_model_option(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (127.0.0.1, which only this machine reaches)",
    )
    parser.add_argument(
        "--port",
        type=whole_number(0, 65535),
        default=8000,
        metavar="N",
        help="port to listen on (8000); 0 chooses a free one",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="another name or address by which browsers reach it, for example behind port "
        "forwarding; may be repeated",
    )
    parser.add_argument(
        "--max-megabytes",
        type=whole_number(1, MOST_MEGABYTES),
        default=20,
        metavar="N",
        help="limit for an image file (20)",
    )
    return parser.parse_args(argv)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """What reads a number of the command line, for argparse."""

    def read(text: str) -> int:
        if not (text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text!r}: a number from {low} to {high} is expected")
        return int(text)

    return read
