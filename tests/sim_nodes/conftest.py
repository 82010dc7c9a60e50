"""Makes `node_play.py` and `node_world.py` importable by the tests beside it (importlib mode puts no test folder on the path)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
