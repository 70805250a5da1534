"""How much memory the C library has given out, to the byte."""

import ctypes
import gc
import re


def in_use() -> int:
    """Returns the bytes that are in use in all arenas of the C library, after Python has collected its garbage."""
    gc.collect()
    library, text, size = ctypes.CDLL(None), ctypes.c_char_p(), ctypes.c_size_t()
    library.open_memstream.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(library.open_memstream(ctypes.byref(text), ctypes.byref(size)))
    library.malloc_info(0, stream)
    library.fclose(stream)
    told = (text.value or b"").decode()
    library.free(text)
    totals = told[told.rindex("</heap>") :]  # of all arenas; before it stands each alone
    free = sum(map(int, re.findall(r'<total type="(?:fast|rest)" count="\d+" size="(\d+)"', totals)))
    taken = re.findall(r'<(?:system type="current"|total type="mmap" count="\d+") size="(\d+)"', totals)
    return sum(map(int, taken)) - free
