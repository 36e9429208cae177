"""Drives a running server with NVIDIA's own HTTP client: python triton_client.py HOST:PORT DATA_DIR

The server serves the pipelines of the digits example (`digit`, `parity`, `legible`) in the Open Inference Protocol,
DATA_DIR holds the held-out data and report.json that scripts/train-digits writes. Prints a line for each check and
stops with status 1 at the first that fails.

Needs: numpy and tritonclient[http].
"""

import json
import sys
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

OUTPUTS = {"digit": ("digit_logits", 10), "parity": ("parity_logits", 2), "legible": ("legible_logits", 2)}
ROWS = 8  # of a request, small enough for any batch limit the example may set
CONCURRENCY = 8


class Failed(Exception):
    """A check that did not hold; its text says what came instead."""


def expect(holds, otherwise):
    if not holds:
        raise Failed(otherwise)


def tensor(array, binary=True, name="image", datatype="FP32", shape=None):
    """An input; `shape` puts another one into the header than the data has."""
    entry = InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)
    return entry.set_shape(list(shape)) if shape else entry


def requested(pipeline, binary=True):
    return [InferRequestedOutput(OUTPUTS[pipeline][0], binary_data=binary)]


class Session:
    """One client, the data, and the checks in the order in which they run."""

    def __init__(self, address, folder):
        self.client = InferenceServerClient(address, concurrency=CONCURRENCY, network_timeout=60.0)
        self.images = np.load(folder / "images.npy")
        self.labels = {"digit": np.load(folder / "digit.npy"), "parity": np.load(folder / "even.npy"),
                       "legible": np.load(folder / "legible.npy")}
        self.legible_images = np.load(folder / "legible_images.npy")
        self.accuracy = json.loads((folder / "report.json").read_text())["accuracy"]
        # Fractions that neither FP32 nor a short decimal holds exactly: a lossy path shows.
        self.fractions = (self.images[:ROWS] * np.float32(0.9) + np.float32(0.1) / 3).astype(np.float32)

    def logits(self, pipeline, images, **how):
        """Infers with binary tensors and returns the pipeline's only output."""
        return self.value(pipeline, self.client.infer(pipeline, [tensor(images)], **how), len(images))

    def value(self, pipeline, result, rows):
        name, classes = OUTPUTS[pipeline]
        array = result.as_numpy(name)
        expect(array is not None, f"no output {name} in {result.get_response()}")
        expect(array.shape == (rows, classes), f"{name} has shape {array.shape} instead of {(rows, classes)}")
        expect(array.dtype == np.float32, f"{name} has dtype {array.dtype} instead of float32")
        expect(np.isfinite(array).all(), f"{name} holds values that are not finite")
        return array

    def refused(self, words, *args, **how):
        """Expects a request to be refused with one of `words` in the reason, and the next request to work."""
        try:
            result = self.client.infer(*args, **how)
        except InferenceServerException as refusal:
            status, message = refusal.status(), refusal.message() or ""
        else:
            raise Failed(f"accepted, and answered {result.get_response()}")
        expect(status is not None, f"not refused by the server but by the client: {message}")
        expect(status.startswith("4"), f"status {status} instead of 4xx: {message}")
        expect(not message.startswith("an exception occurred in the client"), f"unreadable error body: {message}")
        expect(any(word.lower() in message.lower() for word in words), f"none of {words} in the reason: {message!r}")
        self.logits("digit", self.images[:1])

    def check_server_live(self):
        expect(self.client.is_server_live(), "/v2/health/live is not 200")

    def check_server_ready(self):
        expect(self.client.is_server_ready(), "/v2/health/ready is not 200")

    def check_model_ready(self):
        for pipeline in OUTPUTS:
            expect(self.client.is_model_ready(pipeline), f"{pipeline} is not ready")

    def check_unknown_model_not_ready(self):
        expect(not self.client.is_model_ready("nonsuch"), "a pipeline that does not exist is ready")

    def check_server_metadata(self):
        metadata = self.client.get_server_metadata()
        for key, kind in (("name", str), ("version", str), ("extensions", list)):
            expect(isinstance(metadata.get(key), kind), f"no {key} in {metadata}")

    def check_model_metadata(self):
        for pipeline, (output, classes) in OUTPUTS.items():
            metadata = self.client.get_model_metadata(pipeline)
            expect(metadata.get("name") == pipeline, f"name is not {pipeline} in {metadata}")
            expect(isinstance(metadata.get("platform"), str), f"no platform in {metadata}")
            signature = {"inputs": ("image", "FP32", [-1, 1, 8, 8]), "outputs": (output, "FP32", [-1, classes])}
            for side, wanted in signature.items():
                seen = [(entry["name"], entry["datatype"], entry["shape"]) for entry in metadata[side]]
                expect(seen == [wanted], f"{side} of {pipeline} are {seen} instead of {[wanted]}")

    def check_model_versions(self):
        for version in self.client.get_model_metadata("digit").get("versions") or []:
            expect(isinstance(version, str), f"version {version!r} is not a string")
            expect(self.client.is_model_ready("digit", version), f"version {version} is listed but not ready")
            self.logits("digit", self.images[:1], model_version=version)

    def check_unknown_model_metadata(self):
        try:
            metadata = self.client.get_model_metadata("nonsuch")
        except InferenceServerException as refusal:
            expect("nonsuch" in (refusal.message() or ""), f"the reason does not name it: {refusal}")
        else:
            raise Failed(f"a pipeline that does not exist has metadata: {metadata}")

    def check_model_config_answered(self):
        """The configuration is Triton's extension: a server has it or refuses readably."""
        try:
            config = self.client.get_model_config("digit")
        except InferenceServerException as refusal:
            expect((refusal.status() or "").startswith("4"), f"status {refusal.status()} instead of 4xx: {refusal}")
        else:
            expect(config.get("name") == "digit", f"the configuration of digit is {config}")
        self.logits("digit", self.images[:1])

    def check_infer_json(self):
        result = self.client.infer("digit", [tensor(self.images[:1], binary=False)], outputs=requested("digit", False))
        entry = result.get_output("digit_logits")
        expect(entry is not None and "data" in entry, f"no JSON data in {result.get_response()}")
        expect(entry["datatype"] == "FP32", f"datatype is {entry['datatype']}")
        self.value("digit", result, 1)

    def check_infer_binary(self):
        for outputs in (None, requested("digit")):
            result = self.client.infer("digit", [tensor(self.images[:1])], outputs=outputs)
            entry = result.get_output("digit_logits")
            expect(entry is not None, f"no digit_logits in {result.get_response()}")
            size = (entry.get("parameters") or {}).get("binary_data_size")
            expect(size == 40, f"not 40 bytes of binary data: {entry}")
            self.value("digit", result, 1)

    def check_json_equals_binary(self):
        for pipeline in OUTPUTS:
            results = [self.value(pipeline, self.client.infer(pipeline, [tensor(self.fractions, inward)],
                                                              outputs=requested(pipeline, outward)), ROWS)
                       for inward in (True, False) for outward in (True, False)]
            for result in results[1:]:
                worst = np.abs(result - results[0]).max()
                expect(np.array_equal(result, results[0]), f"{pipeline}: JSON and binary differ by up to {worst}")

    def check_model_is_named(self):
        for pipeline in OUTPUTS:
            response = self.client.infer(pipeline, [tensor(self.images[:1])]).get_response()
            expect(response.get("model_name") == pipeline, f"model_name is not {pipeline} in {response}")

    def check_output_selection(self):
        for pipeline, (name, _) in OUTPUTS.items():
            result = self.client.infer(pipeline, [tensor(self.images[:1])], outputs=requested(pipeline))
            response = result.get_response()
            names = [entry["name"] for entry in response["outputs"]]
            expect(names == [name], f"asked for {name}, got {names}")

    def check_request_id_echoed(self):
        for request_id in ("a1", "request 7/8 \u00fc"):
            response = self.client.infer("digit", [tensor(self.images[:1])], request_id=request_id).get_response()
            expect(response.get("id") == request_id, f"id {request_id!r} came back as {response.get('id')!r}")

    def check_parameters_tolerated(self):
        self.logits("digit", self.images[:1], timeout=30_000_000, priority=1, parameters={"note": "ignored"})

    def check_rows_equal_single_rows(self):
        for pipeline in OUTPUTS:
            together = self.logits(pipeline, self.fractions)
            for row in range(ROWS):
                alone = self.logits(pipeline, self.fractions[row : row + 1])
                worst = np.abs(alone[0] - together[row]).max()
                expect(worst < 1e-4, f"{pipeline}: row {row} of a batch differs from the row alone by {worst}")

    def check_async_infer(self):
        wanted = {pipeline: self.logits(pipeline, self.images[:ROWS]) for pipeline in OUTPUTS}
        pending = []
        for number in range(12 * CONCURRENCY):
            pipeline, row = list(OUTPUTS)[number % 3], number % ROWS
            pending.append((pipeline, row, f"async-{number}", self.client.async_infer(
                pipeline, [tensor(self.images[row : row + 1])], request_id=f"async-{number}")))
        for pipeline, row, request_id, handle in pending:
            result = handle.get_result(timeout=60)
            expect(result.get_response().get("id") == request_id, f"id {request_id} in {result.get_response()}")
            worst = np.abs(self.value(pipeline, result, 1)[0] - wanted[pipeline][row]).max()
            expect(worst < 1e-4, f"{request_id}: {pipeline} of row {row} differs from the same asked alone by {worst}")

    def check_held_out_accuracy(self):
        for pipeline, labels in self.labels.items():
            images = self.legible_images if pipeline == "legible" else self.images
            answers = np.concatenate([self.logits(pipeline, images[start : start + ROWS]).argmax(1)
                                      for start in range(0, len(images), ROWS)])
            accuracy = float((answers == labels).mean())
            expect(abs(accuracy - self.accuracy[pipeline]) <= 1e-9,
                   f"{pipeline}: {accuracy} instead of the {self.accuracy[pipeline]} of training")

    def check_refuses_unknown_model(self):
        self.refused(["nonsuch"], "nonsuch", [tensor(self.images[:1])])

    def check_refuses_unknown_input(self):
        self.refused(["picture"], "digit", [tensor(self.images[:1], name="picture")])

    def check_refuses_additional_input(self):
        self.refused(["picture"], "digit", [tensor(self.images[:1]), tensor(self.images[:1], name="picture")])

    def check_refuses_wrong_dtype(self):
        self.refused(["FP64", "FP32"], "digit", [tensor(self.images[:1].astype(np.float64), datatype="FP64")])
        self.refused(["INT64", "FP32"], "digit", [tensor(self.images[:1].astype(np.int64), False, datatype="INT64")])

    def check_refuses_wrong_shape(self):
        for binary in (True, False):
            self.refused(["shape", "image"], "digit", [tensor(np.zeros((1, 1, 8, 9), np.float32), binary)])
            self.refused(["shape", "image"], "digit", [tensor(np.zeros((1, 64), np.float32), binary)])

    def check_refuses_data_of_another_size(self):
        for binary in (True, False):
            self.refused(["image", "size", "byte", "element", "value"], "digit",
                         [tensor(self.images[:1], binary, shape=(2, 1, 8, 8))])

    def check_refuses_missing_input(self):
        self.refused(["image", "input"], "digit", [])

    def check_refuses_unknown_output(self):
        self.refused(["nonsuch"], "digit", [tensor(self.images[:1])], outputs=[InferRequestedOutput("nonsuch")])

    def check_still_ready(self):
        self.check_server_ready()
        self.check_model_ready()

    def run(self):
        """Runs the checks in the order of their definition; returns the name and reason of the first that failed."""
        for name, check in vars(type(self)).items():
            if not name.startswith("check_"):
                continue
            label = name.removeprefix("check_")
            try:
                check(self)
            except Exception as problem:  # a refusal, a broken answer or a lost connection fails the check all the same
                return label, f"{type(problem).__name__}: {problem}"
            print(f"ok {label}", flush=True)
        return None


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: triton_client.py HOST:PORT DATA_DIR")
    failure = Session(sys.argv[1], Path(sys.argv[2])).run()
    if failure:
        print(f"failed {failure[0]}: {failure[1]}", flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
