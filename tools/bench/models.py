"""Models with random weights: BERT, ViT, ResNet-50, an MLP, and one-op models that only move memory."""

import math

import numpy as np
from graph_writer import ONNX_TYPES, GraphWriter

HEAD = 64  # of encoders


class Encoder(GraphWriter):
    """Attention and GELU are chains of ONNX operators, as exporters write them."""

    epsilon = 1e-12

    def linear(self, x, name, inputs, outputs):
        product = self.add("MatMul", x, self.weight(inputs, outputs, name=name + ".w"))
        return self.add("Add", product, self.weight(outputs, name=name + ".b"))

    def norm(self, x, name):
        scale = self.weight(self.hidden, mean=1.0, name=name + ".w")
        return self.add("LayerNormalization", x, scale, self.weight(self.hidden, name=name + ".b"), epsilon=self.epsilon)

    def gelu(self, x):
        erf = self.add("Erf", self.add("Div", x, self.constant(np.sqrt(2.0))))
        return self.add("Mul", self.add("Mul", x, self.add("Add", erf, self.constant(1.0))), self.constant(0.5))

    def heads(self, x, perm):
        split = self.add("Reshape", x, self.constant([0, 0, self.hidden // HEAD, HEAD], "i64"))
        return self.add("Transpose", split, perm=perm)

    def attend(self, x, bias, name):
        h = self.hidden
        q = self.heads(self.linear(x, name + "q", h, h), [0, 2, 1, 3])
        k = self.heads(self.linear(x, name + "k", h, h), [0, 2, 3, 1])
        v = self.heads(self.linear(x, name + "v", h, h), [0, 2, 1, 3])
        scores = self.add("Div", self.add("MatMul", q, k), self.constant(np.sqrt(HEAD)))
        weights = self.add("Softmax", self.add("Add", scores, bias) if bias else scores, axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", weights, v), perm=[0, 2, 1, 3])
        return self.linear(self.add("Reshape", mixed, self.constant([0, 0, h], "i64")), name + "o", h, h)

    def unit(self, x, name):
        return self.linear(self.gelu(self.linear(x, name + "up", self.hidden, 4 * self.hidden)), name + "down", 4 * self.hidden, self.hidden)


class Bert(Encoder):
    def __init__(self, layers=12, hidden=768, vocabulary=30522, dtype="f32"):
        super().__init__(dtype)
        self.hidden = hidden
        for name in ("ids", "mask"):
            self.input(name, "i64", ["batch", "sequence"])
        bias, x = self.mask_bias(), self.embed(vocabulary)
        for i in range(layers):
            x = self.norm(self.add("Add", self.attend(x, bias, f"{i}."), x), f"{i}.norm1")
            x = self.norm(self.add("Add", self.unit(x, f"{i}."), x), f"{i}.norm2")
        self.output(self.add("Identity", x, outputs=["out"]), dtype, ["batch", "sequence", hidden])

    def embed(self, vocabulary):
        """Of the tokens and of their places, up to 512."""
        words = self.add("Gather", self.weight(vocabulary, self.hidden, name="words"), "ids")
        length = self.add("Slice", self.add("Shape", "ids"), self.constant([1], "i64"), self.constant([2], "i64"))
        places = self.add("Slice", self.weight(512, self.hidden, name="places"), self.constant([0], "i64"), length)
        return self.norm(self.add("Add", words, places), "norm0")

    def mask_bias(self):
        mask = self.add("Cast", self.add("Unsqueeze", "mask", self.constant([1, 2], "i64")), to=ONNX_TYPES[self.dtype])
        return self.add("Mul", self.add("Sub", self.constant(1.0), mask), self.constant(-10000.0))


class Vit(Encoder):
    epsilon = 1e-6

    def __init__(self, layers=12, hidden=768, image=224, patch=16, classes=1000, dtype="f32"):
        super().__init__(dtype)
        self.hidden = hidden
        pixels = self.input("x", dtype, ["batch", 3, image, image])
        std = 1 / math.sqrt(3 * patch * patch)
        x = self.add("Conv", pixels, self.weight(hidden, 3, patch, patch, std=std), self.weight(hidden), kernel_shape=[patch] * 2, strides=[patch] * 2)
        x = self.add("Transpose", self.add("Reshape", x, self.constant([0, hidden, -1], "i64")), perm=[0, 2, 1])
        x = self.add("Add", x, self.weight((image // patch) ** 2, hidden, name="places"))
        for i in range(layers):
            x = self.add("Add", self.attend(self.norm(x, f"{i}.norm1"), None, f"{i}."), x)
            x = self.add("Add", self.unit(self.norm(x, f"{i}.norm2"), f"{i}."), x)
        x = self.add("ReduceMean", self.norm(x, "norm"), axes=[1], keepdims=0)
        self.output(self.add("Identity", self.linear(x, "head", hidden, classes), outputs=["out"]), dtype, ["batch", classes])


class Mlp(GraphWriter):
    def __init__(self, layers=4, width=4096, dtype="f32"):
        super().__init__(dtype)
        x = self.input("x", dtype, ["batch", width])
        std = math.sqrt(2 / width)
        for i in range(layers):
            x = self.add("Gemm", x, self.weight(width, width, std=std, name=f"{i}.w"), self.weight(width, name=f"{i}.b"))
            x = self.add("Relu", x) if i + 1 < layers else self.add("Identity", x, outputs=["out"])
        self.output(x, dtype, ["batch", width])


class ResNet50(GraphWriter):
    """`width`: channels of the first stage, 64 in the original."""

    def __init__(self, dtype="f32", width=64, blocks=(3, 4, 6, 3), image=224):
        super().__init__(dtype)
        self.input("x", dtype, ["batch", 3, image, image])
        x = self.add("MaxPool", self.conv("x", 3, width, 7, 2), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        channels = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                x = self.bottleneck(x, channels, width << stage, 2 if stage and not block else 1)
                channels = 4 * (width << stage)
        x = self.add("Flatten", self.add("GlobalAveragePool", x))
        std = 1 / math.sqrt(channels)
        self.output(self.add("Gemm", x, self.weight(channels, 1000, std=std), self.weight(1000), outputs=["out"]), dtype, ["batch", 1000])

    def conv(self, x, inputs, outputs, size, stride=1, relu=True, branch=False):
        """Convolution and batch normalisation with plausible statistics; branches that are added to others weigh less."""
        std = math.sqrt(2 / (inputs * size * size))
        x = self.add("Conv", x, self.weight(outputs, inputs, size, size, std=std), kernel_shape=[size, size],
                     strides=[stride, stride], pads=[size // 2] * 4)
        low, high = (0.2, 0.6) if branch else (0.7, 1.3)
        scale, variance = self.rng.uniform(low, high, outputs), self.rng.uniform(0.5, 1.5, outputs)
        x = self.add("BatchNormalization", x, self.constant(scale), self.weight(outputs, std=0.1), self.weight(outputs, std=0.1),
                     self.constant(variance))
        return self.add("Relu", x) if relu else x

    def bottleneck(self, x, inputs, width, stride):
        y = self.conv(self.conv(x, inputs, width, 1), width, width, 3, stride)
        y = self.conv(y, width, 4 * width, 1, relu=False, branch=True)
        if inputs != 4 * width:
            x = self.conv(x, inputs, 4 * width, 1, stride, relu=False)
        return self.add("Relu", self.add("Add", x, y))


def _chain(w, x):
    """GELU by tanh: nine nodes, one read and one write."""
    cube = w.add("Mul", w.add("Mul", x, x), x)
    inner = w.add("Mul", w.add("Add", x, w.add("Mul", cube, w.constant(0.044715))), w.constant(0.7978845608))
    return w.add("Mul", w.add("Mul", x, w.constant(0.5)), w.add("Add", w.add("Tanh", inner), w.constant(1.0)))


def _norm(w, x, columns):
    return w.add("LayerNormalization", x, w.weight(columns, mean=1.0), w.weight(columns), epsilon=1e-5)


def _rms(w, x, columns):
    mean = w.add("ReduceMean", w.add("Mul", x, x), axes=[-1], keepdims=1)
    root = w.add("Sqrt", w.add("Add", mean, w.constant(1e-5)))
    return w.add("Mul", w.add("Div", x, root), w.weight(columns, mean=1.0))


def _reduce(kind, axes):
    return lambda w, x: w.add(kind, x, w.constant(axes, "i64"), keepdims=0) if kind == "ReduceSum" else w.add(kind, x, axes=axes, keepdims=0)


def bandwidth_cases(mib):
    """Name → (dtype, dims of each input, what makes the result of the inputs); each input has `mib` MiB."""
    k = mib / 256

    def rows(columns, size):
        return [max(1, int(mib * 2**20) // (size * columns)), columns]

    side = max(32, int(8192 * math.sqrt(k)) // 32 * 32)
    image = [max(1, int(64 * k)), 64, 128, 128]
    return {
        "relu f32": ("f32", [rows(1024, 4)], lambda w, x: w.add("Relu", x)),
        "gelu chain f32": ("f32", [rows(1024, 4)], _chain),
        "gelu chain f16": ("f16", [rows(1024, 2)], _chain),
        "a*b+c f32": ("f32", [rows(1024, 4)] * 3, lambda w, a, b, c: w.add("Add", w.add("Mul", a, b), c)),
        "row bias, relu f16": ("f16", [rows(4096, 2)], lambda w, x: w.add("Relu", w.add("Add", x, w.weight(4096)))),
        "sum of rows f32": ("f32", [rows(1024, 4)], _reduce("ReduceSum", [1])),
        "sum of columns f32": ("f32", [rows(1024, 4)], _reduce("ReduceSum", [0])),
        "max of all f32": ("f32", [rows(1024, 4)], _reduce("ReduceMax", [0, 1])),
        "mean of channels f32": ("f32", [image], _reduce("ReduceMean", [0, 2, 3])),
        "softmax 1024 f32": ("f32", [rows(1024, 4)], lambda w, x: w.add("Softmax", x, axis=-1)),
        "softmax 4096 f16": ("f16", [rows(4096, 2)], lambda w, x: w.add("Softmax", x, axis=-1)),
        "softmax 128256 f32": ("f32", [rows(128256, 4)], lambda w, x: w.add("Softmax", x, axis=-1)),
        "layernorm 1024 f32": ("f32", [rows(1024, 4)], lambda w, x: _norm(w, x, 1024)),
        "layernorm 4096 f16": ("f16", [rows(4096, 2)], lambda w, x: _norm(w, x, 4096)),
        "rmsnorm 4096 f32": ("f32", [rows(4096, 4)], lambda w, x: _rms(w, x, 4096)),
        "transpose f32": ("f32", [[side, side]], lambda w, x: w.add("Transpose", x, perm=[1, 0])),
        "transpose f16": ("f16", [[side, 2 * side]], lambda w, x: w.add("Transpose", x, perm=[1, 0])),
        "NCHW to NHWC f32": ("f32", [image], lambda w, x: w.add("Transpose", x, perm=[0, 2, 3, 1])),
        "heads forward f16": ("f16", [[max(1, int(32 * k)), 1024, 32, 128]], lambda w, x: w.add("Transpose", x, perm=[0, 2, 1, 3])),
    }


def chain_of_products(count, size):
    """As many kernels as products: none can be fused with the next."""
    w = GraphWriter("f32")
    x = w.input("x", "f32", [size, size])
    for _ in range(count):
        x = w.add("MatMul", x, w.weight(size, size, std=size**-0.5))
    w.output(x, "f32", None)
    return w


def bandwidth_model(case):
    dtype, inputs, build = case
    w = GraphWriter(dtype)
    names = [w.input(f"x{i}", dtype, dims) for i, dims in enumerate(inputs)]
    w.output(build(w, *names), dtype, None)
    return w
