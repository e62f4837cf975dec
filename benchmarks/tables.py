"""Write the tables of the documents from the result files and from the settings models.

    python benchmarks/tables.py            # rewrites README.md, docs/*.md and the README.md of methods and models
    python benchmarks/tables.py --check    # changes nothing; exit code 1 where a table differs

A table stands between `<!-- table: NAME -->` or `<!-- settings: METHOD -->` and `<!-- end -->`. tables.yaml says which
figures of which files in benchmarks/results/ it shows.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pose_estimation_ros.cli.parameter_files import markdown_table
from pose_estimation_ros.methods.registry import methods
from pose_estimation_ros.settings import list_settings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/*.md", "pose_estimation_ros/methods/*/README.md", "models/*/README.md")
BLOCK = re.compile(r"(<!-- (table|settings): (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
UNKNOWN = "–"
BUSY = 0.5  # load from which times are not worth much


class TableError(ValueError):
    """A table cannot be made; the message names it, and what is missing."""


class NotMeasuredError(TableError):
    """A result file is not there; the message says how to make it."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, say which documents differ")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    try:
        tables = Tables(arguments.root)
        different = [path for path in documents(arguments.root) if not tables.write(path, arguments.check)]
        tables.refuse_unused()
    except (TableError, OSError, json.JSONDecodeError) as error:
        print(f"tables.py: error: {error}", file=sys.stderr)
        return 2
    for path in different:
        print(f"{path.relative_to(arguments.root)}: {'differs from its figures' if arguments.check else 'written'}")
    return 1 if different and arguments.check else 0


def documents(root: Path) -> list[Path]:
    """Return the documents that may hold tables."""
    return sorted(path for pattern in DOCUMENTS for path in root.glob(pattern))


class Tables:
    """The tables that tables.yaml describes, made from result files."""

    def __init__(self, root: Path) -> None:
        self.results = root / "benchmarks" / "results"
        content = yaml.safe_load((root / "benchmarks" / "tables.yaml").read_text())
        self.columns: Mapping[str, Mapping[str, Any]] = content["columns"]
        self.tables: Mapping[str, Mapping[str, Any]] = content["tables"]
        self._used: set[str] = set()
        self._read: dict[str, dict[str, Any]] = {}

    def write(self, path: Path, check: bool) -> bool:
        """Rewrite the tables of a document; return whether they were right before."""
        before = path.read_text()
        after = BLOCK.sub(lambda block: block[1] + self._block(path, block[2], block[3]) + block[5], before)
        opened = len(re.findall(r"<!-- (?:table|settings): ", before))
        if opened != len(BLOCK.findall(before)):
            raise TableError(f"{path}: a table without its <!-- end -->")
        if not check and after != before:
            path.write_text(after)
        return after == before

    def refuse_unused(self) -> None:
        """Refuse tables that no document shows.

        Raises:
            TableError: naming them.
        """
        unused = sorted(set(self.tables) - self._used)
        if unused:
            raise TableError(f"tables.yaml: no document shows {', '.join(unused)}")

    def _block(self, path: Path, kind: str, name: str) -> str:
        try:
            return settings_table(name) if kind == "settings" else self.table(name)
        except NotMeasuredError as error:
            return f"{error}\n"
        except TableError as error:
            raise TableError(f"{path}: {kind} {name}: {error}") from error

    def table(self, name: str) -> str:
        """Return a table in Markdown, and below it what it was measured by and where.

        Raises:
            TableError: if it is not described, or a file or figure is missing.
        """
        if name not in self.tables:
            raise TableError(f"expected one of {', '.join(sorted(self.tables))}")
        self._used.add(name)
        table = self.tables[name]
        columns = [self.columns[item] if isinstance(item, str) else item for item in table["columns"]]
        text = list(table.get("text", []))
        lines = [[*text, *(column["heading"] for column in columns)]]
        numeric = [*(False for _ in text), *("format" in column for column in columns)]
        files: dict[str, None] = {}
        for row, labels, figures in self._rows(table):
            cells = [str(label) for label in labels]
            for column in columns:
                file = column.get("file", "{row}").format(row=row)
                files[file] = None
                cells.append(cell(column, figures if figures is not None else self._result(file)["figures"], file))
            lines.append(cells)
        return markdown(lines, numeric) + f"\n{self._caption(list(files), bool(table.get('times')))}\n"

    def _rows(self, table: Mapping[str, Any]) -> Iterator[tuple[str, list[str], Mapping[str, Any] | None]]:
        """Yield file, texts and figures of every row; no figures where each column looks for its file itself."""
        if "rows" in table:
            for row, labels in table["rows"].items():
                yield row, labels, None
            return
        entries = look_up(self._result(table["file"])["figures"], table["each"], table["file"])
        if isinstance(entries, Mapping):
            entries = [{"name": key, **value} for key, value in entries.items()]
        for entry in entries:
            if all(entry[key] in values for key, values in table.get("where", {}).items()):
                yield table["file"], [], entry

    def _caption(self, files: list[str], times: bool) -> str:
        """Say what measured the files, where and when; of times also how busy the machine was."""
        results = [self._result(file) for file in files]
        days = sorted({result["date"][:10] for result in results})
        where = sorted({machine_name(result["machine"]) for result in results})
        if len(files) == 1:
            what = f"`{re.sub(r' --result [^ ]+', '', results[0]['command'])}`"
        else:
            stems = dict.fromkeys(file.partition("_")[0] for file in files)
            names = [f"`benchmarks/results/{stem}{'' if stem in files else '_'}*.json`" for stem in stems]
            what = f"Commands and commits: {', '.join(names)}"
        load = max(result["machine"].get("load", 0.0) for result in results)
        busy = f"; the machine was busy (load {load:.1f})" if times and load > BUSY else ""
        return f"{what}. {'; '.join(where)}; {' to '.join(dict.fromkeys([days[0], days[-1]]))}{busy}."

    def _result(self, name: str) -> dict[str, Any]:
        path = self.results / f"{name}.json"
        if not path.is_file():
            raise NotMeasuredError(f"Not measured yet: `python benchmarks/measure.py {name}` does it.")
        if name not in self._read:
            self._read[name] = json.loads(path.read_text())
        return self._read[name]


def cell(column: Mapping[str, Any], figures: Mapping[str, Any], file: str) -> str:
    """Return the text of one figure; what was not defined is a dash.

    Raises:
        TableError: if the file has no such figure.
    """
    value = look_up(figures, column["key"], file)
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value
    return format(value * column.get("factor", 1), column.get("format", ""))


def look_up(figures: Mapping[str, Any], key: str, file: str) -> Any:
    """Return the figure that a key with dots names.

    Raises:
        TableError: if there is none.
    """
    value: Any = figures
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise TableError(f"benchmarks/results/{file}.json: figures: no {key!r}")
        value = value[part]
    return value


def machine_name(machine: Mapping[str, Any]) -> str:
    """Name a machine in a few words."""
    named = f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}"
    return f"{named}, {machine['gpu']}" if "gpu" in machine else named


def markdown(lines: list[list[str]], numeric: list[bool]) -> str:
    """Return lines of cells as a table, the heading first; columns of numbers are aligned right."""
    rule = ["--:" if right else "---" for right in numeric]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [lines[0], rule, *lines[1:]])


def settings_table(name: str) -> str:
    """Return the settings of a method as a table.

    Raises:
        TableError: if there are none.
    """
    if name not in methods():
        raise TableError(f"expected one of {', '.join(methods())}")
    return "\n".join(markdown_table(list_settings(methods()[name].settings_model(), f"{name}."))) + "\n"


if __name__ == "__main__":
    sys.exit(main())
