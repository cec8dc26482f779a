"""Which files are mutated, and which tests are asked about each: the quickest to notice first."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]

# Tests of kernels by the names of their files.
_KERNELS = {
    "activations": "activations codes gradients",
    "bands": "bands",
    "dropout": "dropout training",
    "embedding": "embedding training",
    "functions": "functions activations losses",
    "gather": "gather in_place",
    "gemm": "gemm activations narrow training",
    "layer_kinds": "layer_kinds norms training",
    "loop": "engine training conventions team block_shuffle",
    "losses": "losses gradients non_finite user_functions",
    "many_programs": "many_programs",
    "muon": "muon",
    "norms": "norm_values norms training stopping",
    "optimizers": "optimizers update_options torch_parity",
    "random": "random block_shuffle dropout",
    "records": "engine training",
    "rows": "training engine in_place columns dropout bands block_shuffle",
    "shuffle": "block_shuffle random",
    "simd": "simd functions tiles losses",
    "sync": "team norms columns",
    "team": "team",
    "tile": "tiles gemm",
    "tiles": "training narrow bands columns update_options determinism",
    "updates": "training update_options embedding bands",
    "user_functions": "user_functions",
    "user_math": "user_math",
    "width": "tiles simd gemm assembly",
}
_API = "tests/api"
_SETTINGS = (
    f"{_API}/spec/test_settings.py", f"{_API}/layer_kinds/test_settings.py",
    f"{_API}/model/test_bad_input.py", f"{_API}/optim/test_options.py",
)  # fmt: skip
_FILES = (
    f"{_API}/model/test_file.py", "tests/fuzz/test_attacks.py", "tests/golden/test_golden.py",
    "tests/fuzz/test_model_files.py",
)  # fmt: skip
_CHECKS = {
    "checks": (*_SETTINGS, f"{_API}/test_setting.py", f"{_API}/schedules/test_schedules.py"),
    "setting": (f"{_API}/test_setting.py", *_SETTINGS, f"{_API}/cli/test_setting_options.py"),
    "json_kinds": (f"{_API}/test_json_kinds.py", *_FILES),
    "tensor_file": (f"{_API}/test_tensor_file.py", *_FILES),
    "whole_files": (f"{_API}/test_whole_files.py",),
    "registered": (f"{_API}/user_functions/test_registering.py",
                   f"{_API}/user_functions/test_refusals.py",
                   "tests/kernels/test_user_functions.py"),
    "model/schema": (f"{_API}/model/test_schema.py", *_FILES),
    "model/content": _FILES,
    "model/file": (*_FILES, f"{_API}/training/test_checkpoints.py",
                   f"{_API}/model/test_pickles.py"),
    "spec/allowed": _SETTINGS,
    "spec/conventions": (f"{_API}/spec/test_conventions.py", "tests/kernels/test_conventions.py",
                         f"{_API}/estimators/test_parity.py"),
    "spec/devices": (f"{_API}/spec/test_devices.py",),
    "spec/layers": (*_SETTINGS, f"{_API}/cli/test_setting_options.py"),
    "spec/loss_kind": (f"{_API}/spec/test_loss_table.py", f"{_API}/data/test_targets.py",
                       f"{_API}/user_functions/test_registering.py", "tests/kernels/test_losses.py",
                       f"{_API}/model/test_outputs.py"),
    "spec/loss_table": (f"{_API}/spec/test_loss_table.py", f"{_API}/data/test_targets.py",
                        f"{_API}/model/test_outputs.py", "tests/test_functions.py",
                        "tests/kernels/test_losses.py"),
    "spec/losses": (f"{_API}/spec/test_loss_table.py", f"{_API}/data/test_targets.py", *_SETTINGS,
                    f"{_API}/model/test_outputs.py"),
    "spec/network": (*_SETTINGS, f"{_API}/spec/test_loss_table.py"),
    "training/options": (f"{_API}/model/test_bad_input.py", f"{_API}/model/test_fit.py",
                         f"{_API}/training/test_trainer.py", f"{_API}/training/test_epochs.py"),
    "training/fit_state": (f"{_API}/training/test_fit_state.py",
                           f"{_API}/training/test_resume_refusals.py",
                           f"{_API}/training/test_resume.py"),
    "optim/base": (f"{_API}/optim/test_options.py", f"{_API}/test_setting.py",
                   f"{_API}/cli/test_setting_options.py",
                   f"{_API}/cli/test_run_files.py", f"{_API}/model/test_file.py",
                   "tests/kernels/test_rules.py"),
    "data/targets": (f"{_API}/data/test_extremes.py", f"{_API}/data/test_targets.py",
                     f"{_API}/data/test_class_targets.py", f"{_API}/model/test_bad_input.py"),
}  # fmt: skip
_SHARED = {
    "cache": "cache damaged_caches cache_at_once stamp",
    "compiler": "compiler cache engine",
    "rules": "rules optimizers",
}


def _of_kernels(names: str) -> tuple[str, ...]:
    return tuple(f"tests/kernels/test_{name}.py" for name in names.split())


# Group -> file -> tests. Each group has its share of the mutants.
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "kernels": {f"kernels/cpu/{name}.py": _of_kernels(tests) for name, tests in _KERNELS.items()}
    | {f"kernels/{name}.py": _of_kernels(tests) for name, tests in _SHARED.items()}
    | {
        "kernels/cpu/watch.py": (
            *_of_kernels("conventions"),
            f"{_API}/training/test_within.py",
        )
    },
    "checks": {f"fastmlp/{name}.py": tests for name, tests in _CHECKS.items()},
}
