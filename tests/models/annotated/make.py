"""Writes mlp/: a model with multi-device annotations made by onnx-ir (1.1), and its recorded output. Needs onnx and onnx-ir.

Configuration "grid" has four devices, a mesh of two by two; "line" has two, a pipeline.
"""

import pathlib

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx_ir as ir

folder = pathlib.Path(__file__).parent / "mlp"
rng = np.random.default_rng(0)
x, w, v = (rng.standard_normal(dims).astype(np.float32) for dims in ((4, 8), (8, 16), (16, 6)))

helper, f32 = onnx.helper, onnx.TensorProto.FLOAT
graph = helper.make_graph(
    [
        helper.make_node("MatMul", ["x", "w"], ["h"], "up"),
        helper.make_node("Relu", ["h"], ["a"], "act"),
        helper.make_node("MatMul", ["a", "v"], ["y"], "down"),
    ],
    "mlp",
    [helper.make_tensor_value_info("x", f32, [4, 8])],
    [helper.make_tensor_value_info("y", f32, [4, 6])],
    [onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(v, "v")],
)
model = ir.from_proto(helper.make_model(graph, ir_version=11, opset_imports=[helper.make_opsetid("", 21)]))

grid = model.add_device_configuration("grid", num_devices=4, device_names=["g0", "g1", "g2", "g3"])
line = model.add_device_configuration("line", num_devices=2)
up, act, down = model.graph
values = {value.name: value for node in (up, act, down) for value in (*node.inputs, *node.outputs)}


def whole_along(groups, axis):
    """Cut in two along one axis; each part on a group of devices."""
    entries = tuple(ir.IndexToDeviceGroupMapEntry(-1 - i, group) for i, group in enumerate(groups))
    cut = ir.ShardedDim(axis, (ir.SimpleShardedDim(num_shards=2),))
    return {"device": tuple(e.key for e in entries), "index_to_device_group_map": entries, "sharded_dims": (cut,)}


rows, columns = ((0, 1), (2, 3)), ((0, 2), (1, 3))
up.device_configurations += (
    ir.NodeDeviceConfiguration(
        grid,
        (ir.ShardingSpec(values["x"], **whole_along(rows, 0)), ir.ShardingSpec(values["w"], **whole_along(columns, 1))),
    ),
)
for axis in (0, 1):
    act.shard(values["a"], configuration=grid, axis=axis, num_shards=2, device_indices=[0, 1, 2, 3])
down.device_configurations += (ir.NodeDeviceConfiguration(grid, (ir.ShardingSpec(values["v"], **whole_along(columns, 0)),)),)
for stage, node in enumerate((up, down)):
    node.device_configurations += (ir.NodeDeviceConfiguration(line, pipeline_stage=stage),)

data = folder / "test_data_set_0"
data.mkdir(parents=True, exist_ok=True)
onnx.save(ir.to_proto(model), folder / "model.onnx")
y = np.maximum(x @ w, 0) @ v
for name, value, tensor in (("input_0.pb", x, "x"), ("output_0.pb", y, "y")):
    (data / name).write_bytes(onnx.numpy_helper.from_array(value, tensor).SerializeToString())
