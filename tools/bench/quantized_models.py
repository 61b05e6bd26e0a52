"""Models quantised by ONNX Runtime's own tools, with what they are fed. Weights use 7 bits (reduce_range): the CPU kernels
for machines without VNNI add two products of 8 by 8 bits in 16."""

import logging
import os

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter
from onnxruntime.capi import _pybind_state as native
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import cases
from graph_writer import GraphWriter
from llama import Config, write_llama
from models import Bert

MICROSOFT = "com.microsoft"
logging.getLogger().setLevel(logging.ERROR)  # advice to optimise the model first


class Samples(CalibrationDataReader):
    def __init__(self, feeds):
        self.feeds = iter(feeds)

    def get_next(self):
        return next(self.feeds, None)


def static(path, out, feeds, form, kinds=None):
    quantize_static(path, out, Samples(feeds), quant_format=form, per_channel=True, reduce_range=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=kinds)


def images(name, dims, count, seed):
    rng = np.random.default_rng(seed)
    return [{name: rng.standard_normal(dims, dtype=np.float32)} for _ in range(count)]


def resnet(scratch, filled):
    """Of opset 13: older ones have no scales for each channel."""
    model = onnx.load(os.path.join(filled, "light_resnet50", "model.onnx"))
    initialised = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initialised]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = 8
    path = os.path.join(scratch, "resnet50.onnx")
    onnx.save(version_converter.convert_version(model, 13), path)
    return path, images(inputs[0].name, [d.dim_value for d in inputs[0].type.tensor_type.shape.dim], 3, 1)


def recogniser(scratch, recorded):
    folder = os.path.join(recorded, "rapidocr", "ch_PP-OCRv4_rec_infer")
    model = version_converter.convert_version(onnx.load(os.path.join(folder, "model.onnx")), 13)
    constants = [node for node in model.graph.node if node.op_type == "Constant"]
    for node in constants:  # a bias must be an initialiser
        node.attribute[0].t.name = node.output[0]
        model.graph.initializer.append(node.attribute[0].t)
        model.graph.node.remove(node)
    path = os.path.join(scratch, "recogniser.onnx")
    onnx.save(model, path)
    feeds = []
    for k in range(2):
        with open(os.path.join(folder, f"test_data_set_{k}", "input_0.pb"), "rb") as data:
            feeds.append({model.graph.input[0].name: numpy_helper.to_array(onnx.load_tensor(data))})
    return path, feeds


def bert(scratch):
    path = os.path.join(scratch, "bert.onnx")
    onnx.save(Bert(layers=2, hidden=256, vocabulary=256).model("bert"), path)
    rng, feeds = np.random.default_rng(3), []
    for length in (12, 7):
        ids = rng.integers(0, 256, (2, length))
        mask = np.ones_like(ids)
        mask[1, length - 3:] = 0
        feeds.append({"ids": ids, "mask": mask})
    return path, feeds


def llama(scratch):
    """A prompt and a later step."""
    c = Config(layers=2, hidden=64, heads=8, kv_heads=4, head=16, ffn=128, vocabulary=256, positions=64, std=0.1, dtype="f32")
    path = os.path.join(scratch, "llama.onnx")
    write_llama(c, path, form="microsoft")
    model = four_bits(onnx.load(path))
    rng, feeds = np.random.default_rng(9), []
    for past, length in ((0, 6), (6, 1)):
        cache = {f"past_{part}_{i}": rng.standard_normal((1, c.kv_heads, past, c.head), dtype=np.float32)
                 for i in range(c.layers) for part in ("key", "value")}
        feeds.append({"ids": rng.integers(0, c.vocabulary, (1, length)), **cache})
    onnx.save(model, path)
    return path, feeds


