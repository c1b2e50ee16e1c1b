"""What a server's memory comes to: that of its processes, and what it has put into a directory in memory."""
import re


def own_bytes(rollup):
    """Of /proc/PID/smaps_rollup: heap, stacks and shared segments, of which each process has its part. Programs and libraries are left out: how much of them is
    whose changes with every program that is started."""
    return 1024 * sum(int(kilobytes) for kilobytes in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB$", rollup, re.M))


def of_processes(pids):
    total = 0
    for pid in pids:
        try:
            total += own_bytes(open(f"/proc/{pid}/smaps_rollup").read())
        except OSError:
            pass  # it has ended
    return total


def of_files(directory):
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_blocks * 512 if path.is_file() else 0
        except OSError:
            pass  # it was removed meanwhile
    return total


def of_server(server):
    """In bytes; what the kernel holds for its sockets is not in it."""
    return of_processes(server.family()) + of_files(server.directory)
