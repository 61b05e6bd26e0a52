"""PyTorch's side of the comparison: the models of models.py and llama.py with the same weights, and timing of calls."""

import time

import numpy as np
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import nn

TORCH_TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(call, seconds):
    """As `weft bench --no-transfers` times: the median of single calls that are waited for, and the middle of five
    batches in which none is. In milliseconds."""
    for _ in range(5):
        call()
    wait()
    single, end = [], time.perf_counter() + seconds
    while len(single) < 5 or (time.perf_counter() < end and len(single) < 10000):
        begin = time.perf_counter()
        call()
        wait()
        single.append((time.perf_counter() - begin) * 1e3)
    median = float(np.median(single))
    runs = int(min(max(100 / max(median, 1e-3), 3), 10000))
    means = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(runs):
            call()
        wait()
        means.append((time.perf_counter() - begin) * 1e3 / runs)
    return {"latency_ms": median, "queued_ms": sorted(means)[2]}


def replay_ms(call, runs=100):
    """What replaying `call` as a recorded CUDA graph takes of the calling thread, and of the device."""
    call()
    wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    calling = []
    for _ in range(runs):
        begin = time.perf_counter()
        graph.replay()
        calling.append((time.perf_counter() - begin) * 1e3)
        wait()
    return {"calling_ms": float(np.median(calling)), "queued_ms": device_ms(graph.replay)}


def device_ms(call, runs=20):
    """The middle of five batches, by the device's own clock."""
    if not torch.cuda.is_available():
        return timed(call, 0.05)["queued_ms"]
    for _ in range(3):
        call()
    times = []
    for _ in range(5):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(runs):
            call()
        end.record()
        wait()
        times.append(begin.elapsed_time(end) / runs)
    return sorted(times)[2]


def copy_rate(size):
    """Bytes read and written a second by a copy that reads `size` bytes."""
    x = torch.empty(size, dtype=torch.uint8, device=device()).random_()
    y = torch.empty_like(x)
    return 2 * size / (device_ms(lambda: y.copy_(x)) * 1e-3)


def read_rate(size=1 << 32):
    x = torch.ones(size // 4, device=device())
    return size / (device_ms(lambda: torch.sum(x), 5) * 1e-3)


def matmul_rate(n, dtype=torch.bfloat16):
    a, b = (torch.randn(n, n, device=device(), dtype=dtype) for _ in range(2))
    return 2 * n**3 / (device_ms(lambda: torch.mm(a, b), 5) * 1e-3)


# --- an ONNX model of the operators that image classifiers use --------------------------------------------------------


def _pads(attributes, rank):
    pads = attributes.get("pads", [0] * (2 * rank))
    return [p for k in reversed(range(rank)) for p in (pads[k], pads[k + rank])]


def _pool(x, a, call, fill):
    rank = len(a["kernel_shape"])
    size, strides, pads = a["kernel_shape"], a.get("strides", [1] * rank), _pads(a, rank)
    if any(pads):
        x = F.pad(x, pads, value=fill)
    return call(x, size, strides, ceil_mode=bool(a.get("ceil_mode", 0)))


def _average_pool(x, a):
    pads = _pads(a, 2)
    if any(pads) and not a.get("count_include_pad", 0):
        ones = _pool(torch.ones_like(x), a, F.avg_pool2d, 0.0)
        return _pool(x, a, F.avg_pool2d, 0.0) / ones
    return _pool(x, a, F.avg_pool2d, 0.0)


def _conv(x, w, b, a):
    pads = _pads(a, 2)
    if pads[0] == pads[1] and pads[2] == pads[3]:
        padding = [pads[2], pads[0]]
    else:
        x, padding = F.pad(x, pads), 0
    return F.conv2d(x, w, b, a.get("strides", [1, 1]), padding, a.get("dilations", [1, 1]), a.get("group", 1))


def _gemm(x, w, b, a):
    x = x.t() if a.get("transA", 0) else x
    w = w.t() if a.get("transB", 0) else w
    y = a.get("alpha", 1.0) * (x @ w)
    return y if b is None else y + a.get("beta", 1.0) * b


def _batch_norm(x, scale, bias, mean, variance, a):
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, a.get("epsilon", 1e-5))


def _reshape(x, shape):
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape)])


def _softmax(x, a):
    """Before opset 13: over all dims from the axis on."""
    axis = a.get("axis", 1)
    return F.softmax(x.flatten(axis), -1).reshape(x.shape)


def _unsqueeze(x, a):
    for axis in sorted(a["axes"]):
        x = x.unsqueeze(axis)
    return x


def _lrn(x, a):
    return F.local_response_norm(x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0))


OPERATORS = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": lambda a, x: _average_pool(x, a),
    "BatchNormalization": lambda a, *x: _batch_norm(*x, a),
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Conv": lambda a, x, w, b=None: _conv(x, w, b, a),
    "Dropout": lambda a, x, *_: x,
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gemm": lambda a, x, w, b=None: _gemm(x, w, b, a),
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "LRN": lambda a, x: _lrn(x, a),
    "MaxPool": lambda a, x: _pool(x, a, F.max_pool2d, float("-inf")),
    "Mul": lambda a, x, y: x * y,
    "Relu": lambda a, x: F.relu(x),
    "Softmax": lambda a, x: _softmax(x, a),
    "Sum": lambda a, *x: sum(x[1:], x[0]),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": lambda a, x: _unsqueeze(x, a),
}


