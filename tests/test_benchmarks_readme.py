"""The README's table and picture of speed come from the committed records alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.command import run
from benchmarks.marks import part_of, with_part
from benchmarks.picture import draw, ratios
from benchmarks.readme import MARK, readme, text
from benchmarks.summary import best_of_threads, best_peer, read, time_text

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "peers.jsonl"


def record(case, peer, threads, us, **more):
    return {
        "case": case, "sizes": [4, 8, 2], "batch": 16, "dtype": "float32", "optimizer": "adam",
        "peer": peer, "threads": threads, "us_per_step_best": us, "us_per_step_median": 2 * us,
        "gflops": 1.0, "fraction_of_peak": 0.5, "versions": {peer: "1.0"}, "cpu": "a cpu",
        "blas": "openblas 0.3 Zen" if peer == "sklearn" else "none", "activation": "relu",
        "repeats": 3, **more,
    }  # fmt: skip


RECORDS = [
    record("a", "fastmlp", 1, 30.0), record("a", "fastmlp", 2, 20.0), record("a", "jax", 1, 50.0),
    record("a", "jax", 2, 44.0), record("b", "fastmlp", 1, 1e3), record("b", "sklearn", 1, 12.5e3),
]  # fmt: skip


def test_the_table_of_the_readme_is_that_of_the_committed_records():
    assert part_of((ROOT / "README.md").read_text(), MARK) == text(read(RESULT))


def test_the_committed_records_are_of_all_cases_and_peers():
    from benchmarks.cases import CASES
    from benchmarks.peers.names import MODULES

    best = best_of_threads(read(RESULT))
    assert list(best) == list(CASES)
    for peers in best.values():
        assert set(peers) == set(MODULES)


def test_the_table_has_the_best_threads_and_the_ratio_to_the_best_peer():
    lines = text(RECORDS).splitlines()
    assert lines[2] == "| a | 4-8-2, 16 | **20.0 µs** | 50 % | 44.0 µs | - | **2.2** |"
    assert lines[3] == "| b | 4-8-2, 16 | **1.00 ms** | 50 % | - | 12.5 ms | **12.5** |"
    assert "a cpu" in lines[-1]
    assert "scikit-learn with openblas 0.3 Zen" in lines[-1]


def test_the_table_changes_with_its_records():
    faster = [*RECORDS, record("a", "fastmlp", 4, 10.0)]
    assert "**4.4**" in text(faster)
    assert text(RECORDS) == text(list(RECORDS))


def test_ratios_of_the_picture():
    assert ratios(RECORDS) == {"a": {"jax": 2.2}, "b": {"sklearn": 12.5}}
    assert best_peer({"fastmlp": RECORDS[0]}) is None


def test_the_picture_has_a_bar_for_each_peer_of_each_case():
    axes = draw(RECORDS).axes[0]
    tops = sorted(round(bar.get_y() + bar.get_height(), 6) for bar in axes.patches)
    assert tops == [2.2, 12.5]
    assert [label.get_text().split("\n")[0] for label in axes.get_xticklabels()] == ["a", "b"]


@pytest.mark.parametrize(
    ("us", "shown"),
    [(4.216, "4.22 µs"), (31.27, "31.3 µs"), (312.4, "312 µs"), (999.7, "1.00 ms"),
     (5303, "5.30 ms"), (226_700, "227 ms"), (1.2e6, "1.20 s"), (9.996, "10.0 µs")],
)  # fmt: skip
def test_times_have_three_digits(us, shown):
    assert time_text(us) == shown


def test_a_part_is_written_between_its_marks():
    document = "a\n<!-- x -->\nold\n<!-- end of x -->\nb"
    assert with_part(document, "x", r"new \1") == document.replace("old", r"new \1")
    assert part_of(with_part(document, "x", "new"), "x") == "new"
    with pytest.raises(ValueError, match="must have the marks <!-- y -->"):
        with_part(document, "y", "new")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "got none"),
        ("{}", "line 1 is none"),
        ("[1]", "line 1 is none"),
        ("{", "line 1 is none"),
    ],
)
def test_a_file_without_records_gets_one_sentence(content, told, tmp_path, capsys):
    path = tmp_path / "records.jsonl"
    path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        run(readme, [str(path)])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert told in said
    assert len(said.splitlines()) == 1


def test_the_program_writes_document_and_picture(tmp_path, capsys):
    records, document, picture = (tmp_path / name for name in ("r.jsonl", "d.md", "p.png"))
    records.write_text("\n".join(map(json.dumps, RECORDS)))
    document.write_text("# T\n<!-- speed -->\n<!-- end of speed -->\n")
    with pytest.raises(SystemExit) as ended:
        run(readme, [str(records), "--into", str(document), "--picture", str(picture)])
    assert ended.value.code == 0
    assert part_of(document.read_text(), MARK) == text(RECORDS)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "**2.2**" in capsys.readouterr().out
