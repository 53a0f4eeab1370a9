import importlib.util
import os

# Without torch these tests are left out, unless this says that they must run.
if importlib.util.find_spec("torch") is None and not os.environ.get("POTLUCK_REQUIRE_TRAIN"):
    collect_ignore_glob = ["test_*.py"]
