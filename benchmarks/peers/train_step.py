"""The training step of PyTorch, eager, on the CPU: the peer of train-step.mjs, driven by it line by line over stdin and stdout.

    echo '{"op": "open", "model": "lenet", "batch": 64, "threads": 1, "channelsLast": false, "weights": "w.bin", "data": "d.bin"}' \
        | python train_step.py

`open` builds the network, gives it the weights of the other side (float32, one tensor after the other) and a batch (inputs, then
int64 labels); `steps` runs `count` steps of SGD with momentum and answers with the wall and CPU milliseconds of each, and the
losses; `memory` answers with the peak resident set, and the resident set before the network was built.
"""

import json
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


def conv_norm(inputs, outputs, kernel, stride=1, groups=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3)
        self.shortcut = conv_norm(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x):
        y = self.second(F.relu(self.first(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    def __init__(self, widths=(16, 32, 64), blocks=3):
        super().__init__()
        channels = widths[0]
        self.stem = conv_norm(3, channels, 3)
        stages = []
        for s, width in enumerate(widths):
            for i in range(blocks):
                stages.append(Block(channels, width, 2 if s > 0 and i == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*stages)
        self.fc = nn.Linear(channels, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.stem(x)))
        return self.fc(x.mean((2, 3)))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, expand, stride):
        super().__init__()
        hidden = inputs * expand
        self.expand = conv_norm(inputs, hidden, 1) if expand != 1 else None
        self.depthwise = conv_norm(hidden, hidden, 3, stride, hidden)
        self.project = conv_norm(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self):
        super().__init__()
        channels = 32
        self.stem = conv_norm(3, channels, 3)
        blocks = []
        for expand, width, count, first in self.STAGES:
            for i in range(count):
                blocks.append(Inverted(channels, width, expand, first if i == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = conv_norm(channels, 1280, 1)
        self.fc = nn.Linear(1280, 10)

    def forward(self, x):
        x = F.relu6(self.head(self.blocks(F.relu6(self.stem(x)))))
        return self.fc(x.mean((2, 3)))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        n = self.norm1(x)
        q, k, v = (
            p(n).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.query, self.key, self.value)
        )
        x = x + self.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Linear layers but the last keep their weights transposed on the other side."""

    def __init__(self, width=128, layers=2, heads=4, length=64, vocabulary=256):
        super().__init__()
        self.tokens = nn.Parameter(torch.zeros(vocabulary, width))
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 10)

    def forward(self, ids):
        x = F.embedding(ids, self.tokens) + self.positions
        return self.fc(self.norm(self.layers(x)).mean(1))


NETWORKS = {"lenet": LeNet, "resnet20": ResNet, "mobilenet": MobileNet, "transformer": Transformer}


def load(net, path):
    values = np.fromfile(path, np.float32)
    at = 0
    with torch.no_grad():
        for module in net.modules():
            for name, p in module.named_parameters(recurse=False):
                part = torch.from_numpy(values[at : at + p.numel()])
                at += p.numel()
                other_way = isinstance(net, Transformer) and isinstance(module, nn.Linear) and module is not net.fc
                p.copy_(part.view(p.shape[::-1]).T if other_way and name == "weight" else part.view(p.shape))
    assert at == values.size, f"{values.size} weights for {at} parameters"


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


class Run:
    def __init__(self, job):
        torch.set_num_threads(job["threads"])
        self.before = resident()
        self.net = NETWORKS[job["model"]]()
        load(self.net, job["weights"])
        self.net.train()
        raw = np.fromfile(job["data"], np.uint8)
        labels_at = raw.size - 8 * job["batch"]
        kind = np.int64 if job["model"] == "transformer" else np.float32
        self.inputs = torch.from_numpy(raw[:labels_at].view(kind).reshape(job["batch"], *job["input"]).copy())
        self.labels = torch.from_numpy(raw[labels_at:].view(np.int64).copy())
        if job["channelsLast"]:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.inputs = self.inputs.contiguous(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=job["rate"], momentum=0.9)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.net(self.inputs), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def main():
    run = None
    for line in sys.stdin:
        job = json.loads(line)
        if job["op"] == "open":
            run = Run(job)
            answer = {"name": f"PyTorch {torch.__version__.split('+')[0]}"}
        elif job["op"] == "steps":
            wall, cpu, losses = [], [], []
            for _ in range(job["count"]):
                t, c = time.perf_counter(), time.process_time()
                losses.append(run.step())
                wall.append(1e3 * (time.perf_counter() - t))
                cpu.append(1e3 * (time.process_time() - c))
            answer = {"wall": wall, "cpu": cpu, "losses": losses}
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            answer = {"peakMb": peak, "beforeMb": run.before}
        print(json.dumps(answer), flush=True)


main()
