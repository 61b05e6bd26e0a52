"""Builds ONNX models node by node; names of nodes and results follow from their order."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ONNX_TYPES = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "i64": TensorProto.INT64,
              "i8": TensorProto.INT8, "i4": TensorProto.INT4, "e4m3": TensorProto.FLOAT8E4M3FN}
MICROSOFT = "com.microsoft"
NUMPY_TYPES = {"f32": np.float32, "f16": np.float16, "i64": np.int64}


class GraphWriter:
    def __init__(self, dtype="f32", opset=17):
        self.dtype, self.opset = dtype, opset
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.rng = np.random.default_rng(1)

    def input(self, name, dtype, dims):
        self.inputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[dtype], dims))
        return name

    def output(self, name, dtype, dims):
        self.outputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[dtype], dims))

    def add(self, kind, *inputs, outputs=(), **attributes):
        """The node's first result."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs) or [name], name=name, **attributes))
        return self.nodes[-1].output[0]

    def weight(self, *dims, std=0.02, mean=0.0, name=None):
        return self.constant(mean + std * self.rng.standard_normal(dims, dtype=np.float32), name=name)

    def constant(self, value, dtype=None, name=None):
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, NUMPY_TYPES[dtype or self.dtype]), name))
        return name

    def model(self, name):
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.weights)
        domains = [helper.make_opsetid("", self.opset)]
        if any(n.domain for n in self.nodes):
            domains.append(helper.make_opsetid(MICROSOFT, 1))
        return helper.make_model(graph, ir_version=8 if self.opset < 22 else 11, opset_imports=domains)

    def save(self, name, path):
        onnx.save(self.model(name), path)
        return path
