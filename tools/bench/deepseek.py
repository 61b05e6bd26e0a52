"""A decoder of DeepSeek-V3's form, as llama.py writes Llama's: attention with queries, keys and values of low rank, as exporters
write it (each head's keys and values are cached), three dense layers, then layers with a shared expert and routed ones. See experts.py."""

from dataclasses import dataclass

from experts import ExpertsConfig, Experts


@dataclass
class DeepSeekConfig(ExpertsConfig):
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
    theta: float = 10000.0


class DeepSeek(Experts):
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
