"""Import torchaudio with its compiled extension, on a machine without CUDA.

The published wheels' extension is linked to three libraries of CUDA that its CPU operators never
call. Where they are missing, empty ones with the same names and symbols are compiled by `cc` and
loaded first; a call of one would fail.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import torch  # noqa: F401  the extension's own libraries

RUNTIME = (
    "__cudaRegisterFatBinaryEnd __cudaUnregisterFatBinary __cudaRegisterFunction __cudaRegisterVar "
    "__cudaPushCallConfiguration __cudaPopCallConfiguration __cudaLaunchKernel __cudaGetKernel "
    "cudaGetLastError cudaMemcpyAsync cudaMemset cudaSetDevice"
).split()
TORCH = (
    "torch_c10_cuda_check_msg torch_c10_cuda_free_error_msg torch_cuda_stream_synchronize "
    "torch_get_cuda_stream_from_pool torch_set_current_cuda_stream aoti_torch_get_current_cuda_stream"
).split()
HANDLE = "static void *handle; void **__cudaRegisterFatBinary(void *b) { (void)b; return &handle; }\n"


def compile_library(directory: Path, name: str, source: str, version: str = "") -> None:
    code, script = directory / "empty.c", directory / "empty.map"
    code.write_text(source or "void nothing(void) {}\n")
    command = ["cc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(directory / name), str(code)]
    if version:
        script.write_text(f"{version} {{ global: *; }};\n")
        command.insert(1, f"-Wl,--version-script={script}")
    subprocess.run(command, check=True)
    ctypes.CDLL(str(directory / name), mode=ctypes.RTLD_GLOBAL)


def failing(names: list[str]) -> str:
    return "".join(f"int {name}(void) {{ return 1; }}\n" for name in names)


def load():
    """The torchaudio package, complete."""
    if not torch.cuda.is_available():
        directory = Path(tempfile.mkdtemp(prefix="no-cuda-"))
        compile_library(directory, "libcudart.so.13", HANDLE + failing(RUNTIME), "libcudart.so.13")
        compile_library(directory, "libc10_cuda.so", "")
        compile_library(directory, "libtorch_cuda.so", failing(TORCH))
    import torchaudio

    return torchaudio


torchaudio = load()