def four_bits(model, block=32):
    """ONNX Runtime's blockwise rounding of every constant matrix that a MatMul has on its right."""
    weights = {t.name: t for t in model.graph.initializer}
    nodes, used = [], set()
    for node in model.graph.node:
        matrix = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if matrix is not None:
            value = numpy_helper.to_array(matrix)
            k, n = value.shape
            blocks = -(-k // block)
            packed, scales = np.zeros((n, blocks, block // 2), np.uint8), np.zeros((n, blocks), np.float32)
            zeros = np.zeros((n, -(-blocks // 2)), np.uint8)
            native.quantize_matmul_4bits(packed, value, scales.reshape(-1), zeros.reshape(-1), block, n, k, False)
            parts = [(packed, "_q4"), (scales, "_scales"), (zeros, "_zeros")]
            model.graph.initializer.extend(numpy_helper.from_array(v, matrix.name + end) for v, end in parts if matrix.name not in used)
            used.add(matrix.name)
            node = helper.make_node("MatMulNBits", [node.input[0], *(matrix.name + end for _, end in parts)], list(node.output), name=node.name,
                                    domain=MICROSOFT, K=k, N=n, bits=4, block_size=block)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    kept = [t for t in model.graph.initializer if t.name not in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    if all(o.domain != MICROSOFT for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return model


class FakeQuantized(GraphWriter):
    """A small network as PyTorch exports one with fake quantisation: weights are floats that the graph itself rounds, and numbers
    of 7 bits are clipped between the pair."""

    def pair(self, x, scale, zero, axis=None, clip=False):
        attributes = {} if axis is None else {"axis": axis}
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(scale, np.float32), name + "_scale"))
        self.weights.append(numpy_helper.from_array(zero, name + "_zero"))
        q = self.add("QuantizeLinear", x, name + "_scale", name + "_zero", **attributes)
        if clip:
            self.weights.extend(numpy_helper.from_array(zero.dtype.type(v), f"{name}_{end}") for v, end in ((0, "least"), (127, "most")))
            q = self.add("Clip", q, name + "_least", name + "_most")
        return self.add("DequantizeLinear", q, name + "_scale", name + "_zero", **attributes)

    def rounded(self, *dims):
        """A weight with a scale for each of its results."""
        value = self.rng.standard_normal(dims).astype(np.float32) / np.sqrt(np.prod(dims[1:]))
        return self.pair(self.constant(value), abs(value).reshape(dims[0], -1).max(1) / 63, np.zeros(dims[0], np.int8), axis=0)

    def build(self):
        x = self.pair(self.input("x", "f32", ["batch", 3, 16, 16]), 0.05, np.uint8(64), clip=True)
        x = self.add("Conv", x, self.rounded(16, 3, 3, 3), self.weight(16), pads=[1, 1, 1, 1])
        x = self.pair(self.add("MaxPool", self.add("Relu", x), kernel_shape=[2, 2], strides=[2, 2]), 0.03, np.uint8(0))
        y = self.add("Conv", x, self.rounded(16, 1, 3, 3), pads=[1, 1, 1, 1], group=16)
        x = self.pair(self.add("Add", self.pair(y, 0.04, np.uint8(120)), x), 0.05, np.uint8(90))
        x = self.pair(self.add("Flatten", self.add("GlobalAveragePool", x)), 0.02, np.uint8(100))
        self.add("Gemm", x, self.rounded(10, 16), self.weight(10), transB=1, outputs=["y"])
        self.output("y", "f32", ["batch", 10])
        return self.model("fake_quantized")


def all_models(scratch, filled, recorded):
    """Gives (name, path, feeds), from what fill_light and record_models wrote."""
    for name, (path, feeds), kinds in (("resnet50", resnet(scratch, filled), None),
                                       ("recogniser", recogniser(scratch, recorded), ["Conv", "MatMul"])):
        for form in (QuantFormat.QDQ, QuantFormat.QOperator):
            out = os.path.join(scratch, f"{name}_{form.name.lower()}.onnx")
            static(path, out, feeds, form, kinds)
            yield f"{name}_{form.name.lower()}", out, feeds[:1]
    path, feeds = bert(scratch)
    out = os.path.join(scratch, "bert_dynamic.onnx")
    quantize_dynamic(path, out, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    yield "bert_dynamic", out, feeds
    yield "llama_4bit", *llama(scratch)
    path = os.path.join(scratch, "fake_quantized.onnx")
    onnx.save(FakeQuantized().build(), path)
    yield "fake_quantized", path, images("x", (5, 3, 16, 16), 1, 4)
