"""train_digits.py DIGITS.csv.gz FOLDER: trains an MLP and a CNN on scikit-learn's handwritten digits with NumPy alone, and writes
FOLDER/{mlp,cnn}.onnx, and FOLDER/{mlp,cnn}-data/digits.npz, images and labels that no training has seen. The same on every run."""
import gzip
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
table = np.loadtxt(gzip.open(sys.argv[1]), delimiter=",", dtype=np.float32)
table = table[rng.permutation(len(table))]
images, labels = table[:, :-1] / 16, table[:, -1].astype(np.int64)
TRAIN = 1000


def patches(x):
    """[n, c, h, w] to [n, h, w, c * 9], padded by one."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(*windows.shape[:1], *windows.shape[2:4], -1)


def unpatch(g, channels):
    """The gradient of patches()."""
    n, h, w, _ = g.shape
    g = g.reshape(n, h, w, channels, 3, 3)
    out = np.zeros((n, channels, h + 2, w + 2), np.float32)
    for i in range(3):
        for j in range(3):
            out[:, :, i:i + h, j:j + w] += g[..., i, j].transpose(0, 3, 1, 2)
    return out[:, :, 1:-1, 1:-1]


def pool(x):
    """Largest of 2 x 2, and where it was."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    return blocks.max(-1), blocks.argmax(-1)


def unpool(g, where):
    n, c, h, w = g.shape
    blocks = np.zeros((n, c, h, w, 4), np.float32)
    np.put_along_axis(blocks, where[..., None], g[..., None], -1)
    return blocks.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h * 2, w * 2)


class Network:
    """Convolutions 3 x 3 with ReLU and pooling, then dense layers with ReLU between them."""

    def __init__(self, convs, denses):
        self.convs = [[(rng.standard_normal((i * 9, o)) * np.sqrt(2 / (i * 9))).astype(np.float32), np.zeros(o, np.float32)] for i, o in convs]
        self.denses = [[(rng.standard_normal((i, o)) * np.sqrt(2 / i)).astype(np.float32), np.zeros(o, np.float32)] for i, o in denses]
        self.moments = [[np.zeros_like(p), np.zeros_like(p)] for layer in self.convs + self.denses for p in layer]
        self.steps = 0

    def train(self, x, y, rate):
        kept = []
        for w, b in self.convs:
            p = patches(x)
            z = p @ w + b
            x, where = pool(np.maximum(z, 0).transpose(0, 3, 1, 2))
            kept.append((p, z, where))
        shape, x, inputs = x.shape, x.reshape(len(x), -1), []
        for i, (w, b) in enumerate(self.denses):
            inputs.append(x)
            x = x @ w + b
            if i + 1 < len(self.denses):
                x = np.maximum(x, 0)
        p = np.exp(x - x.max(1, keepdims=True))
        g = p / p.sum(1, keepdims=True)
        g[np.arange(len(y)), y] -= 1
        g /= len(y)
        dense_gradients, conv_gradients = [], []
        for i in reversed(range(len(self.denses))):
            w, _ = self.denses[i]
            dense_gradients.insert(0, [inputs[i].T @ g, g.sum(0)])
            g = g @ w.T
            if i:
                g *= inputs[i] > 0
        g = g.reshape(shape)
        for (w, _), (p, z, where) in reversed(list(zip(self.convs, kept))):
            g = unpool(g, where).transpose(0, 2, 3, 1) * (z > 0)
            conv_gradients.insert(0, [p.reshape(-1, p.shape[-1]).T @ g.reshape(-1, g.shape[-1]), g.sum((0, 1, 2))])
            g = unpatch(g @ w.T, p.shape[-1] // 9)
        self.step(conv_gradients + dense_gradients, rate)

    def step(self, gradients, rate):  # Adam
        self.steps += 1
        flat = [(p, g) for layer, of in zip(self.convs + self.denses, gradients) for p, g in zip(layer, of)]
        for (p, g), m in zip(flat, self.moments):
            m[0] += 0.1 * (g - m[0])
            m[1] += 0.001 * (g * g - m[1])
            p -= rate * (m[0] / (1 - 0.9**self.steps)) / (np.sqrt(m[1] / (1 - 0.999**self.steps)) + 1e-8)

    def onnx(self, dims):
        nodes, constants, x = [], {}, "x"
        for i, (w, b) in enumerate(self.convs):
            constants[f"conv{i}.w"], constants[f"conv{i}.b"] = w.T.reshape(w.shape[1], -1, 3, 3), b
            nodes.append(helper.make_node("Conv", [x, f"conv{i}.w", f"conv{i}.b"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]))
            nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
            nodes.append(helper.make_node("MaxPool", [f"r{i}"], [f"p{i}"], kernel_shape=[2, 2], strides=[2, 2]))
            x = f"p{i}"
        if self.convs:
            nodes.append(helper.make_node("Flatten", [x], ["flat"]))
            x = "flat"
        for i, (w, b) in enumerate(self.denses):
            constants[f"dense{i}.w"], constants[f"dense{i}.b"] = w, b
            out = "y" if i + 1 == len(self.denses) else f"d{i}"
            nodes.append(helper.make_node("Gemm", [x, f"dense{i}.w", f"dense{i}.b"], [out], f"dense{i}"))
            if out != "y":
                nodes.append(helper.make_node("Relu", [out], [out + "r"]))
            x = out + "r"
        info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", *d]) for n, d in (("x", dims), ("y", [10]))]
        weights = [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items()]
        model = helper.make_model(helper.make_graph(nodes, "digits", info[:1], info[1:], weights), opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model


def make(name, network, x, dims, folder, epochs):
    for epoch in range(epochs):
        order = rng.permutation(TRAIN)
        for at in range(0, TRAIN, 50):
            rows = order[at:at + 50]
            network.train(x[rows], labels[rows], 0.003 * (1 - epoch / epochs))
    onnx.save(network.onnx(dims), folder / f"{name}.onnx")
    data = folder / f"{name}-data"
    data.mkdir(exist_ok=True)
    np.savez(data / "digits.npz", x=x[TRAIN:], labels=labels[TRAIN:])


out = pathlib.Path(sys.argv[2])
make("mlp", Network([], [(64, 64), (64, 32), (32, 10)]), images, [64], out, 30)
make("cnn", Network([(1, 16), (16, 32)], [(128, 10)]), images.reshape(-1, 1, 8, 8), [1, 8, 8], out, 12)
