"""Freed memory stays with the process.

Fitting allocates and frees the same picture-sized arrays thousands of times. By default the C library returns
each of them to the system, and getting them back costs a page fault for every 4 KB, which on many machines
(virtual ones above all) takes longer than the arithmetic on them.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt(3)


def keep_freed_memory() -> bool:
    """Tell glibc to serve large arrays from the heap and to keep what is freed. Returns whether it obeyed.

    Call once, before the first large allocation. Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    obeyed = [mallopt(option, value) == 1 for option, value in settings]
    return all(obeyed)
