"""Loads and unloads pipelines with NVIDIA's own HTTP client: python triton_repository.py HOST:PORT PIPELINE OTHER

Both pipelines are served when it begins and when it ends. Prints a line for each check and stops with status 1 at the first
that fails. Needs: tritonclient[http].
"""

import sys

from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException


def states(client):
    return {entry["name"]: (entry["state"], entry["reason"]) for entry in client.get_model_repository_index()}


def check(label, holds, otherwise):
    if not holds:
        print(f"failed {label}: {otherwise}", flush=True)
        sys.exit(1)
    print(f"ok {label}", flush=True)


def main():
    address, pipeline, other = sys.argv[1:]
    client = InferenceServerClient(address, network_timeout=60.0)
    check("both are ready", set(states(client).values()) == {("READY", "")}, states(client))
    client.unload_model(pipeline, unload_dependents=True)
    seen = states(client)
    check("one is unloaded", seen == {other: ("READY", ""), pipeline: ("UNAVAILABLE", "unloaded")}, seen)
    check("it is not ready", not client.is_model_ready(pipeline) and client.is_model_ready(other), seen)
    try:
        client.unload_model("nonsuch")
    except InferenceServerException as refusal:
        check("an unknown one is refused", "nonsuch" in (refusal.message() or ""), refusal)
    client.load_model(pipeline)
    check("it is loaded", client.is_model_ready(pipeline), states(client))
    client.unload_model(pipeline)
    client.unload_model(other)
    client.load_model(other)
    client.load_model(pipeline)
    check("all come back", set(states(client).values()) == {("READY", "")}, states(client))


if __name__ == "__main__":
    main()
