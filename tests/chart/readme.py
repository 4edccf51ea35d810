"""Writes the table of values in the chart's README from the comments in values.yaml."""

import json
import re

import yaml

from helm import CHART

VALUES = CHART / "values.yaml"
README = CHART / "README.md"
BEGIN = "<!-- values: written by make chart-readme -->"
END = "<!-- end of values -->"


def documented():
    """Returns the path and the comment of every key with a `# --` comment, in the order of the file."""
    comment, path, found = [], [], []
    for line in VALUES.read_text().splitlines():
        said = re.match(r"^ *# (-- )?(.*)$", line)
        if said:
            # A comment may span several lines before its key.
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
    """Yields the path of every value. A mapping with a comment of its own is one value."""
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
    """Returns the README with the current table."""
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(readme())
