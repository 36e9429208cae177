"""Runs ONNX models with onnxruntime.

Each argument is a folder: model.onnx in it is run on input_0.npy, input_1.npy, ..., in the order of the model's inputs,
and its outputs become expected_0.npy, expected_1.npy, ...
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime


def run(folder):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # As the model says it: no fusion that computes in another order.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    names = [tensor.name for tensor in session.get_inputs()]
    inputs = {name: np.load(folder / f"input_{index}.npy") for index, name in enumerate(names)}
    for index, output in enumerate(session.run(None, inputs)):
        np.save(folder / f"expected_{index}.npy", output)


for argument in sys.argv[1:]:
    run(Path(argument))
