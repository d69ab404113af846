"""Mitsuba on the CPU, with an LLVM that its compiler likes (17 or newer; 14 to 16 fail on AVX-512 machines)."""

import glob
import os
import re

if "DRJIT_LIBLLVM_PATH" not in os.environ:
    versions = {
        int(version.group(1)): path
        for path in sorted(glob.glob("/usr/lib/*/libLLVM*.so*"))
        if (version := re.search(r"libLLVM\D*(\d+)", path)) and int(version.group(1)) >= 17
    }
    if versions:
        os.environ["DRJIT_LIBLLVM_PATH"] = versions[max(versions)]

import drjit as dr
import mitsuba as mi

mi.set_variant("llvm_ad_rgb")

__all__ = ["dr", "mi"]
