"""Import torchaudio without its compiled extension.

Only `compliance.kaldi` and `functional.resample` are used, and both are pure Python on torch. The
published wheels' extension wants the exact torch they were built for (and CUDA), so this module
makes torchaudio look for its libraries in a directory that has none; it then takes its own "library
file is not found" path.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path


def load():
    """The torchaudio package, Python code unchanged."""
    if "torchaudio" not in sys.modules:
        root = Path(importlib.util.find_spec("torchaudio").origin).parent
        name = "torchaudio._extension.utils"
        spec = importlib.util.spec_from_file_location(name, root / "_extension" / "utils.py")
        utils = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(utils)
        utils._LIB_DIR = Path(tempfile.gettempdir()) / "no-torchaudio-libraries"
        sys.modules[name] = utils
    import torchaudio

    return torchaudio


torchaudio = load()
