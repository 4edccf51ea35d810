"""Counts the instructions of the operations below, and compares them with the baseline.

`regression.py DRIVER BASELINE` fails if one of them takes over 5 % more than in the file BASELINE. With `--renew` it writes
that file. Counts come from callgrind and exclude the kernel. One binary has the same counts on every run; another compiler
may give others.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

TOLERANCE = 0.05
# Repetitions of each. The cost of one is the difference between this number and twice this number, divided.
COUNTS = {
    "probe": 200,
    "probe-shards": 50,
    "reopening": 100,
    "scrape": 20,
    "scrape-openmetrics": 20,
    "scrape-protobuf": 20,
    "renewal": 20,
}


def main(driver, baseline, *options):
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing: install it (Debian, Ubuntu: sudo apt-get install valgrind)")
    counted = {what: instructions(driver, what, count) for what, count in COUNTS.items()}
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    file = pathlib.Path(baseline)
    if "--renew" in options:
        file.write_text(json.dumps({"compiler": compiler, "instructions": counted}, indent=2) + "\n")
        print(f"written to {file}: {counted}")
        return
    known = json.loads(file.read_text())
    if known["compiler"] != compiler:
        print(f"the baseline was made with {known['compiler']}, this is {compiler}: the compiler may cause differences")
    worse = [what for what in COUNTS if not compare(what, counted[what], known["instructions"][what])]
    if worse:
        sys.exit(f"over the baseline by more than {TOLERANCE:.0%}: {', '.join(worse)}. "
                 "If the change is worth it, run `make bench-baseline` and commit the result with the reason.")


def compare(what, count, known):
    change = count / known - 1
    hint = "" if change >= -TOLERANCE else ": improved; run `make bench-baseline` to keep it"
    print(f"{what:18} {count:10,} instructions, {change:+7.2%} from {known:,}{hint}")
    return change <= TOLERANCE


def instructions(driver, what, count):
    once, twice = (collected(driver, what, times) for times in (count, 2 * count))
    return round((twice - once) / count)


def collected(driver, what, times):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", driver, what, str(times)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return int(found[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
