"""The table of values in the chart's README, made from the comments in values.yaml: `readme.py` writes it."""

import json
import re

import yaml

from helm import CHART

VALUES = CHART / "values.yaml"
README = CHART / "README.md"
BEGIN = "<!-- values: written by make chart-readme -->"
END = "<!-- end of values -->"


def documented():
    """Every key with a `# --` comment: its path and the comment, in the order of the file."""
    comment, path, found = [], [], []
    for line in VALUES.read_text().splitlines():
        said = re.match(r"^ *# (-- )?(.*)$", line)
        if said:
            # A comment goes on over lines until its key comes.
            comment = [said[2]] if said[1] else comment and [*comment, said[2]]
            continue
        key = re.match(r"^( *)([A-Za-z_]+):", line)
        if key:
            path = [*path[: len(key[1]) // 2], key[2]]
            if comment:
                found.append((tuple(path), " ".join(comment)))
        comment = []
    return found


def default(path):
    value = yaml.safe_load(VALUES.read_text())
    for key in path:
        value = value[key]
    return value


def leaves(value=None, path=()):
    """The path of every value that is documented on its own: mappings end at the key with a comment."""
    value = yaml.safe_load(VALUES.read_text()) if value is None else value
    for key, inner in value.items():
        here = (*path, key)
        if here in PATHS or not isinstance(inner, dict):
            yield here
        else:
            yield from leaves(inner, here)


PATHS = {path for path, _ in documented()}


def table():
    rows = ["| Value | Default | Meaning |", "|---|---|---|"]
    for path, comment in documented():
        shown = json.dumps(default(path), ensure_ascii=False).replace("|", "\\|")
        rows.append(f"| `{'.'.join(path)}` | `{shown}` | {comment.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def readme():
    """The README as it must be."""
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(readme())
