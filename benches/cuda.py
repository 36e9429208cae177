#!/usr/bin/env python3
"""The networks of `benches/cuda.rs`, and PyTorch beside it.

    cuda.py export DIR [--device D] [--small]     DIR/<network>/{model.pt2,input.npy,torch.npy}: seeded random weights, and what
                                                  eager PyTorch computes on the device, without TF32
    cuda.py serve DIR/<network> [--device D]      says `ready`, then answers lines `SIDE COUNT` on stdin with COUNT times in
                                                  seconds, after one run that does not count; `eager`, `graph`: a captured CUDA
                                                  graph; `naive`: stage by stage, each result copied through memory of the
                                                  host. A last number is that of all runs together, waited for once.

Needs: numpy and torch. Nothing is downloaded.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SEED = 29


class Bottleneck(nn.Module):
    def __init__(self, taken, width, stride):
        super().__init__()
        given = 4 * width
        self.ways = nn.Sequential(
            nn.Conv2d(taken, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, given, 1, bias=False), nn.BatchNorm2d(given))
        same = taken == given and stride == 1
        self.short = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(taken, given, 1, stride, bias=False), nn.BatchNorm2d(given))

    def forward(self, x):
        return functional.relu(self.ways(x) + self.short(x))


def resnet50(small):
    """Five stages, as ResNet-50 has them."""
    depths, width = ((1, 1, 1, 1), 8) if small else ((3, 4, 6, 3), 64)
    stages = [nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                            nn.MaxPool2d(3, 2, 1))]
    taken = width
    for place, depth in enumerate(depths):
        row = []
        for index in range(depth):
            row.append(Bottleneck(taken, width << place, 2 if place and not index else 1))
            taken = 4 * (width << place)
        stages.append(nn.Sequential(*row))
    stages[-1] = nn.Sequential(stages[-1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(taken, 1000))
    return nn.Sequential(*stages)


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.joint, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        rows, length, width = x.shape
        parts = self.joint(self.before(x)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, width))
        return x + self.narrow(functional.gelu(self.wide(self.after(x))))


class Patches(nn.Module):
    def __init__(self, width, side):
        super().__init__()
        self.cut = nn.Conv2d(3, width, 16, 16)
        self.places = nn.Parameter(torch.randn(1, (side // 16) ** 2, width) * 0.02)

    def forward(self, image):
        return self.cut(image).flatten(2).transpose(1, 2) + self.places


class Words(nn.Module):
    def __init__(self, width, length):
        super().__init__()
        self.words, self.places = nn.Embedding(30000, width), nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.register_buffer("row", torch.arange(length))

    def forward(self, ids):
        return self.norm(self.words(ids) + self.places(self.row))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


def vit(small):
    width, depth, heads = (64, 4, 4) if small else (768, 12, 12)
    layers = [Layer(width, heads) for _ in range(depth)]
    return nn.Sequential(Patches(width, 64 if small else 224), *layers, nn.LayerNorm(width), Mean(), nn.Linear(width, 1000))


def bert(small):
    width, depth, heads = (64, 4, 4) if small else (768, 12, 12)
    return nn.Sequential(Words(width, 128), *[Layer(width, heads) for _ in range(depth)], nn.LayerNorm(width))


class Ladder(nn.Module):
    """Nine steps with next to nothing to do."""

    def forward(self, x):
        for step in range(9):
            x = x.neg() if step % 2 else x.abs()
        return x


class Heads(nn.Module):
    """One backbone, four heads."""

    def __init__(self, small):
        super().__init__()
        self.backbone = resnet50(small)[:4]
        taken = 4 * ((8 if small else 64) << 2)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(taken, taken // 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(taken // 4, 100)) for _ in range(4))

    def forward(self, image):
        features = self.backbone(image)
        return tuple(head(features) for head in self.heads)


class Spoil(nn.Module):
    """Fills memory that it takes and gives back at once with NaN."""

    def forward(self, x):
        for _ in range(8):
            x = x + float("nan")
        return x


def networks(small):
    """Returns name -> a maker of the network, and one of its input."""
    side = 64 if small else 224

    def image(rows):
        return lambda: torch.rand(rows, 3, side, side) * 2 - 1

    return {
        "resnet50": (lambda: resnet50(small), image(1)),
        "resnet50-batch": (lambda: resnet50(small), image(4 if small else 32)),
        "vit": (lambda: vit(small), image(1)),
        "bert": (lambda: bert(small), lambda: torch.randint(30000, (1, 128))),
        "ladder": (lambda: Ladder(), lambda: torch.randn(1, 3 * 224 * 224)),
        "heads": (lambda: Heads(small), image(1)),
        "spoil": (lambda: Spoil(), lambda: torch.randn(1, 1 << 18)),
    }


def made(name, small):
    """Returns a network and its input, the same each time. Batch normalisations have the statistics of a seeded input."""
    make, sample = networks(small)[name]
    torch.manual_seed(SEED)
    network = make()
    torch.manual_seed(SEED + 1)
    x = sample()
    layers = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = None
    if layers:
        torch.manual_seed(SEED + 2)
        with torch.no_grad():
            network.train()(torch.rand(2, *x.shape[1:]) * 2 - 1)
    return network.eval(), x


def exact():
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.mha.set_fastpath_enabled(False)


def export(folder, device, small):
    exact()
    for name in networks(small):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        network, x = made(name, small)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(torch.export.export(network, (x,)), place / "model.pt2")
            answer = network.to(device)(x.to(device))
        answer = answer[0] if isinstance(answer, tuple) else answer
        np.save(place / "input.npy", x.numpy())
        np.save(place / "torch.npy", answer.cpu().numpy())
        about = {"small": small, "device": str(device), "torch": torch.__version__}
        (place / "about.json").write_text(json.dumps(about))
        print(f"{place}: written", file=sys.stderr)


class Peer:
    def __init__(self, place, device):
        exact()
        small = json.loads((place / "about.json").read_text())["small"]
        network, x = made(place.name, small)
        self.device, self.network = device, network.to(device)
        # Where it is copied from without being copied first, as on the other side of the comparison.
        self.x = x.pin_memory() if device.type == "cuda" else x
        self.there = x.to(device)
        self.graph = None

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def eager(self):
        return self.network(self.x.to(self.device, non_blocking=True))

    def captured(self):
        if self.graph is None:
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.network(self.there)
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.answer = self.network(self.there)
        self.there.copy_(self.x, non_blocking=True)
        self.graph.replay()
        return self.answer

    def naive(self):
        x = self.x
        for stage in self.network:
            x = stage(x.to(self.device)).cpu().clone()
        return x

    def run(self, side, count):
        if side == "graph" and self.device.type != "cuda":
            return None
        run = {"eager": self.eager, "graph": self.captured, "naive": self.naive}[side]
        run()
        self.wait()
        times = []
        for _ in range(count):
            began = time.perf_counter()
            run().cpu()
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(count):
            run()
        self.wait()
        return [*times, time.perf_counter() - began]


def serve(place, device):
    peer = Peer(place, device)
    print("ready", flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            side, count = line.split()
            times = peer.run(side, int(count))
            print(*(times or ["none"]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("export", "serve"))
    parser.add_argument("place", type=Path)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:N; sim:N counts as cpu")
    parser.add_argument("--small", action="store_true", help="networks of the same form that a CPU is done with soon")
    arguments = parser.parse_args()
    device = torch.device(arguments.device if arguments.device.startswith("cuda") else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    if arguments.command == "export":
        export(arguments.place, device, arguments.small)
    else:
        serve(arguments.place, device)


if __name__ == "__main__":
    main()
