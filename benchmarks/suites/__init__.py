"""What asv measures of every commit: a file for each question.

Suites are apart from the programs of the folder above, as asv imports every module beside them,
and its environments have no peers. They use those programs, whose folder asv does not look in: it
comes last, so that the fastmlp that asv has installed is found before that of the working tree.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
