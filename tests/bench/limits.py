"""A server's share of the machine: so much memory, page cache and kernel memory included, and so many disk reads a second. By control groups, of version 1 or 2;
needs root."""
import os
import pathlib
import time

TOP = pathlib.Path("/sys/fs/cgroup")
PREFIX = "outrigger-bench-"


class Unable(Exception):
    """This machine cannot limit a server; says why."""


def device_below(directory):
    """major:minor of the whole disk that holds a directory: throttles know no partitions."""
    number = os.stat(directory).st_dev
    name = f"{os.major(number)}:{os.minor(number)}"
    block = pathlib.Path(f"/sys/dev/block/{name}")
    if not block.exists():
        raise Unable(f"{directory} is not on a disk (device {name}): choose another place with --directory")
    block = block.resolve()
    return (block.parent / "dev").read_text().strip() if (block / "partition").exists() else name


def mounted_with(controller):
    """Where version 1 has this controller; None: it has not."""
    for line in open("/proc/mounts"):
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup" and controller in options.split(","):
            return pathlib.Path(where)
    return None


def remove_group(group):
    """Its processes have ended, or are about to."""
    for _ in range(100):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.05)


class Limits:
    """A control group for one server. `enter` is for the child before it becomes the server."""

    def __init__(self, name, directory, memory_bytes):
        self.name, self.device, self.groups = f"{PREFIX}{os.getpid()}-{name}", device_below(directory), []
        if os.geteuid() != 0:
            raise Unable("limiting a server's memory and disk reads needs root")
        memory, reads = mounted_with("memory"), mounted_with("blkio")
        self.version = 1 if memory and reads else 2
        try:
            if self.version == 1:
                self.memory, self.reads = self._make(memory), self._make(reads)
                self._write(self.memory, "memory.limit_in_bytes", memory_bytes)
            else:
                self._write(TOP, "cgroup.subtree_control", "+memory +io")
                self.memory = self.reads = self._make(TOP)
                self._write(self.memory, "memory.max", memory_bytes)
                self._write(self.memory, "memory.swap.max", 0)
        except OSError as error:
            self.remove()
            raise Unable(f"no control group with a memory limit and a read throttle can be made here: {error}") from error

    def _make(self, parent):
        for left in parent.glob(PREFIX + "*"):  # by a measurement that was killed
            if not pathlib.Path("/proc", left.name[len(PREFIX) :].split("-")[0]).exists():
                remove_group(left)
        made = parent / self.name
        made.mkdir()
        self.groups.append(made)
        return made

    @staticmethod
    def _write(where, file, text):
        (where / file).write_text(str(text))

    def enter(self):
        for made in self.groups:
            self._write(made, "cgroup.procs", os.getpid())

    def throttle(self, reads_per_second):
        """0: not at all."""
        if self.version == 1:
            self._write(self.reads, "blkio.throttle.read_iops_device", f"{self.device} {reads_per_second}")
        else:
            self._write(self.reads, "io.max", f"{self.device} riops={reads_per_second or 'max'}")

    def reads_done(self):
        """Disk reads so far."""
        file, word = ("blkio.throttle.io_serviced", "Read") if self.version == 1 else ("io.stat", "rios")
        for line in (self.reads / file).read_text().splitlines():
            words = line.replace("=", " ").split()
            if words[0] == self.device and word in words:
                return int(words[words.index(word) + 1])
        return 0

    def drop_page_cache(self):
        """Writes everything out and forgets what files this server has read."""
        os.sync()
        for _ in range(3):
            try:
                if self.version == 1:
                    self._write(self.memory, "memory.force_empty", 0)
                else:
                    self._write(self.memory, "memory.reclaim", "16G")
            except OSError:
                pass  # as much as could be

    def memory_used(self):
        return int((self.memory / ("memory.usage_in_bytes" if self.version == 1 else "memory.current")).read_text())

    def remove(self):
        """After the server has ended."""
        for made in self.groups:
            remove_group(made)
        self.groups = []
