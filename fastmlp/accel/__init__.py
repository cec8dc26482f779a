"""Programs that were written for scikit-learn's MLPs, run with ours."""

from fastmlp.accel.patch import is_patched as is_patched
from fastmlp.accel.patch import patch_sklearn as patch_sklearn
from fastmlp.accel.patch import unpatch_sklearn as unpatch_sklearn
