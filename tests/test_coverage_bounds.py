"""`make coverage` fails where a bound is missed, by lines and by branches each."""

import json

import pytest

from tests import coverage_bounds


def summary(lines, of_lines, branches, of_branches):
    return {
        "covered_lines": lines, "num_statements": of_lines, "missing_lines": of_lines - lines,
        "covered_branches": branches, "num_branches": of_branches,
        "missing_branches": of_branches - branches,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ((95, 100, 90, 100), 0),
        ((949, 1000, 95, 100), 1),
        ((99, 100, 899, 1000), 1),
        ((100, 100, 0, 0), 0),
    ],
)
def test_each_bound(tmp_path, capsys, counts, status):
    path = tmp_path / "report.json"
    report = {
        "meta": {"branch_coverage": True},
        "totals": summary(*counts),
        "files": {
            "a.py": {"summary": summary(9, 10, 0, 0), "missing_lines": [7]},
            "b.py": {"summary": summary(8, 10, 0, 0), "missing_lines": [1, 2]},
            "c.py": {"summary": summary(8, 8, 0, 0), "missing_lines": []},
        },
    }
    path.write_text(json.dumps(report))
    assert coverage_bounds.main([str(path)]) == status
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [
        "b.py: 2 not reached; lines 1, 2",
        "a.py: 1 not reached; lines 7",
    ]
    assert len(told) == 4
    report["meta"]["branch_coverage"] = False
    path.write_text(json.dumps(report))
    with pytest.raises(SystemExit, match="must count branches"):
        coverage_bounds.main([str(path)])
