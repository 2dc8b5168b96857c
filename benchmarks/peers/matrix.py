"""The machine's peak of matrix products, in units of 10^9 multiplications and additions per second.

Square matrices that grow as long as a product is quick; the best of all runs, and for int8 the best of the libraries
that PyTorch brings. Where a processor lacks the instructions, bf16 is emulated, and slow.
"""

import os
import time
import warnings

SIZES = (512, 1024, 2048, 4096)
SECONDS = 0.5
QUICK_S = 0.1


def run(source, target, model):  # noqa: ARG001 - it needs nothing but the machine
    """Peaks by number of threads, then by precision."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_grad_enabled(False)
    peaks = {}
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        torch.set_num_threads(threads)
        peaks[threads] = {
            "fp32": find_peak(lambda size: multiply_floats(size, torch.float32)),
            "bf16": find_peak(lambda size: multiply_floats(size, torch.bfloat16)),
            "int8": max(map(find_peak, bytes_by_library())),
        }
    return {"peaks": peaks}


def find_peak(make):
    """The best rate of a product over the sizes; `make` gives a function that multiplies matrices of a size."""
    best = 0.0
    for size in SIZES:
        seconds = time_product(make(size))
        best = max(best, 2 * size**3 / seconds / 1e9)
        if seconds > QUICK_S:
            break
    return best


def time_product(multiply):
    """The seconds of the quickest of at least two runs."""
    spent = []
    while len(spent) < 2 or sum(spent) < SECONDS:
        started = time.perf_counter()
        multiply()
        spent.append(time.perf_counter() - started)
    return min(spent)


def multiply_floats(size, dtype):
    """A product of two matrices of floats."""
    import torch

    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    return lambda: torch.mm(left, right)


def bytes_by_library():
    """Makers of products of bytes: quantized layers in every library that is there, and PyTorch's own product."""
    import torch

    libraries = sorted({"fbgemm", "onednn"} & set(torch.backends.quantized.supported_engines))
    return [
        *(lambda size, library=library: multiply_quantized(size, library) for library in libraries),
        multiply_signed,
    ]


def multiply_quantized(size, library):
    """A product of unsigned with signed bytes, scaled back to bytes."""
    import torch

    torch.backends.quantized.engine = library
    inputs = torch.quantize_per_tensor(torch.rand(size, size), 1 / 255, 0, torch.quint8)
    weights = torch.quantize_per_tensor(torch.rand(size, size) - 0.5, 1 / 255, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(weights, None)
    return lambda: torch.ops.quantized.linear(inputs, packed, 1.0, 0)


def multiply_signed(size):
    """A product of signed bytes with sums of 32 bits."""
    import torch

    matrix = torch.randint(-128, 127, (size, size), dtype=torch.int8)
    return lambda: torch._int_mm(matrix, matrix)
