"""Models of one node each, for ONNX Runtime's quantised operators. Weights of 8 bits use 7 of them: the CPU kernels for
machines without VNNI add two products of 8 by 8 bits in 16."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
INT4 = {"i4": TensorProto.INT4, "u4": TensorProto.UINT4}


class Feed:
    """An operand that is an input of the graph; all others are initialisers, None is an absent one."""

    def __init__(self, value):
        self.value = value


class Packed:
    """An initialiser of 4-bit integers."""

    def __init__(self, value, dtype):
        self.value, self.dtype = np.asarray(value), INT4[dtype]

    def tensor(self, name):
        return helper.make_tensor(name, self.dtype, self.value.shape, self.value.flatten().tolist())


def one_node(kind, operands, results=1, domain=MICROSOFT, opset=21, softmax=13, back=False, **attributes):
    """The model, and what its inputs are fed. back: the result of QuantizeLinear is dequantised again."""
    names, inputs, weights, feeds = [], [], [], {}
    for k, operand in enumerate(operands):
        name = "" if operand is None else f"x{k}"
        names.append(name)
        if isinstance(operand, Feed):
            value = np.asarray(operand.value)
            feeds[name] = value
            inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))
        elif isinstance(operand, Packed):
            weights.append(operand.tensor(name))
        elif isinstance(operand, TensorProto):
            operand.name = name
            weights.append(operand)
        elif operand is not None:
            weights.append(numpy_helper.from_array(np.asarray(operand), name))
    if kind == "QLinearSoftmax":
        attributes["opset"] = softmax
    outputs = [f"y{k}" for k in range(results)]
    nodes = [helper.make_node(kind, names, outputs, domain=domain, **attributes)]
    if back:
        same = {name: value for name, value in attributes.items() if name in ("axis", "block_size")}
        nodes.append(helper.make_node("DequantizeLinear", ["y0", *names[1:]], ["back"], **same))
        outputs = ["back"]
    # ONNX Runtime finds the outputs' types itself.
    graph = helper.make_graph(nodes, kind, inputs, [onnx.ValueInfoProto(name=name) for name in outputs], weights)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, ir_version=10, opset_imports=domains), feeds


RNG = np.random.default_rng(17)
F32, U8, I8, I32 = np.float32, np.uint8, np.int8, np.int32


def integers(dtype, *dims, low=None, high=None):
    info = np.iinfo(dtype)
    low, high = info.min if low is None else low, info.max if high is None else high
    return RNG.integers(low, high, dims, dtype, endpoint=True)


def weights(*dims, dtype=I8):
    return integers(dtype, *dims, low=-63 if dtype == I8 else 0, high=63 if dtype == I8 else 127)


def normal(*dims, std=1.0):
    return (std * RNG.standard_normal(dims)).astype(F32)


def positive(*dims, low=0.5, high=1.5):
    return RNG.uniform(low, high, dims).astype(F32)


def scale(value):
    return np.array(value, F32)


def pointwise():
    a, b, row = integers(U8, 3, 4, 37), integers(U8, 3, 4, 37), integers(U8, 4, 1)
    for kind, out in (("QLinearAdd", 0.031), ("QLinearMul", 0.011)):
        yield kind.lower(), one_node(kind, [Feed(a), scale(0.021), U8(117), Feed(b), scale(0.013), U8(131), scale(out), U8(125)])
        yield f"{kind.lower()}_row", one_node(kind, [Feed(a), scale(0.021), U8(117), row, scale(0.013), U8(3), scale(out), U8(99)])
    x = integers(I8, 2, 3, 29)
    yield "qlinearadd_i8", one_node("QLinearAdd", [Feed(x), scale(0.02), I8(0), Feed(x[:, :1]), scale(0.015), I8(-9), scale(0.03), I8(4)])
    yield "qlinearsigmoid", one_node("QLinearSigmoid", [Feed(a), scale(0.05), U8(120), scale(1 / 256), U8(0)])
    yield "qlinearsigmoid_i8", one_node("QLinearSigmoid", [Feed(x), scale(0.04), None, scale(1 / 200), I8(-100)])
    yield "qlinearleakyrelu", one_node("QLinearLeakyRelu", [Feed(a), scale(0.05), U8(120), scale(0.04), U8(20)], alpha=0.2)
    yield "qlinearleakyrelu_i8", one_node("QLinearLeakyRelu", [Feed(x), scale(0.05), I8(-3), scale(0.05), I8(1)])
    condition = RNG.integers(0, 2, (3, 4, 1)).astype(bool)
    yield "qlinearwhere", one_node("QLinearWhere", [Feed(condition), Feed(a), scale(0.021), U8(117), Feed(b), scale(0.013), U8(131),
                                                    scale(0.025), U8(125)])
    parts = [part for k in range(3) for part in (Feed(integers(U8, 2, k + 1, 5)), scale(0.01 * (k + 1)), U8(100 + 9 * k))]
    yield "qlinearconcat", one_node("QLinearConcat", [scale(0.025), U8(119), *parts], axis=1)


def rows_and_windows():
    x, y = integers(U8, 2, 5, 23), integers(I8, 2, 3, 9, 11)
    for opset, axis in ((13, -1), (13, 1), (11, 1), (11, 2)):
        yield f"qlinearsoftmax_{opset}_{axis % 3}", one_node("QLinearSoftmax", [Feed(x), scale(0.06), U8(128), scale(1 / 256), U8(0)],
                                                             softmax=opset, axis=axis)
    yield "qlinearsoftmax_i8", one_node("QLinearSoftmax", [Feed(y), scale(0.03), I8(2), scale(1 / 256), I8(-128)])
    last = np.ascontiguousarray(y.transpose(0, 2, 3, 1))
    for name, value, channels_last in (("", y, 0), ("_nhwc", last, 1)):
        tail = dict(channels_last=channels_last)
        yield "qlinearglobalaveragepool" + name, one_node("QLinearGlobalAveragePool", [Feed(value), scale(0.04), I8(3), scale(0.01), I8(-7)], **tail)
        for pad in (0, 1):
            yield f"qlinearaveragepool{name}_{pad}", one_node(
                "QLinearAveragePool", [Feed(value), scale(0.04), I8(3), scale(0.02), I8(-7)], kernel_shape=[3, 2], strides=[2, 2],
                pads=[1, 0, 1, 1], count_include_pad=pad, **tail)
    yield "nhwcmaxpool", one_node("NhwcMaxPool", [Feed(last)], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    image, filters = integers(U8, 1, 8, 9, 6), weights(10, 6, 3, 3)
    yield "qlinearconv_nhwc", one_node(
        "QLinearConv", [Feed(image), scale(0.02), U8(121), filters, positive(10, low=0.004, high=0.01), np.zeros(10, I8), scale(0.05), U8(128),
                        integers(I32, 10, low=-3000, high=3000)], channels_last=1, pads=[1, 1, 1, 1], strides=[2, 1])


def products():
    a = integers(U8, 2, 7, 40)
    b, columns = weights(40, 24), positive(24, low=0.004, high=0.01)
    bias = normal(24)
    yield "matmulintegertofloat", one_node("MatMulIntegerToFloat", [Feed(a), b, scale(0.02), columns, U8(119), None, bias])
    zeros = weights(24)
    yield "matmulintegertofloat_zeros", one_node("MatMulIntegerToFloat", [Feed(a), b, scale(0.02), columns, U8(119), zeros])
    yield "matmulintegertofloat_u8", one_node("MatMulIntegerToFloat", [Feed(a[0]), weights(40, 24, dtype=U8), scale(0.02), scale(0.01), U8(119), U8(64)])
    x = normal(2, 7, 40)
    yield "dynamicquantizematmul", one_node("DynamicQuantizeMatMul", [Feed(x), b, columns, zeros, bias])
    yield "dynamicquantizematmul_u8", one_node("DynamicQuantizeMatMul", [Feed(x), weights(40, 24, dtype=U8), scale(0.01), U8(60)])
    c = integers(I32, 24, low=-5000, high=5000)
    yield "qgemm", one_node("QGemm", [Feed(a[0]), scale(0.02), U8(119), b, columns, np.zeros(24, I8), c, scale(0.05), U8(127)])
    yield "qgemm_transposed", one_node("QGemm", [Feed(np.ascontiguousarray(a[0].T)), scale(0.02), U8(119), np.ascontiguousarray(b.T), scale(0.007),
                                                 I8(5), c, scale(0.05), U8(127)], transA=1, transB=1, alpha=0.5)
    yield "qgemm_float", one_node("QGemm", [Feed(a[0]), scale(0.02), U8(119), b, columns, zeros, None, None, None], alpha=2.0)


def networks():
    x, w = integers(U8, 2, 5, 32), weights(32, 3 * 24)
    columns, bias = positive(72, low=0.004, high=0.01), normal(72)
    head = [Feed(x), w, bias, scale(0.03), columns]
    yield "qattention", one_node("QAttention", [*head, None, U8(120), np.zeros(72, I8)], num_heads=4)
    yield "qattention_mask", one_node("QAttention", [*head, Feed(np.array([3, 5], I32)), U8(120), np.zeros(72, I8)], num_heads=4)
    yield "qattention_starts", one_node("QAttention", [*head, Feed(np.array([3, 5, 0, 1], I32)), U8(120), np.zeros(72, I8)], num_heads=4)
    keep = RNG.integers(0, 2, (2, 5, 5)).astype(I32) | np.eye(5, dtype=I32)
    yield "qattention_mask_3d", one_node("QAttention", [*head, Feed(keep), U8(120), np.zeros(72, I8)], num_heads=4, scale=0.3)
    past = normal(2, 2, 4, 3, 6)
    yield "qattention_past", one_node("QAttention", [Feed(x), w, bias, scale(0.03), scale(0.008), None, U8(120), I8(3), Feed(past)], 2,
                                      num_heads=4, unidirectional=1)
    ids, segments, mask = integers(I32, 2, 6, low=0, high=30), integers(I32, 2, 6, low=0, high=1), np.array([[1] * 6, [1] * 4 + [0] * 2], I32)
    tables = [weights(31, 16, dtype=U8), weights(6, 16, dtype=U8), weights(2, 16, dtype=U8), weights(16, dtype=U8), weights(16, dtype=U8)]
    scales, zeros = [scale(0.01 * (k + 2)) for k in range(5)], [U8(50 + k) for k in range(5)]
    yield "qembedlayernormalization", one_node("QEmbedLayerNormalization", [Feed(ids), Feed(segments), *tables, Feed(mask), *scales, *zeros], 2)
    left = [None if k == 2 else t for k, t in enumerate(tables)], [None if k == 2 else s for k, s in enumerate(scales)]
    yield "qembedlayernormalization_plain", one_node(
        "QEmbedLayerNormalization", [Feed(ids), None, *left[0], None, *left[1], *[None if k == 2 else z for k, z in enumerate(zeros)]], 2)
    steps = normal(6, 2, 12)
    for directions, direction in ((1, "forward"), (2, "bidirectional")):
        gates = [weights(directions, 12, 64), weights(directions, 16, 64), normal(directions, 128, std=0.1)]
        last = [positive(directions, low=0.004, high=0.006), np.zeros(directions, I8), positive(directions, 64, low=0.004, high=0.006),
                np.zeros((directions, 64), I8)]
        if directions == 2:  # scales are of one form
            last[0], last[1] = positive(directions, 64, low=0.004, high=0.006), np.zeros((directions, 64), I8)
        else:
            last[2], last[3] = positive(directions, low=0.004, high=0.006), np.zeros(directions, I8)
        lengths = np.array([6, 4], I32) if directions == 2 else None
        yield f"dynamicquantizelstm_{direction}", one_node("DynamicQuantizeLSTM", [Feed(steps), *gates, lengths, None, None, None, *last], 3,
                                                           direction=direction, hidden_size=16)
    gates = [weights(1, 12, 64), weights(1, 16, 64), None]
    last = [positive(1, low=0.004, high=0.006), np.zeros(1, I8)] * 2
    first = [None, Feed(normal(1, 2, 16)), Feed(normal(1, 2, 16)), normal(1, 48, std=0.1)]
    yield "dynamicquantizelstm_reverse", one_node("DynamicQuantizeLSTM", [Feed(steps), *gates, *first, *last], 3, direction="reverse",
                                                  hidden_size=16, clip=3.0)


def caches():
    """Attention over keys and values of 8 and 4 bits: a later token, several, and a prompt whose cache has room for more."""
    heads, kv_heads, head = 4, 2, 8
    for bits in (8, 4):
        for kind in ("PER_TENSOR", "PER_CHANNEL"):
            scales = [scale(0.03).reshape(1) if kind == "PER_TENSOR" else positive(1, kv_heads, 1, head, low=0.02, high=0.04) for _ in range(2)]
            scales = [s if bits == 8 else s * scale(16) for s in scales]
            for past, new, room in ((3, 1, 0), (3, 2, 0), (6, 4, 6)):
                rows = [Feed(normal(1, new, n * head)) for n in (heads, kv_heads, kv_heads)]
                dims = (1, kv_heads, past, head * bits // 8)
                dtype = I8 if bits == 8 else U8
                old = [Feed(np.zeros(dims, dtype) if room else integers(dtype, *dims)) for _ in range(2)]
                seen = new if room else past + new
                yield f"cache_{bits}_{kind.lower()}_{past}_{new}", one_node(
                    "GroupQueryAttention", [*rows, *old, np.array([seen - 1], I32), np.array(seen, I32), *[None] * 5, *scales], 3, num_heads=heads,
                    kv_num_heads=kv_heads, k_quant_type=kind, v_quant_type=kind, kv_cache_bit_width=bits)


def packed_bits(values, bits):
    """Numbers below 2 ** bits along the last dim as bytes, the first in the low bits; the last byte is filled with 0."""
    per = 8 // bits
    rest = -values.shape[-1] % per
    values = np.concatenate([values, np.zeros((*values.shape[:-1], rest), values.dtype)], -1)
    values = values.reshape(*values.shape[:-1], -1, per).astype(np.uint32)
    return (values << (bits * np.arange(per, dtype=np.uint32))).sum(-1).astype(U8)


def packed_products():
    n = 20
    for bits, block, k in ((4, 32, 96), (4, 16, 56), (8, 32, 64), (2, 32, 64)):
        blocks = -(-k // block)
        x, b = normal(3, k), packed_bits(RNG.integers(0, 1 << bits, (n, blocks, block)), bits)
        scales, zeros = positive(n, blocks, low=0.01, high=0.05), RNG.integers(0, 1 << bits, (n, blocks))
        sizes = dict(K=k, N=n, bits=bits, block_size=block)
        name = f"matmulnbits_{bits}_{k}"
        yield name, one_node("MatMulNBits", [Feed(x), b, scales], **sizes)
        yield name + "_zeros", one_node("MatMulNBits", [Feed(x), b, scales, packed_bits(zeros, bits), None, normal(n)], **sizes)
        if bits == 4:
            yield name + "_float_zeros", one_node("MatMulNBits", [Feed(x), b, scales, zeros.astype(F32)], **sizes)
            groups = RNG.integers(0, blocks, blocks * block).astype(I32)
            yield name + "_groups", one_node("MatMulNBits", [Feed(x), b, scales, None, groups], **sizes)
        if k == 64:
            half = [x.astype(np.float16), b, scales.astype(np.float16)]
            yield name + "_half", one_node("MatMulNBits", [Feed(half[0]), *half[1:]], **sizes)
    for kind, name in ((0, "fp4"), (1, "nf4")):
        for k, rows in ((64, 12), (48, 5)):
            b, scales = integers(U8, k * rows // 2), positive(-(-k * rows // 32))
            sizes = dict(K=k, N=rows, block_size=32, quant_type=kind)
            yield f"matmulbnb4_{name}_{k}", one_node("MatMulBnb4", [Feed(normal(2, 3, k)), b, scales], **sizes)


def lookups():
    at = Feed(np.array([[3, 0, 18], [7, 7, 1]], np.int64))
    for dtype, low in (("u4", 0), ("i4", -8)):
        table, zeros = Packed(RNG.integers(low, low + 16, (19, 4, 32)), dtype), RNG.integers(low, low + 16, (19, 4, 2))
        yield f"gatherblockquantized_{dtype}", one_node("GatherBlockQuantized", [table, at, positive(19, 4, 2), Packed(zeros, dtype)],
                                                        block_size=16, quantize_axis=2)
        yield f"gatherblockquantized_{dtype}_plain", one_node("GatherBlockQuantized", [table, at, positive(19, 4, 2)], block_size=16, quantize_axis=-1)
    table = Packed(RNG.integers(0, 16, (32, 6)), "u4")
    yield "gatherblockquantized_same_axis", one_node("GatherBlockQuantized", [table, at, positive(2, 6)], block_size=16, quantize_axis=0, gather_axis=0)
    yield "gatherblockquantized_second", one_node("GatherBlockQuantized", [Packed(RNG.integers(0, 16, (32, 19)), "u4"), at, positive(2, 19)],
                                                  block_size=16, quantize_axis=0, gather_axis=1)
    for name in ("FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT4E2M1"):
        table = helper.make_tensor("table", getattr(TensorProto, name), [19, 32], RNG.standard_normal(19 * 32).tolist())
        for block, dims in ((16, (19, 2)), (0, (1, 1))):
            yield f"gatherblockquantized_{name.lower()}_{block}", one_node("GatherBlockQuantized", [table, at, positive(*dims)], block_size=block)
    for bits in (2, 4, 8):
        values, zeros = RNG.integers(0, 1 << bits, (19, 48)), RNG.integers(0, 1 << bits, (19, 3))
        yield f"gatherblockquantized_bytes_{bits}", one_node(
            "GatherBlockQuantized", [packed_bits(values, bits), at, positive(19, 3), packed_bits(zeros, bits)], bits=bits, block_size=16, quantize_axis=1)


def experts():
    tokens, count, hidden, inner = 5, 4, 64, 32
    x, scores = Feed(normal(tokens, hidden)), Feed(normal(tokens, count))
    for bits, block in ((2, 0), (4, 0), (8, 0), (2, 32), (4, 32), (8, 32)):
        def matrix(rows, columns):
            values = packed_bits(RNG.integers(0, 1 << bits, (count, rows, columns)), bits)
            spread = 0.2 / (1 << bits)
            return values, positive(count, rows, *([columns // block] if block else []), low=spread, high=2 * spread)

        sizes = dict(k=2, expert_weight_bits=bits, normalize_routing_weights=1, weights_prepacked=0, **(dict(block_size=block) if block else {}))
        name = f"qmoe_{bits}_{block}"
        fc1, fc2 = matrix(2 * inner, hidden), matrix(hidden, inner)
        gated = dict(activation_type="swiglu", swiglu_fusion=1, swiglu_limit=7.0, activation_alpha=1.702, activation_beta=1.0)
        yield name, one_node("QMoE", [x, scores, *fc1, normal(count, 2 * inner), *fc2, normal(count, hidden)], **sizes, **gated)
        fc1 = matrix(inner, hidden)
        yield name + "_silu", one_node("QMoE", [x, scores, *fc1, None, *fc2], **sizes, activation_type="silu")
        zeros = [packed_bits(RNG.integers(0, 1 << bits, s.shape), bits) for _, s in (fc1, fc2)]
        yield name + "_zeros", one_node("QMoE", [x, scores, *fc1, None, *fc2, None, None, None, None, *zeros], **sizes, activation_type="relu")
        if bits == 4:
            dense = Feed(normal(1, tokens, hidden))
            yield name + "_gelu", one_node("QMoE", [dense, scores, *fc1, normal(count, inner), *fc2], **sizes, activation_type="gelu")
            yield name + "_mixed", one_node("QMoE", [x, scores, *fc1, None, *fc2, *[None] * 7, Feed(positive(tokens, count))], **sizes, activation_type="relu")


def linear():
    x = normal(2, 6, 5, std=3)
    for dtype, low, high in ((U8, 0, 255), (I8, -128, 127), (np.uint16, 0, 65535), (np.int16, -32768, 32767)):
        step, name = scale(16 / (high - low)), np.dtype(dtype).name
        steps, zero = positive(6) * step, dtype((low + high) // 2 + 1)
        zeros = integers(dtype, 6, low=(3 * low + high) // 4, high=(low + 3 * high) // 4)
        yield f"quantize_{name}", one_node("QuantizeLinear", [Feed(x), step, zero])
        yield f"quantize_{name}_axis", one_node("QuantizeLinear", [Feed(x), steps, zeros], axis=1)
        yield f"dequantize_{name}", one_node("DequantizeLinear", [Feed(integers(dtype, 2, 6, 5)), steps, zeros], axis=-2)
    for dtype, low in (("u4", 0), ("i4", -8)):
        packed = Packed(RNG.integers(low, low + 16, (2, 6, 5)), dtype)
        yield f"dequantize_{dtype}", one_node("DequantizeLinear", [packed, positive(6), Packed(RNG.integers(low, low + 16, 6), dtype)], axis=1)


def linear_of_onnx():
    """Of ONNX's own opsets, with what came new in each; types that NumPy has not are dequantised again."""
    x = normal(2, 6, 32, std=3)
    blocks = positive(2, 6, 2)
    for opset in (10, 13, 19, 21, 23, 25):
        own = dict(domain="", opset=opset)
        yield f"quantizelinear_{opset}", one_node("QuantizeLinear", [Feed(x), scale(0.05), U8(128)], **own)
        yield f"dequantizelinear_{opset}", one_node("DequantizeLinear", [Feed(integers(I32, 2, 6, 5)), scale(0.05)], **own)
        if opset >= 13:
            yield f"quantizelinear_{opset}_axis", one_node("QuantizeLinear", [Feed(x), positive(6) * scale(0.05), integers(I8, 6)], axis=1, **own)
        if opset >= 19:
            for name in ("FLOAT8E4M3FN", "FLOAT8E5M2"):
                zero = helper.make_tensor("zero", getattr(TensorProto, name), [], [0])
                yield f"quantizelinear_{opset}_{name.lower()}", one_node("QuantizeLinear", [Feed(x), scale(0.3), zero], back=True, **own)
        if opset >= 21:
            blocked = dict(axis=2, block_size=16, **own)
            yield f"quantizelinear_{opset}_blocks", one_node("QuantizeLinear", [Feed(x), blocks * scale(0.05), integers(U8, 2, 6, 2)], **blocked)
            yield f"quantizelinear_{opset}_int16", one_node("QuantizeLinear", [Feed(x), scale(0.001), np.int16(-300)], **own)
            for name in ("INT4", "UINT4"):
                packed = getattr(TensorProto, name)
                yield f"quantizelinear_{opset}_{name.lower()}", one_node("QuantizeLinear", [Feed(x), blocks], back=True, output_dtype=packed, **blocked)
            table = Packed(RNG.integers(-8, 8, (6, 32)), "i4")
            yield f"dequantizelinear_{opset}_blocks", one_node("DequantizeLinear", [table, positive(6, 2)], axis=1, block_size=16, **own)


def all_cases():
    for family in (pointwise, rows_and_windows, products, networks, caches, packed_products, lookups, experts, linear, linear_of_onnx):
        yield from family()
