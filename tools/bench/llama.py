"""A decoder of Llama's form with random weights, bf16 or f32, as an ONNX model with external data: RMSNormalization,
RotaryEmbedding and Attention of opset 24, past and present of every layer as inputs and outputs. Its form "microsoft" has
com.microsoft's GroupQueryAttention and SkipSimplifiedLayerNormalization instead. Weights of the layers' products may be int4
(signed, a scale for each 128 of a row), int8 or fp8 (e4m3; a scale for each row) behind DequantizeLinear.

Inputs ids: i64[batch, sequence] and past_key_<i>, past_value_<i>: bf16[batch, kv_heads, past, head]. Outputs logits of the
last token: f32[batch, 1, vocabulary], and present_…: [batch, kv_heads, past + sequence, head]. The batch is 1 unless the
configuration says otherwise ("batch": any). Without weights only the graph is written, for `weft plan`."""

import io
import os
from dataclasses import asdict, dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from graph_writer import MICROSOFT, ONNX_TYPES, GraphWriter

FORMS = ("standard", "microsoft")
ALIGNMENT = 4096
QUANTISED = {"int4": 4.6, "int8": 74.0, "fp8": 1.0}  # and the deviation of their random elements
CARRIED = {"int4": ("i4", 0.5), "int8": ("i8", 1), "fp8": ("e4m3", 1)}  # their elements' type, and bytes
GROUP = 128  # of int4, along a row
POOL = 1 << 26  # random elements, which all weights share


