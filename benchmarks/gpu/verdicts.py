"""What is wrong with what a stage found, or with the part of it that a stage could still write.

Imports nothing that could be missing: the process that judges needs no numba.
"""

from __future__ import annotations

from typing import Any

# Of the mean loss of an epoch, relative: see `smoke_stages.beside_the_cpu`.
LOSS_LIMIT = 1e-5
# Test accuracies of one training of some 400 rows each: by chance alone they may be off by that.
ACCURACY_LIMIT = 0.025


def faults(stage: str, values: Any) -> list[str]:
    """Sentences, none where all is right."""
    if stage in ("products", "15 products", "foretold bits"):
        return list(values["wrong"])
    if stage == "operations":
        return [f"{name}: {why}" for name, why in values["wrong"].items()]
    if stage == "repeatability":
        return [f"other bits {name}" for name, same in values.items() if not same]
    if stage == "timings":
        return of_timings(values)
    if stage == "accuracy":
        return less_accurate(values)
    if stage == "captured training":
        return of_captured(values)
    if stage == "training beside the CPU":
        return of_training(values)
    return []


def of_timings(records: list[dict[str, Any]]) -> list[str]:
    """Peers whose loss is not ours, and what of ours could not be measured."""
    ours = [r for r in records if r["peer"] in ("", "fastmlp") and "error" in r]
    told = [f"{r['case']}: {r['error']}" for r in ours]
    told += [
        f"{r['case']}: no graph, {r['graph_trouble']}" for r in records if r.get("graph_trouble")
    ]
    return told + disagreements(records)


def disagreements(records: list[dict[str, Any]]) -> list[str]:
    """Peers whose loss after the same steps is not ours."""
    ours = {r["case"]: r["loss"] for r in records if r["peer"] == "fastmlp" and "loss" in r}
    return [
        f"{r['case']}, {r['peer']}: loss {r['loss']:.6g}, fastmlp {ours[r['case']]:.6g}"
        for r in records
        if "loss" in r
        and r["case"] in ours
        and not abs(r["loss"] - ours[r["case"]]) <= 1e-4 * abs(ours[r["case"]])
    ]


def less_accurate(records: list[dict[str, Any]]) -> list[str]:
    """Cases whose mean accuracy on the GPU is below the CPU's by more than chance."""
    told = []
    for case in dict.fromkeys(r["case"] for r in records):
        runs = [r for r in records if r["case"] == case]
        cpu, gpu = (
            sum(r[f"{kind}_accuracy"] for r in runs) / len(runs) for kind in ("cpu", "cuda")
        )
        if not gpu >= cpu - ACCURACY_LIMIT:
            told.append(f"{case}: accuracy {gpu:.4f}, on the CPU {cpu:.4f}")
    return told


def of_captured(values: dict[str, Any]) -> list[str]:
    """No graph where there could be one, and losses that do not fall."""
    told = []
    if values["graph_trouble"]:
        told.append(f"no graph, {values['graph_trouble']}")
    elif not (values["captured"] or values["simulated"]):
        told.append("no graph, and nothing says why")
    losses = values["losses"]
    if len(losses) > 1 and not losses[-1] < losses[0]:
        told.append(f"the loss did not fall: {losses}")
    return told


def of_training(values: dict[str, Any]) -> list[str]:
    """Losses or an accuracy that are not the CPU's."""
    told = []
    difference, accuracies = values.get("largest_difference"), values["accuracies"]
    if difference is not None and not difference <= LOSS_LIMIT:
        told.append(f"losses differ by {difference:.3g}, and {LOSS_LIMIT:g} is allowed")
    if len(accuracies) == 2 and not accuracies["cuda"] >= accuracies["cpu"] - ACCURACY_LIMIT:
        told.append(f"accuracy {accuracies['cuda']:.4f}, on the CPU {accuracies['cpu']:.4f}")
    return told
