"""Loss and gradients of whole networks by PyTorch in float64, for networks.test.ts, which holds the same networks:

    python packages/train/test/golden/networks.py

writes networks.json beside this file. Made with torch 2.13.0. Weights and inputs follow from one stream of numbers that both
sides draw in the same order; each is a multiple of 2^-24 times a power of two, so it is the same in float32 and float64.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


class Stream:
    """A linear congruential generator (Numerical Recipes), uniform between -scale and scale."""

    def __init__(self):
        self.state = 1
        self.parameters = {}

    def values(self, dims, scale):
        count = 1
        for d in dims:
            count *= d
        out = []
        for _ in range(count):
            self.state = (self.state * 1664525 + 1013904223) % 2**32
            out.append(((self.state >> 8) / 2**23 - 1) * scale)
        return torch.tensor(out).reshape(dims)

    def weight(self, name, dims, scale):
        self.parameters[name] = self.values(dims, scale).requires_grad_(True)
        return self.parameters[name]

    def conv(self, name, x, inputs, outputs, kernel, stride=1, groups=1, pad=None, bias=False, scale=0.25):
        w = self.weight(f"{name}.weight", [outputs, inputs // groups, kernel, kernel], scale)
        b = self.weight(f"{name}.bias", [outputs], 0.125) if bias else None
        return F.conv2d(x, w, b, stride, kernel // 2 if pad is None else pad, 1, groups)

    def norm(self, name, x, channels):
        w = 1 + self.weight(f"{name}.scale", [channels], 0.25)
        return F.batch_norm(x, None, None, w, self.weight(f"{name}.bias", [channels], 0.25), True, 0.1, 1e-5)

    def linear(self, name, x, inputs, outputs, scale=0.25):
        return x @ self.weight(f"{name}.weight", [inputs, outputs], scale) + self.weight(f"{name}.bias", [outputs], 0.125)

    def layer_norm(self, name, x, width):
        w = 1 + self.weight(f"{name}.scale", [width], 0.25)
        return F.layer_norm(x, [width], w, self.weight(f"{name}.bias", [width], 0.25), 1e-5)


def lenet(s):
    x = s.values([4, 1, 16, 16], 1)
    x = F.max_pool2d(torch.tanh(s.conv("conv1", x, 1, 4, 5, bias=True)), 2)
    x = F.max_pool2d(torch.tanh(s.conv("conv2", x, 4, 8, 5, pad=0, bias=True)), 2)
    x = torch.tanh(s.linear("fc1", x.flatten(1), 32, 24))
    return s.linear("fc2", x, 24, 5)


def resnet(s, widths, blocks):
    x = s.values([4, 3, 12, 12], 1)
    channels = widths[0]
    x = F.relu(s.norm("bn", s.conv("conv", x, 3, channels, 3), channels))
    for i, width in enumerate(widths):
        for j in range(blocks):
            name, stride = f"{i}.{j}", 2 if i > 0 and j == 0 else 1
            y = F.relu(s.norm(f"{name}.bn1", s.conv(f"{name}.conv1", x, channels, width, 3, stride), width))
            y = s.norm(f"{name}.bn2", s.conv(f"{name}.conv2", y, width, width, 3), width)
            if stride != 1 or channels != width:
                x = s.norm(f"{name}.bn3", s.conv(f"{name}.conv3", x, channels, width, 1, stride), width)
            x = F.relu(x + y)
            channels = width
    return s.linear("fc", x.mean((2, 3)), channels, 5)


def mobilenet(s):
    x = s.values([4, 3, 12, 12], 1)
    x = F.silu(s.norm("bn", s.conv("conv", x, 3, 8, 3), 8))
    channels = 8
    for i, (width, stride) in enumerate([(8, 1), (12, 2), (12, 1)]):
        hidden = 3 * channels
        y = F.silu(s.norm(f"{i}.bn1", s.conv(f"{i}.conv1", x, channels, hidden, 1), hidden))
        y = F.silu(s.norm(f"{i}.bn2", s.conv(f"{i}.conv2", y, hidden, hidden, 3, stride, hidden), hidden))
        y = s.norm(f"{i}.bn3", s.conv(f"{i}.conv3", y, hidden, width, 1), width)
        x = x + y if stride == 1 and channels == width else y
        channels = width
    return s.linear("fc", x.mean((2, 3)), channels, 5)


def transformer(s, batch=3, length=7, width=16, heads=2):
    ids = (s.values([batch, length], 1) * 8 + 8).floor().long()
    x = s.weight("tokens", [16, width], 1)[ids] + s.weight("positions", [length, width], 0.25)
    split = lambda v: v.reshape(batch, length, heads, width // heads).transpose(1, 2)
    for i in range(2):
        n = s.layer_norm(f"{i}.norm1", x, width)
        q, k, v = (split(s.linear(f"{i}.{p}", n, width, width)) for p in ("query", "key", "value"))
        a = torch.softmax(q @ k.transpose(2, 3) / (width // heads) ** 0.5, -1)
        x = x + s.linear(f"{i}.output", (a @ v).transpose(1, 2).reshape(batch, length, width), width, width)
        n = s.layer_norm(f"{i}.norm2", x, width)
        x = x + s.linear(f"{i}.down", F.gelu(s.linear(f"{i}.up", n, width, 32), approximate="tanh"), 32, width)
    return s.linear("fc", s.layer_norm("norm", x, width).mean(1), width, 5)


def lstm(s, batch=3, length=6, inputs=5, hidden=8):
    """Gates in the order of ONNX: input, output, forget, cell."""
    x = s.values([length, batch, inputs], 1)
    w = s.weight("w", [1, 4 * hidden, inputs], 0.5)[0]
    r = s.weight("r", [1, 4 * hidden, hidden], 0.25)[0]
    b = s.weight("b", [1, 8 * hidden], 0.25)[0]
    h = c = torch.zeros(batch, hidden)
    for t in range(length):
        gates = x[t] @ w.T + h @ r.T + b[: 4 * hidden] + b[4 * hidden :]
        i, o, f, g = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return s.linear("fc", h, hidden, 5)


NETWORKS = {
    "lenet": lenet,
    "resnet8": lambda s: resnet(s, [4, 8, 16], 1),
    "resnet20": lambda s: resnet(s, [2, 4, 6], 3),
    "mobilenet": mobilenet,
    "transformer": transformer,
    "lstm": lstm,
}

golden = {}
for name, network in NETWORKS.items():
    stream = Stream()
    logits = network(stream)
    labels = torch.arange(logits.shape[0]) % 5
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    golden[name] = {
        "loss": float(f"{loss.item():.10g}"),
        "gradients": {
            key: [float(f"{v:.8g}") for v in p.grad.flatten().tolist()] for key, p in stream.parameters.items()
        },
    }
path = pathlib.Path(__file__).with_suffix(".json")
# One line a tensor, so that a change can be read.
lines = []
for name, entry in golden.items():
    rows = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in entry["gradients"].items())
    lines.append(f'  {json.dumps(name)}: {{\n   "loss": {entry["loss"]},\n   "gradients": {{\n{rows}\n   }}\n  }}')
path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
