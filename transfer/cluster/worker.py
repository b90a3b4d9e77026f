"""The worker process on a cluster node. It is sent as source and imports nothing of the project
until it has unpacked it."""

import os
import pathlib
import platform
import shutil
import sys
import tempfile


class Worker:
    """A process that processes batches of one task."""

    def unpack(self, package: bytes, files: dict[str, bytes], environment: dict[str, str]) -> None:
        """Unpack the project so that it can be imported and read.

        Args:
            package: a zip archive of `transfer`.
            files: those of the project that the work reads, by their paths in it.
            environment: variables that the work is to see.
        """
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="transfer-"))
        os.chdir(self._folder)
        try:
            for name, content in {"package.zip": package, **files}.items():
                path = pathlib.Path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        except OSError:  # a full disk would otherwise stay full
            self._remove_folder()
            raise
        os.environ.update(environment)
        sys.path.insert(0, str(self._folder / "package.zip"))

    def handshake(self, unpacked: None, work: object, packages: list[str]) -> dict:
        """Start the task. Returns the node, the versions it computes with, and `about` or, if it
        failed, `error`.

        Args:
            unpacked: what `unpack` gave: Ray calls a method when all that it is given is there, and
                only then can it read `work`.
            packages: those that decide the bytes of the work.
        """
        from transfer.engines.base import as_sent
        from transfer.runtime.pins import versions

        said = {"host": platform.node(), "versions": versions(packages)}
        try:
            self._function = work.start()
            return said | {"about": self._function.about}
        except Exception as error:
            return said | {"error": as_sent(error)}
        finally:  # a worker that is killed could not do it later
            self._remove_folder()

    def _remove_folder(self) -> None:
        os.chdir("/")
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, items: list) -> tuple[bool, object]:
        """Whether the call succeeded, and the results or the exception."""
        try:
            return True, self._function(items)
        except Exception as error:
            from transfer.engines.base import as_sent

            return False, as_sent(error)