@dataclass
class Config:
    layers: int = 32
    hidden: int = 4096
    heads: int = 32
    kv_heads: int = 8
    head: int = 128
    ffn: int = 14336
    vocabulary: int = 128256
    positions: int = 8192
    theta: float = 500000.0
    epsilon: float = 1e-5
    batch: int | str = 1
    dtype: str = "bf16"
    std: float = 0.02  # of weights
    weights: str = ""  # of the layers' products: of dtype, or one of QUANTISED

    @staticmethod
    def scaled(layers, hidden, vocabulary):
        """Llama-3-8B's proportions."""
        head = 128 if hidden >= 1024 else 32
        heads = hidden // head
        return Config(layers, hidden, heads, max(1, heads // 4), head, hidden * 7 // 2, vocabulary)

    def bytes_read(self, past):
        """By a decode step: weights less the embedding's table, and the cache."""
        q, kv = self.heads * self.head, self.kv_heads * self.head
        layer = self.hidden * (2 * q + 2 * kv + 3 * self.ffn)
        each = CARRIED[self.weights][1] if self.weights else 2
        if self.weights == "int4":
            each += 2 / GROUP  # scales
        return int(self.layers * (each * layer + 4 * kv * past)) + 2 * self.hidden * self.vocabulary

    def flops(self, tokens):
        """Of a prefill, logits for the last token alone; the causal half of attention."""
        q, kv = self.heads * self.head, self.kv_heads * self.head
        layer = self.hidden * (2 * q + 2 * kv + 3 * self.ffn)
        return 2 * tokens * self.layers * layer + 2 * self.layers * q * tokens * (tokens + 1) + 2 * self.hidden * self.vocabulary


def to_bf16(values):
    """Rounded to nearest, as bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def random_bytes(rng, form, count):
    """Of elements of that form; fp8's are up to 2."""
    elements = rng.integers(0, 256, count, dtype=np.uint8)
    return elements & 0x80 | np.minimum(elements & 0x7F, 0x40) if form == "fp8" else elements


def rotations(c):
    frequency = c.theta ** -(np.arange(0, c.head, 2, dtype=np.float64) / c.head)
    angles = np.outer(np.arange(c.positions), frequency)
    return np.cos(angles), np.sin(angles)


class Llama(GraphWriter):
    """Writes the data file while the graph grows: no more than a pool of random numbers is in memory."""

    def __init__(self, config, path, form="standard", weights=True):
        super().__init__(config.dtype, 24)
        self.config, self.path, self.form, self.filled = config, path, form, weights
        self.places = {}  # name → (offset, dims), for whoever maps the file
        self.at, self.taken = 0, 0
        if not weights:
            return
        size = min(POOL, max(config.hidden * max(config.vocabulary, config.ffn), 1 << 16))
        self.pool = self.elements(config.std * self.rng.standard_normal(size, dtype=np.float32))
        self.bytes = random_bytes(self.rng, config.weights, size)

    def elements(self, values):
        return to_bf16(values) if self.dtype == "bf16" else np.ascontiguousarray(values, np.float32)

    def external(self, name, dims, write, dtype=None):
        """write(file) appends the elements. Small tensors of a file that is not written are part of the model."""
        dtype = dtype or self.dtype
        size = int(np.prod(dims)) * {"bf16": 32, "f32": 64, "i8": 16, "e4m3": 16, "i4": 8}[dtype] // 16
        if not self.filled and size <= 1024:
            data = io.BytesIO()
            write(data)
            self.weights.append(TensorProto(name=name, data_type=ONNX_TYPES[dtype], dims=dims, raw_data=data.getvalue()))
            return name
        offset = self.at + -self.at % ALIGNMENT
        self.at = offset + size
        if self.filled:
            self.file.write(b"\0" * (offset - self.file.tell()))
            write(self.file)
        t = TensorProto(name=name, data_type=ONNX_TYPES[dtype], dims=dims, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self.path.rpartition("/")[2] + ".data"), ("offset", offset), ("length", self.at - offset)):
            t.external_data.add(key=key, value=str(value))
        self.weights.append(t)
        self.places[name] = (offset, list(dims))
        return name

    def random(self, pool, count):
        """write(file) for that many elements of a pool."""
        def write(file):
            left, at = count, self.taken
            while left:
                part = pool[at:at + left]
                file.write(part.data)
                left -= len(part)
                at = 0
            self.taken = (self.taken + 104729) % len(pool)  # the next one begins elsewhere

        return write

    def matrix(self, name, *dims):
        return self.external(name, dims, self.random(self.pool, int(np.prod(dims))) if self.filled else None)

    def quantised(self, name, inputs, outputs):
        """The transpose of what DequantizeLinear gives."""
        weights = self.config.weights
        four = weights == "int4"
        dtype, size = CARRIED[weights]
        elements = self.external(name, (outputs, inputs), self.random(self.bytes, int(inputs * outputs * size)) if self.filled else None, dtype)
        spread = self.rng.uniform(0.5, 1.5, (outputs, inputs // GROUP) if four else (outputs,))
        scale = self.given(f"{name}.scale", self.config.std / QUANTISED[weights] * spread)
        blocks = {"axis": 1, "block_size": GROUP} if four else {"axis": 0}
        return self.add("Transpose", self.add("DequantizeLinear", elements, scale, **blocks), perm=[1, 0])

    def given(self, name, values):
        return self.external(name, values.shape, lambda file: file.write(self.elements(values).tobytes()))

    def norm(self, x, name, size=None):
        return self.add("RMSNormalization", x, self.given(name, np.ones(size or self.config.hidden)), axis=-1, epsilon=self.config.epsilon)

    def add_and_norm(self, x, more, name):
        """x + more, and that normalised."""
        if self.form == "standard":
            x = self.add("Add", x, more)
            return x, self.norm(x, name)
        outputs = [f"{name}.out", "", "", f"{name}.sum"]
        h = self.add("SkipSimplifiedLayerNormalization", x, more, self.given(name, np.ones(self.config.hidden)), outputs=outputs,
                     domain=MICROSOFT, epsilon=self.config.epsilon)
        return outputs[3], h

    def linear(self, x, name, inputs, outputs):
        quantised = self.config.weights and name != "head"
        return self.add("MatMul", x, self.quantised(name, inputs, outputs) if quantised else self.matrix(name, inputs, outputs))

    def length(self, x, axis):
        return self.add("Squeeze", self.add("Shape", x, start=axis, end=axis + 1))

    def cache(self):
        """Names and sizes of a layer's caches: heads, elements of each."""
        return {part: (self.config.kv_heads, self.config.head) for part in ("key", "value")}

    def build(self):
        c = self.config
        with open(self.path + ".data" if self.filled else os.devnull, "wb", buffering=1 << 24) as self.file:
            x = self.add("Gather", self.matrix("embedding", c.vocabulary, c.hidden), self.input("ids", "i64", [c.batch, "sequence"]))
            for i in range(c.layers):
                for part, (heads, head) in self.cache().items():
                    self.input(f"past_{part}_{i}", self.dtype, [c.batch, heads, "past", head])
            cos, sin = rotations(c)
            self.cos, self.sin = self.given("cos", cos), self.given("sin", sin)
            past = self.length("past_key_0", 2)
            end = self.add("Add", past, self.length("ids", 1))
            if self.form == "standard":
                positions = self.add("Range", past, end, self.constant(1, "i64"))
                self.positions = self.add("Unsqueeze", positions, self.constant([0], "i64"))
                if c.batch != 1:
                    self.positions = self.add("Expand", self.positions, self.add("Shape", "ids"))
            else:
                self.total = self.add("Cast", end, to=TensorProto.INT32)
                before = self.add("Sub", end, self.constant(1, "i64"))
                self.last_keys = self.add("Cast", self.add("Unsqueeze", before, self.constant([0], "i64")), to=TensorProto.INT32)
            more = None
            for i in range(c.layers):
                x, more = self.layer(x, more, i)
            x = self.add("Add", x, more)
            last = self.add("Slice", x, self.constant([-1], "i64"), self.constant([2**31 - 1], "i64"), self.constant([1], "i64"))
            logits = self.linear(self.norm(last, "norm"), "head", c.hidden, c.vocabulary)
            self.output(self.add("Cast", logits, outputs=["logits"], to=ONNX_TYPES["f32"]), "f32", [c.batch, 1, c.vocabulary])
            for i in range(c.layers):
                for part, (heads, head) in self.cache().items():
                    self.output(f"present_{part}_{i}", self.dtype, [c.batch, heads, "past+sequence", head])
        model = self.model(type(self).__name__.lower())
        for key, value in asdict(c).items():
            model.metadata_props.add(key=key, value=str(value))
        onnx.save(model, self.path)

    def attend(self, h, i):
        c = self.config
        q, kv = c.heads * c.head, c.kv_heads * c.head
        query, key, value = (self.linear(h, f"{i}.{name}", c.hidden, size) for name, size in (("q", q), ("k", kv), ("v", kv)))
        past, outputs = [f"past_key_{i}", f"past_value_{i}"], [f"mixed_{i}", f"present_key_{i}", f"present_value_{i}"]
        if self.form == "microsoft":
            return self.add("GroupQueryAttention", query, key, value, *past, self.last_keys, self.total, self.cos, self.sin, outputs=outputs,
                            domain=MICROSOFT, num_heads=c.heads, kv_num_heads=c.kv_heads, do_rotary=1)
        query, key = (self.add("RotaryEmbedding", x, self.cos, self.sin, self.positions, num_heads=heads)
                      for x, heads in ((query, c.heads), (key, c.kv_heads)))
        return self.add("Attention", query, key, value, "", *past, outputs=outputs, is_causal=1, q_num_heads=c.heads, kv_num_heads=c.kv_heads)

    def layer(self, x, more, i):
        """What is still to be added to x comes from the layer before, and goes to the next."""
        c = self.config
        x, h = self.add_and_norm(x, more, f"{i}.norm1") if more else (x, self.norm(x, f"{i}.norm1"))
        x, h = self.add_and_norm(x, self.linear(self.attend(h, i), f"{i}.o", c.heads * c.head, c.hidden), f"{i}.norm2")
        gate = self.linear(h, f"{i}.gate", c.hidden, c.ffn)
        inner = self.add("Mul", self.add("Mul", gate, self.add("Sigmoid", gate)), self.linear(h, f"{i}.up", c.hidden, c.ffn))
        return x, self.linear(inner, f"{i}.down", c.ffn, c.hidden)


def write_llama(config, path, form="standard", weights=True):
    """The model at `path`, its data beside it; returns where each weight lies in that file."""
    w = Llama(config, path, form, weights)
    w.build()
    return w.places
