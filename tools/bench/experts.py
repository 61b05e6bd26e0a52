"""Decoders whose layers have routed experts, and Mixtral's form of them.

The form "microsoft" has com.microsoft's MoE. Else experts are plain ONNX: every expert has `capacity` places, which the
first tokens that chose it take (TopK, OneHot, CumSum, Einsum), and all experts are one product with a batch of experts.
A token that finds no place goes without. With a capacity of 0 every expert computes every token, and those that did not
choose it count 0, as exports of a loop over experts do."""

from dataclasses import dataclass

from graph_writer import MICROSOFT, ONNX_TYPES
from llama import Config, Llama


@dataclass
class ExpertsConfig(Config):
    experts: int = 8
    chosen: int = 2
    expert_ffn: int = 14336
    capacity: int = 16
    score: str = "Sigmoid"  # of a token for an expert
    normalized: bool = False  # the scores of the chosen ones add up to 1


@dataclass
class MixtralConfig(ExpertsConfig):
    vocabulary: int = 32000
    positions: int = 32768
    theta: float = 1000000.0
    score: str = "Softmax"
    normalized: bool = True


class Experts(Llama):
    def gated(self, h, name, product, ffn):
        """A gated unit; product(x, name, inputs, outputs)."""
        c = self.config
        gate = product(h, f"{name}.gate", c.hidden, ffn)
        inner = self.add("Mul", self.add("Mul", gate, self.add("Sigmoid", gate)), product(h, f"{name}.up", c.hidden, ffn))
        return product(inner, f"{name}.down", ffn, c.hidden)

    def mixed(self, h, i):
        """As one node; the gate's and the linear half of fc1 take turns, row by row."""
        c = self.config
        tokens = self.add("Reshape", h, self.constant([-1, c.hidden], "i64"))
        fc1 = self.matrix(f"{i}.fc1", c.experts, 2 * c.expert_ffn, c.hidden)
        fc2 = self.matrix(f"{i}.fc2", c.experts, c.hidden, c.expert_ffn)
        return self.add("MoE", h, self.linear(tokens, f"{i}.router", c.hidden, c.experts), fc1, "", fc2, domain=MICROSOFT, k=c.chosen,
                        normalize_routing_weights=int(c.normalized), activation_type="swiglu", swiglu_fusion=1)

    def routed(self, h, i):
        c = self.config
        tokens = self.add("Reshape", h, self.constant([-1, c.hidden], "i64"))
        scores = self.add(c.score, self.linear(tokens, f"{i}.router", c.hidden, c.experts))
        names = [f"{i}.weight", f"{i}.expert"]
        self.add("TopK", scores, self.constant([c.chosen], "i64"), outputs=names, axis=-1)
        on_off = self.add("Cast", self.constant([0, 1], "f32"), to=ONNX_TYPES[self.dtype])
        chosen = self.add("OneHot", names[1], self.constant(c.experts, "i64"), on_off)  # [tokens, chosen, experts]
        mask = self.add("ReduceSum", chosen, self.constant([1], "i64"), keepdims=0)
        given, seats = self.seated(tokens, mask, on_off) if c.capacity else (tokens, None)
        made = self.gated(given, f"{i}.experts", lambda x, name, k, n: self.add("MatMul", x, self.matrix(name, c.experts, k, n)), c.expert_ffn)
        weights = self.add("Mul", scores, mask)
        if c.normalized:
            weights = self.add("Div", weights, self.add("ReduceSum", weights, self.constant([1], "i64")))
        if seats:
            weights = self.add("Mul", seats, self.add("Unsqueeze", weights, self.constant([2], "i64")))
        out = self.add("Einsum", weights, made, equation="tec,ech->th" if seats else "te,eth->th")
        return self.add("Reshape", out, self.add("Shape", h))

    def seated(self, tokens, mask, on_off):
        """The tokens at their places, [experts, capacity, hidden], and who has which: [tokens, experts, capacity]."""
        place = self.add("CumSum", self.add("Cast", mask, to=ONNX_TYPES["i64"]), self.constant(0, "i64"), exclusive=1)
        seats = self.add("OneHot", place, self.constant(self.config.capacity, "i64"), on_off)
        seats = self.add("Mul", seats, self.add("Unsqueeze", mask, self.constant([2], "i64")))
        return self.add("Einsum", seats, tokens, equation="tec,th->ech"), seats


class Mixtral(Experts):
    def layer(self, x, more, i):
        c = self.config
        x, h = self.add_and_norm(x, more, f"{i}.norm1") if more else (x, self.norm(x, f"{i}.norm1"))
        x, h = self.add_and_norm(x, self.linear(self.attend(h, i), f"{i}.o", c.heads * c.head, c.hidden), f"{i}.norm2")
        return x, (self.mixed if self.form == "microsoft" else self.routed)(h, i)


def write_mixtral(config, path, form="standard", weights=True):
    w = Mixtral(config, path, form, weights)
    w.build()
    return w.places
