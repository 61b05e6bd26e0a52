// The table of expansions. One is a function that builds the results' values in front of the op; a null value for a
// result that nothing uses is allowed. Error kUnsupported: this op stays as it is.
#pragma once

#include "ir/expand/emit.h"

namespace weft {

using Expansion = Result<std::vector<Value*>> (*)(Emit& e, Op& op);

// Whether kernels take the op as it is, but for its past and presents.
bool has_attention_kernel(const Op& op);
// The same, where every head of keys and values stands so many times, for fewer query heads each.
Result<std::vector<Value*>> repeat_kv_heads(Emit& e, Op& op, int64_t times);
Result<std::vector<Value*>> expand_attention(Emit& e, Op& op);
Result<std::vector<Value*>> expand_rotary_embedding(Emit& e, Op& op);
Result<std::vector<Value*>> expand_linear_attention(Emit& e, Op& op);
Result<std::vector<Value*>> expand_causal_conv(Emit& e, Op& op);
Result<std::vector<Value*>> expand_rnn(Emit& e, Op& op);
Result<std::vector<Value*>> expand_dynamic_quantize(Emit& e, Op& op);
Result<std::vector<Value*>> expand_dft(Emit& e, Op& op);
Result<std::vector<Value*>> expand_stft(Emit& e, Op& op);
Result<std::vector<Value*>> expand_window(Emit& e, Op& op);
Result<std::vector<Value*>> expand_mel(Emit& e, Op& op);

}  // namespace weft
