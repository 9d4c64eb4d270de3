"""A disk that can be full: a file system of its own, or a limit on the files of a process where nothing may be mounted."""

import contextlib
import resource
import subprocess

# Larger than anything that a test writes into one file.
PLENTY = 1 << 40


def small_disk(trial, folder, size):
    """A data folder with so many bytes of room."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "yunque-faults", str(folder)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        refused = done.stderr.strip() if done.returncode else None
    except OSError as error:
        refused = str(error)
    if refused is None:
        trial.defer(lambda: subprocess.run(["umount", "--lazy", str(folder)], capture_output=True))
        return Mounted(folder)
    trial.note(f"no disk of its own here ({refused}): measured with a limit on the size of files (EFBIG for ENOSPC)")
    return Limited(folder)


class Mounted:
    """A memory file system; a file takes the room."""

    def __init__(self, folder):
        self.folder = folder
        self.filler = folder / ".filler"
        self.exact = True

    def fill(self, leave=0, _pids=()):
        """Leaves so many bytes of room."""
        self.free()
        with open(self.filler, "wb", buffering=0) as filler:
            # Somebody else takes room as well meanwhile, so its amount is not known before.
            for piece in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while filler.write(bytes(piece)) == piece:
                        pass
            if leave:
                filler.truncate(max(0, filler.tell() - leave))

    def free(self, _pids=()):
        with contextlib.suppress(FileNotFoundError):
            self.filler.unlink()


class Limited:
    """No file may be written. Processes that are to notice must be named."""

    def __init__(self, folder):
        self.folder = folder
        self.exact = False

    @staticmethod
    def fill(leave=0, pids=()):
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (leave, PLENTY))

    @staticmethod
    def free(pids=()):
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (PLENTY, PLENTY))
