"""Every measured number of the documents comes from a result file, and every result file from a known command."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The weights that it was measured on came about during a training and are gone.
NOT_TO_BE_REPEATED = {"heatmaps_training"}
NUMBER = re.compile(r"[+-]?[\d,]+(\.\d+)?(e[+-]\d+)?|–|inf|nan")
MEASURED = re.compile(r"[^\n]*\d ?(?:%|percent|ms\b|MB\b|times as|frames a second)[^\n]*")
CODE_AND_TABLES = re.compile(r"^    .*$|^\|.*$|`[^`]*`", re.MULTILINE)
# What was set, not found: how long a node waits, what was covered, how wide crops are.
CONDITIONS = ("up to 20 ms", "less than 65 % visible", "0 to 70 % of", "60-80 % (L0 to L3)", "1.4 times as wide")
RESULT: dict[str, Any] = {
    "command": "python benchmarks/some.py --bundle x --result benchmarks/results/some.json",
    "commit": "0123456789ab",
    "date": "2026-01-02 03:04",
    "machine": {"cpu": "Some CPU", "cores": 2, "isa": "avx2", "load": 3.0},
    "seed": 0,
    "figures": {
        "mean": {"add": 0.1234},
        "rows": [{"solver": "a", "ms": 1.25, "n": 5}, {"solver": "b", "ms": None, "n": 6}],
    },
}
TABLES = """
columns:
  add: {heading: ADD %, key: mean.add, factor: 100, format: .1f}
tables:
  many: {text: [what], columns: [add], rows: {some: [one], some_other: [two]}}
  listed:
    file: some
    each: rows
    times: true
    columns: [{heading: solver, key: solver}, {heading: ms, key: ms, format: .2f}]
  chosen: {file: some, each: rows, where: {n: [6]}, columns: [{heading: solver, key: solver}]}
