"""Uses ONNX, then weft, then ONNX again, in one process."""

import ctypes
import sys

import onnx

library, path = sys.argv[1:]
onnx.checker.check_model(path)
weft = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
assert weft.compile_and_run(path.encode()) == 0
inferred = onnx.shape_inference.infer_shapes(onnx.load(path))
onnx.checker.check_model(inferred)
assert len(inferred.graph.value_info) > 0
print("both are at work")
