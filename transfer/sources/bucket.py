"""Class folders on object storage, for example `s3://bucket/prefix`: listed here, and read when an
entry is asked to `load`."""

from collections.abc import Callable, Collection, Iterator

from transfer.runtime.errors import PipelineError
from transfer.sources.archives import ENDINGS
from transfer.sources.source_file import (
    SourceFile,
    clutter_of,
    name_problem,
    printable,
    size_problem,
)
from transfer.storage.object_store import ObjectStore

NAMED = "split.source"


def list_images(
    url: str,
    wanted: Collection[str] | None = None,
    on_clutter: Callable[[str], None] = lambda path: None,
) -> Iterator[SourceFile]:
    """List the objects below a URL, folder by folder, by name; or take it that the wanted ones are
    there, in their order.

    Raises:
        PipelineError: no such bucket, nothing below the prefix, an archive, or the store does not
            let itself be listed.
    """
    if url.lower().endswith(ENDINGS):
        raise PipelineError(
            f"{NAMED} = {url!r}: an archive is read from a disk only; copy it here, or put its "
            "folders there"
        )
    store = ObjectStore(url, NAMED)
    store.check_exists()
    if wanted is not None:
        yield from (SourceFile(path, store=store) for path in wanted)
        return
    found = False
    try:
        for path, size, version in store.walk_versions():
            found = True
            if clutter := clutter_of(path.rstrip("/")):
                on_clutter(clutter)
                continue
            if problem := name_problem(path):
                yield SourceFile(printable(path), problem=problem)
            elif size is None:
                yield SourceFile(path)
            elif problem := size_problem(size):
                yield SourceFile(path, problem=problem)
            else:
                yield SourceFile(path, store=store, version=f"{size}:{version}" if version else "")
    except FileNotFoundError:  # of a prefix without objects
        pass
    if not found:
        raise PipelineError(f"{NAMED} = {url!r}: there is nothing below that prefix; fix the name")