class Classifier(nn.Module):
    """Runs the nodes one after the other, images as channels last."""

    def __init__(self, model):
        super().__init__()
        self.weights = nn.ParameterDict()
        self.steps, self.shapes = [], {}
        names = {}
        for t in model.graph.initializer:
            values = numpy_helper.to_array(t)
            if values.dtype == np.int64:
                self.shapes[t.name] = values.tolist()
                continue
            names[t.name] = f"w{len(names)}"
            w = torch.from_numpy(values.copy()).to(device())
            if w.ndim == 4:
                w = w.contiguous(memory_format=torch.channels_last)
            self.weights[names[t.name]] = nn.Parameter(w, requires_grad=False)
        self.names = names
        for node in model.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type != "Reshape" and node.op_type not in OPERATORS:
                raise NotImplementedError(f"{node.op_type} has no counterpart here")
            self.steps.append((node.op_type, attributes, list(node.input), node.output[0]))
        (self.input_name,) = [i.name for i in model.graph.input if i.name not in names and i.name not in self.shapes]
        self.output_name = model.graph.output[0].name

    def forward(self, x):
        values = {self.input_name: x}
        for kind, attributes, inputs, result in self.steps:
            if kind == "Reshape":
                values[result] = _reshape(self.value(values, inputs[0]), self.shapes[inputs[1]])
                continue
            values[result] = OPERATORS[kind](attributes, *(self.value(values, n) for n in inputs))
        return values[self.output_name]

    def value(self, values, name):
        return values[name] if name in values else self.weights[self.names[name]]


# --- transformers ------------------------------------------------------------------------------------------------------


class Transformer(nn.Module):
    """Weights are buffers: CUDA graphs copy other tensors aside in every run."""

    def put(self, name, w, matrix):
        self.register_buffer("w_" + name.replace(".", "_"), w.t().contiguous() if matrix else w)

    def w(self, name):
        return getattr(self, "w_" + name.replace(".", "_"))


class Bert(Transformer):
    """Of models.Bert's weights, as one writes it by hand."""

    def __init__(self, graph, layers, head):
        super().__init__()
        self.layers, self.head = layers, head
        for t in graph.weights:
            w = torch.from_numpy(numpy_helper.to_array(t).copy()).to(device())
            self.put(t.name, w, w.ndim == 2 and t.name.endswith(".w"))

    def linear(self, x, name):
        return F.linear(x, self.w(name + ".w"), self.w(name + ".b"))

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w(name + ".w"), self.w(name + ".b"), 1e-12)

    def forward(self, ids, mask):
        bias = (1.0 - mask[:, None, None, :].to(self.w("words").dtype)) * -10000.0
        x = self.norm(self.w("words")[ids] + self.w("places")[: ids.shape[1]], "norm0")
        batch, length, hidden = x.shape
        for i in range(self.layers):
            q, k, v = (self.linear(x, f"{i}.{n}").view(batch, length, -1, self.head).transpose(1, 2) for n in "qkv")
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
            x = self.norm(self.linear(mixed.transpose(1, 2).reshape(batch, length, hidden), f"{i}.o") + x, f"{i}.norm1")
            x = self.norm(self.linear(F.gelu(self.linear(x, f"{i}.up")), f"{i}.down") + x, f"{i}.norm2")
        return x


class Llama(Transformer):
    """Of the file that llama.write_llama wrote; `capacity`: of its cache, which a step updates in place."""

    def __init__(self, config, places, data, capacity):
        super().__init__()
        self.c = config
        file = np.memmap(data, np.uint16, "c")
        for name, (offset, dims) in places.items():
            size = int(np.prod(dims))
            bits = torch.from_numpy(file[offset // 2:offset // 2 + size].view(np.int16)).view(torch.bfloat16)
            self.put(name, bits.view(dims).to(device(), copy=True), len(dims) == 2 and name not in ("embedding", "cos", "sin"))
        shape = [config.layers, 2, 1, config.kv_heads, capacity, config.head]
        self.register_buffer("cache", torch.zeros(shape, dtype=torch.bfloat16, device=device()))
        self.register_buffer("places", torch.arange(capacity, device=device()))

    def linear(self, x, name):
        return F.linear(x, self.w(name))

    def norm(self, x, name):
        return F.rms_norm(x, x.shape[-1:], self.w(name), self.c.epsilon)

    def heads(self, x, name):
        return self.linear(x, name).view(1, x.shape[1], -1, self.c.head).transpose(1, 2)

    def turn(self, x, positions):
        cos, sin = self.w("cos")[positions], self.w("sin")[positions]
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    def mix(self, q, k, v, i, positions):
        if q.shape[2] > 1:  # a prefill of an empty cache
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        self.cache[i, 0].index_copy_(2, positions, k)
        self.cache[i, 1].index_copy_(2, positions, v)
        seen = (self.places <= positions)[None, None, None]
        return F.scaled_dot_product_attention(q, self.cache[i, 0], self.cache[i, 1], attn_mask=seen, enable_gqa=True)

    def forward(self, ids, positions):
        x = self.w("embedding")[ids]
        for i in range(self.c.layers):
            h = self.norm(x, f"{i}.norm1")
            q, k, v = (self.heads(h, f"{i}.{n}") for n in "qkv")
            mixed = self.mix(self.turn(q, positions), self.turn(k, positions), v, i, positions)
            x = x + self.linear(mixed.transpose(1, 2).reshape(1, ids.shape[1], -1), f"{i}.o")
            h = self.norm(x, f"{i}.norm2")
            x = x + self.linear(F.silu(self.linear(h, f"{i}.gate")) * self.linear(h, f"{i}.up"), f"{i}.down")
        return self.linear(self.norm(x[:, -1:], "norm"), "head").float()
