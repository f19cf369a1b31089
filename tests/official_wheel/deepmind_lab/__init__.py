"""What DeepMind Lab's own wheel does when it is imported: it needs three modules and declares none of them.

The stand-in for its engine is put beside this file, see `test_dmlab.py`.
"""

import imp  # noqa: F401

import dm_env  # noqa: F401
import pkg_resources  # noqa: F401

from deepmind_lab.engine import Lab  # noqa: F401
