import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from components.training.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
libc, size = ctypes.CDLL(None), 96 << 20
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(6):
    if step == 1:
        before = faults()
    block = libc.malloc(size)
    libc.memset(block, 1, size)
    libc.free(block)
print(faults() - before)
"""


def page_faults(how: str) -> int:
    """Page faults of five blocks of 96 MiB, one after the other, in a process of its own."""
    run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another allocator")
def test_the_next_block_takes_the_pages_of_a_freed_one() -> None:
    assert page_faults("kept") < 100
    assert page_faults("returned") > 1000
