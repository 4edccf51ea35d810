"""A process that is measured from outside, through /proc."""

import os
import pathlib
import subprocess


class Process:
    """A process that runs until it is stopped or the `with` block ends."""

    def __init__(self, args, log, env=None, stdout=None):
        self.log = pathlib.Path(log)
        self.args = [str(arg) for arg in args]
        with open(self.log, "ab") as stderr:
            self.child = subprocess.Popen(
                self.args,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout or stderr,
                stderr=stderr,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def check(self):
        """Raises if the process has exited."""
        if self.child.poll() is not None:
            tail = self.log.read_text(errors="replace")[-500:]
            raise RuntimeError(f"{self.args[0]} ended with {self.child.returncode}: {tail}")

    def is_traced(self):
        """Returns whether another process, such as strace, follows it."""
        return self._status("TracerPid") > 0

    def rss(self):
        """Returns the resident memory in bytes."""
        return self._status("VmRSS") * 1024

    def peak_rss(self):
        """Returns the peak resident memory in bytes."""
        return self._status("VmHWM") * 1024

    def _status(self, key):
        self.check()
        for line in self._proc("status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        raise RuntimeError(f"no {key} in /proc/{self.child.pid}/status")

    def cpu(self):
        """Returns user and system time of all threads in seconds, in nanosecond precision if the kernel has it."""
        self.check()
        try:
            tasks = self._proc("task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except FileNotFoundError:
            fields = self._proc("stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wakeups(self):
        """Returns how often its present threads have waited, and were woken."""
        self.check()
        statuses = [(task / "status").read_text() for task in self._proc("task").iterdir()]
        lines = [line for status in statuses for line in status.splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))

    def _proc(self, name):
        return pathlib.Path("/proc", str(self.child.pid), name)
