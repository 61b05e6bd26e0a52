"""Cases in the layout of ONNX's backend tests: <case>/model.onnx and <case>/test_data_set_<k>/{input,output}_<i>.pb, in
the order of the graph's inputs and outputs; and cache folders that hold such cases."""

import fcntl
import os
import shutil
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from environment import say

DTYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64, "tensor(uint32)": np.uint32, "tensor(uint16)": np.uint16, "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_, "tensor(string)": np.object_,
}


def session(model, threads=2):
    """ONNX Runtime over a path or a ModelProto's bytes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def write_value(path, name, value):
    value = np.asarray(value)
    if value.dtype.kind in "US":
        value = value.astype(object)
    with open(path, "wb") as out:
        out.write(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name).SerializeToString())


def write_set(folder, k, inputs, outputs):
    """inputs, outputs: lists of (name, array) in the graph's order."""
    target = os.path.join(folder, f"test_data_set_{k}")
    os.makedirs(target, exist_ok=True)
    for kind, values in (("input", inputs), ("output", outputs)):
        for i, (name, value) in enumerate(values):
            write_value(os.path.join(target, f"{kind}_{i}.pb"), name, value)


def record_set(folder, k, run, feeds):
    """Runs the session `run` on feeds {name: array}, writes set k, and returns the outputs by name."""
    names = [o.name for o in run.get_outputs()]
    outputs = list(zip(names, run.run(names, feeds)))
    write_set(folder, k, [(i.name, feeds[i.name]) for i in run.get_inputs()], outputs)
    return dict(outputs)


def random_feed(spec, dims, rng, low=None, high=None):
    """A value for the session's input `spec`; floats are normal unless a range is given."""
    dtype = DTYPES.get(spec.type)
    if dtype is None:
        raise SystemExit(f"input {spec.name} is {spec.type}: give it a file")
    if dtype is np.object_:
        return np.array([f"s{k}" for k in range(int(np.prod(dims)))], dtype=object).reshape(dims)
    if np.issubdtype(dtype, np.floating):
        values = rng.standard_normal(dims) if low is None else rng.uniform(low, high, dims)
        return values.astype(dtype)
    low, high = (0, 1) if low is None else (int(low), int(high))
    return rng.integers(low, high, dims, endpoint=True).astype(dtype)


@contextmanager
def fresh_folder(final):
    """For <deps>/<name>-<key>: gives a folder to fill, which gets that name when the block ends without an exception, or
    None when another process filled it meanwhile. Folders of older keys are removed. One process at a time."""
    deps, name = os.path.dirname(final), os.path.basename(final).rpartition("-")[0]
    with open(os.path.join(deps, f".{name}.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(final):
            yield None
            return
        for old in os.listdir(deps):
            if old.startswith(f"{name}-"):
                shutil.rmtree(os.path.join(deps, old), ignore_errors=True)
        scratch = f"{final}.tmp"
        os.makedirs(scratch)
        say(f"writing {final}")
        yield scratch
        os.rename(scratch, final)