"""
DOCUMENT = """# Title
<!-- table: many -->
old
<!-- end -->
between
<!-- table: listed -->
<!-- end -->
<!-- table: chosen -->
<!-- end -->
<!-- settings: patches -->
<!-- end -->
after
"""


@pytest.fixture(scope="module")
def benchmarks() -> dict[str, ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return {name: importlib.import_module(name) for name in ("tables", "measure")}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    (tmp_path / "benchmarks/tables.yaml").write_text(TABLES)
    (tmp_path / "benchmarks/results/some.json").write_text(json.dumps(RESULT))
    shutil.copy(tmp_path / "benchmarks/results/some.json", tmp_path / "benchmarks/results/some_other.json")
    (tmp_path / "README.md").write_text(DOCUMENT)
    return tmp_path


def test_the_documents_show_what_the_result_files_say(benchmarks: dict[str, ModuleType], capsys) -> None:
    code = benchmarks["tables"].main(["--check"])
    output = capsys.readouterr()
    assert code == 0, f"run `python benchmarks/tables.py`\n{output.out}{output.err}"


def test_tables_are_written_between_their_marks(benchmarks: dict[str, ModuleType], repository: Path, capsys) -> None:
    tables = benchmarks["tables"]
    assert tables.main(["--root", str(repository), "--check"]) == 1
    assert (repository / "README.md").read_text() == DOCUMENT
    assert tables.main(["--root", str(repository)]) == 0
    assert tables.main(["--root", str(repository), "--check"]) == 0
    text = (repository / "README.md").read_text()
    assert text.startswith(
        "# Title\n<!-- table: many -->\n| what | ADD % |\n| --- | --: |\n| one | 12.3 |\n| two | 12.3 |\n\n"
    )
    assert (
        "| solver | ms |\n| --- | --: |\n| a | 1.25 |\n| b | – |\n\n`python benchmarks/some.py --bundle x`. Some CPU"
        in text
    )
    assert "2026-01-02; the machine was busy (load 3.0)." in text
    assert "| solver |\n| --- |\n| b |\n" in text
    assert "| `patches.scales` | `4` |" in text
    assert "<!-- end -->\nbetween\n<!-- table: listed -->" in text
    assert text.endswith("<!-- end -->\nafter\n")


def test_a_changed_figure_is_seen(benchmarks: dict[str, ModuleType], repository: Path, capsys) -> None:
    tables = benchmarks["tables"]
    assert tables.main(["--root", str(repository)]) == 0
    path = repository / "benchmarks/results/some_other.json"
    path.write_text(path.read_text().replace("0.1234", "0.1244"))
    capsys.readouterr()
    assert tables.main(["--root", str(repository), "--check"]) == 1
    assert capsys.readouterr().out == "README.md: differs from its figures\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("benchmarks/results/some.json", '"add"', '"adi"', "some.json: figures: no 'mean.add'"),
        ("README.md", "table: listed", "table: lost", "README.md: table lost: expected one of chosen, listed, many"),
        ("README.md", "<!-- end -->\nbetween", "between", "README.md: a table without its <!-- end -->"),
        ("README.md", "<!-- table: chosen -->\n<!-- end -->\n", "", "no document shows chosen"),
        ("README.md", "settings: patches", "settings: patch", "settings patch: expected one of attention"),
    ],
)
def test_what_is_missing_is_named(
    benchmarks: dict[str, ModuleType], repository: Path, file: str, old: str, new: str, message: str, capsys
) -> None:
    path = repository / file
    path.write_text(path.read_text().replace(old, new, 1))
    assert benchmarks["tables"].main(["--root", str(repository)]) == 2
    assert message in capsys.readouterr().err


def test_what_is_not_measured_yet_says_how_to(benchmarks: dict[str, ModuleType], repository: Path) -> None:
    path = repository / "benchmarks/tables.yaml"
    path.write_text(path.read_text().replace("some_other: [two]", "lost: [two]", 1))
    assert benchmarks["tables"].main(["--root", str(repository)]) == 0
    assert (
        "Not measured yet: `python benchmarks/measure.py lost` does it.\n<!-- end -->"
        in (repository / "README.md").read_text()
    )


def test_every_result_file_can_be_measured_again(benchmarks: dict[str, ModuleType]) -> None:
    known = {item.name: item for item in benchmarks["measure"].measurements()}
    for path in sorted((ROOT / "benchmarks/results").glob("*.json")):
        if path.stem in NOT_TO_BE_REPEATED:
            continue
        assert path.stem in known, path
        if known[path.stem].kind == "training":  # these took hours, some before their options had their names of today
            continue
        said, wanted = json.loads(path.read_text())["command"], known[path.stem].whole
        if known[path.stem].kind == "accuracy":  # which the number of threads does not change
            said, wanted = (text.removeprefix("OMP_NUM_THREADS=1 ") for text in (said, wanted))
        assert said == wanted, path


def test_cells_hold_one_number_each(benchmarks: dict[str, ModuleType]) -> None:
    tables = benchmarks["tables"]
    seen = 0
    for document in tables.documents(ROOT):
        for _, kind, name, block, _ in tables.BLOCK.findall(document.read_text()):
            lines = [line[1:-1].split("|") for line in block.splitlines() if line.startswith("|")]
            if kind != "table" or not lines:  # not measured yet
                continue
            for column, rule in enumerate(lines[1]):
                if rule.strip().endswith(":"):
                    seen += 1
                    cells = [line[column].strip() for line in lines[2:]]
                    assert all(NUMBER.fullmatch(cell) for cell in cells), (document, name, cells)
    assert seen > 100


def test_measured_numbers_stand_in_tables_only(benchmarks: dict[str, ModuleType]) -> None:
    for document in benchmarks["tables"].documents(ROOT):
        text = benchmarks["tables"].BLOCK.sub("", document.read_text())
        prose = CODE_AND_TABLES.sub("", text)
        for condition in CONDITIONS:
            prose = prose.replace(condition, "")
        assert MEASURED.findall(prose) == [], document


def test_links_and_pictures_are_there(benchmarks: dict[str, ModuleType]) -> None:
    for document in benchmarks["tables"].documents(ROOT):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
            assert "://" in target or (document.parent / target).exists(), (document, target)
