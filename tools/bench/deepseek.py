"""A decoder of DeepSeek-V3's form, as llama.py writes Llama's: attention with queries, keys and values of low rank, as exporters
write it (each head's keys and values are cached), three dense layers, then layers with a shared expert and routed ones.

Routed experts are plain ONNX: every expert has `capacity` places, which the first tokens that chose it take (TopK, OneHot,
CumSum, Einsum), and all experts are one product with a batch of experts. A token that finds no place goes without."""

from dataclasses import dataclass

from graph_writer import ONNX_TYPES
from llama import Config, Llama


@dataclass
class DeepSeekConfig(Config):
    layers: int = 61
    hidden: int = 7168
    heads: int = 128
    kv_heads: int = 128
    head: int = 64  # its rotated part
    plain: int = 128  # the part of queries and keys that is not rotated, and values
    query_rank: int = 1536
    key_rank: int = 512
    ffn: int = 18432
    vocabulary: int = 129280
    dense_layers: int = 3
    experts: int = 256
    chosen: int = 8
    expert_ffn: int = 2048
    capacity: int = 16
    theta: float = 10000.0


class DeepSeek(Llama):
    def cache(self):
        c = self.config
        return {"key": (c.heads, c.plain + c.head), "value": (c.heads, c.plain)}

    def split_heads(self, x, size):
        c = self.config
        return self.add("Transpose", self.add("Reshape", x, self.constant([0, 0, c.heads, size], "i64")), perm=[0, 2, 1, 3])

    def parts(self, x, *sizes):
        names = [f"{x}.{k}" for k in range(len(sizes))]
        self.add("Split", x, self.constant(sizes, "i64"), outputs=names, axis=-1)
        return names

    def attend(self, h, i):
        c = self.config
        low = self.norm(self.linear(h, f"{i}.q_a", c.hidden, c.query_rank), f"{i}.q_norm", c.query_rank)
        query = self.split_heads(self.linear(low, f"{i}.q_b", c.query_rank, c.heads * (c.plain + c.head)), c.plain + c.head)
        plain, turned = self.parts(query, c.plain, c.head)
        query = self.add("Concat", plain, self.add("RotaryEmbedding", turned, self.cos, self.sin, self.positions), axis=-1)
        low, turned = self.parts(self.linear(h, f"{i}.kv_a", c.hidden, c.key_rank + c.head), c.key_rank, c.head)
        low = self.norm(low, f"{i}.kv_norm", c.key_rank)
        key, value = self.parts(self.split_heads(self.linear(low, f"{i}.kv_b", c.key_rank, c.heads * 2 * c.plain), 2 * c.plain), c.plain, c.plain)
        turned = self.add("RotaryEmbedding", self.add("Unsqueeze", turned, self.constant([1], "i64")), self.cos, self.sin, self.positions)
        key = self.add("Concat", key, self.add("Expand", turned, self.constant([1, c.heads, 1, 1], "i64")), axis=-1)
        outputs = [f"mixed_{i}", f"present_key_{i}", f"present_value_{i}"]
        mixed = self.add("Attention", query, key, value, "", f"past_key_{i}", f"past_value_{i}", outputs=outputs, is_causal=1)
        mixed = self.add("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.add("Reshape", mixed, self.constant([0, 0, c.heads * c.plain], "i64"))

    def gated(self, h, name, product, ffn):
        """A gated unit; product(x, name, inputs, outputs)."""
        c = self.config
        gate = product(h, f"{name}.gate", c.hidden, ffn)
        inner = self.add("Mul", self.add("Mul", gate, self.add("Sigmoid", gate)), product(h, f"{name}.up", c.hidden, ffn))
        return product(inner, f"{name}.down", ffn, c.hidden)

    def routed(self, h, i):
        c = self.config
        tokens = self.add("Reshape", h, self.constant([-1, c.hidden], "i64"))
        scores = self.add("Sigmoid", self.linear(tokens, f"{i}.router", c.hidden, c.experts))
        names = [f"{i}.weight", f"{i}.expert"]
        self.add("TopK", scores, self.constant([c.chosen], "i64"), outputs=names, axis=-1)
        on_off = self.add("Cast", self.constant([0, 1], "f32"), to=ONNX_TYPES["bf16"])
        chosen = self.add("OneHot", names[1], self.constant(c.experts, "i64"), on_off)  # [tokens, chosen, experts]
        mask = self.add("ReduceSum", chosen, self.constant([1], "i64"), keepdims=0)
        place = self.add("CumSum", self.add("Cast", mask, to=ONNX_TYPES["i64"]), self.constant(0, "i64"), exclusive=1)
        seats = self.add("OneHot", place, self.constant(c.capacity, "i64"), on_off)  # [tokens, experts, capacity]
        seats = self.add("Mul", seats, self.add("Unsqueeze", mask, self.constant([2], "i64")))
        given = self.add("Einsum", seats, tokens, equation="tec,th->ech")
        made = self.gated(given, f"{i}.experts", lambda x, name, k, n: self.add("MatMul", x, self.matrix(name, c.experts, k, n)), c.expert_ffn)
        weights = self.add("Unsqueeze", self.add("Mul", scores, mask), self.constant([2], "i64"))
        out = self.add("Einsum", self.add("Mul", seats, weights), made, equation="tec,ech->th")
        return self.add("Reshape", out, self.add("Shape", h))

    def layer(self, x, more, i):
        c = self.config
        x, h = self.add_and_norm(x, more, f"{i}.norm1") if more else (x, self.norm(x, f"{i}.norm1"))
        attended = self.linear(self.attend(h, i), f"{i}.o", c.heads * c.plain, c.hidden)
        x, h = self.add_and_norm(x, attended, f"{i}.norm2")
        if i < c.dense_layers:
            return x, self.gated(h, f"{i}", self.linear, c.ffn)
        return x, self.add("Add", self.gated(h, f"{i}.shared", self.linear, c.expert_ffn), self.routed(h, i))


def write_deepseek(config, path, weights=True):
    w = DeepSeek(config, path, weights=weights)
    w.build()
    return w.places
