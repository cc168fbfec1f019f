"""Values and gradients of losses by PyTorch in float64, for loss.test.ts:

    python packages/train/test/golden/losses.py && npx biome format --write packages/train/test/golden

writes losses.json beside this file. Made with torch 2.13.0.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
cases = []


def rounded(t):
    """Few digits, so that the file is small; what is computed from them is exact."""
    return (t * 256).round() / 256


def case(name, loss, x, compute, options=None, label=None, kind=None, target=None):
    x = x.clone().requires_grad_(True)
    value = compute(x)
    value.backward()
    entry = {
        "name": name,
        "loss": loss,
        "options": options or {},
        "dims": list(x.shape),
        "x": x.detach().flatten().tolist(),
        "value": value.item(),
        "gradient": x.grad.flatten().tolist(),
    }
    if label is not None:
        entry["label"] = {"kind": kind, "dims": list(label.shape), "values": label.flatten().tolist()}
    if target is not None:
        entry["target"] = {"dims": list(target.shape), "values": target.flatten().tolist()}
    cases.append(entry)


def normal(*dims, scale=2.0):
    return rounded(torch.randn(*dims) * scale)


# ---- cross-entropy ----
x, y = normal(5, 4), torch.tensor([0, 3, 1, 1, 2])
ce = "crossEntropy"
case("plain", ce, x, lambda x: F.cross_entropy(x, y), label=y, kind="class")
huge = torch.tensor([[1000.0, -1000.0, 3.0], [-900.0, 0.0, 900.0]])
yh = torch.tensor([1, 2])
case("huge logits", ce, huge, lambda x: F.cross_entropy(x, yh), label=yh, kind="class")
case(
    "label smoothing", ce, x, lambda x: F.cross_entropy(x, y, label_smoothing=0.1), {"labelSmoothing": 0.1}, y, "class"
)
w = torch.tensor([1.0, 0.5, 2.0, 0.25])
case("class weights", ce, x, lambda x: F.cross_entropy(x, y, weight=w), {"classWeights": w.tolist()}, y, "class")
yi = torch.tensor([0, -100, 1, -100, 2])
case("ignored", ce, x, lambda x: F.cross_entropy(x, yi), {"ignoreIndex": -100}, yi, "class")
y2 = torch.tensor([0, 2, 1, 2, 2])
case("ignored class", ce, x, lambda x: F.cross_entropy(x, y2, ignore_index=2), {"ignoreIndex": 2}, y2, "class")
case(
    "all at once",
    ce,
    x,
    lambda x: F.cross_entropy(x, yi, weight=w, label_smoothing=0.2),
    {"ignoreIndex": -100, "classWeights": w.tolist(), "labelSmoothing": 0.2},
    yi,
    "class",
)
xd, yd = normal(2, 3, 2, 4), torch.randint(0, 3, (2, 2, 4))
yd[0, 1, 2] = 255
case(
    "dense, all at once",
    ce,
    xd,
    lambda x: F.cross_entropy(x, yd, weight=w[:3], label_smoothing=0.1, ignore_index=255),
    {"ignoreIndex": 255, "classWeights": w[:3].tolist(), "labelSmoothing": 0.1},
    yd,
    "class",
)
xt, yt = normal(2, 5, 3), torch.randint(0, 3, (2, 5))
case("classes last", ce, xt, lambda x: F.cross_entropy(x.transpose(1, 2), yt), {"axis": -1}, yt, "class")

# ---- binary cross-entropy ----
xb, tb = normal(4, 3), torch.rand(4, 3).mul(4).round().div(4)
xb[0] = torch.tensor([0.0, 200.0, -200.0])
bce, logits = "binaryCrossEntropy", F.binary_cross_entropy_with_logits
case("plain", bce, xb, lambda x: logits(x, tb), label=tb, kind="tensor")
case(
    "positive weight",
    bce,
    xb,
    lambda x: logits(x, tb, pos_weight=torch.tensor(3.0)),
    {"positiveWeight": 3},
    tb,
    "tensor",
)

# ---- regression ----
xr, tr = normal(3, 4), normal(3, 4)
case("plain", "mse", xr, lambda x: F.mse_loss(x, tr), label=tr, kind="tensor")
case("of a target", "mse", xr, lambda x: F.mse_loss(x, tr), {"target": "teacher"}, target=tr)
case("plain", "huber", xr, lambda x: F.huber_loss(x, tr), label=tr, kind="tensor")
case("narrow", "huber", xr, lambda x: F.huber_loss(x, tr, delta=0.3), {"delta": 0.3}, tr, "tensor")
case("plain", "cosine", xr, lambda x: (1 - F.cosine_similarity(x, tr)).mean(), label=tr, kind="tensor")
x4, t4 = normal(2, 3, 2), normal(2, 3, 2)
case(
    "of maps",
    "cosine",
    x4,
    lambda x: (1 - F.cosine_similarity(x.flatten(1), t4.flatten(1))).mean(),
    label=t4,
    kind="tensor",
)

# ---- Kullback-Leibler ----
teacher = normal(5, 4)


def kl(x, t, temperature):
    q, p = F.log_softmax(x / temperature, 1), F.softmax(t / temperature, 1)
    return F.kl_div(q, p, reduction="batchmean") * temperature**2


case("plain", "klDivergence", x, lambda x: kl(x, teacher, 1), target=teacher)
case("softened", "klDivergence", x, lambda x: kl(x, teacher, 4), {"temperature": 4}, target=teacher)
td = normal(2, 5, 3)
case(
    "classes last",
    "klDivergence",
    xt,
    lambda x: kl(x.reshape(10, 3), td.reshape(10, 3), 2),
    {"temperature": 2, "axis": -1},
    target=td,
)


# ---- triplet, as the paper defines it: anchor by anchor ----
def triplet(x, y, margin):
    losses = []
    for a in range(len(y)):
        d = [(x[a] - x[b]).square().sum().sqrt() for b in range(len(y))]
        positive = [d[b] for b in range(len(y)) if b != a and y[b] == y[a]]
        negative = [d[b] for b in range(len(y)) if y[b] != y[a]]
        if positive and negative:
            losses.append((margin + max(positive) - min(negative)).clamp(min=0))
    return torch.stack(losses).mean()


xe, ye = normal(8, 3), torch.tensor([0, 1, 0, 2, 1, 0, 3, 2])
case("plain", "triplet", xe, lambda x: triplet(x, ye, 0.2), label=ye, kind="class")
case("wide", "triplet", xe, lambda x: triplet(x, ye, 5), {"margin": 5}, ye, "class")

# ---- CTC ----
xc = normal(3, 9, 5)
yc = torch.tensor([[1, 2, 2, 4], [3, -1, -1, -1], [1, 1, 4, -1]])
lengths = (yc >= 0).sum(1)


def ctc(x, y, lengths, blank=0):
    logp = F.log_softmax(x, 2).transpose(0, 1)
    steps = torch.full((len(y),), x.shape[1])
    return F.ctc_loss(logp, y.clamp(min=0), steps, lengths, blank=blank, zero_infinity=True)


case("plain", "ctc", xc, lambda x: ctc(x, yc, lengths), label=yc, kind="sequence")
case(
    "time first",
    "ctc",
    xc.transpose(0, 1).contiguous(),
    lambda x: ctc(x.transpose(0, 1), yc, lengths),
    {"layout": "TNC"},
    yc,
    "sequence",
)
yb = torch.tensor([[1, 2, 2], [3, 0, -1], [1, 1, 3]])
case("other blank", "ctc", xc, lambda x: ctc(x, yb, (yb >= 0).sum(1), 4), {"blank": 4, "maxLength": 3}, yb, "sequence")
xs = normal(2, 3, 4)
ys = torch.tensor([[1, 1, 2], [1, 2, 3]])
case("no path", "ctc", xs, lambda x: ctc(x, ys, (ys >= 0).sum(1)), {"maxLength": 3}, ys, "sequence")

xn, yn = normal(2, 4, 3), torch.tensor([[-1, -1], [2, 1]])
case("empty label", "ctc", xn, lambda x: ctc(x, yn, (yn >= 0).sum(1)), label=yn, kind="sequence")
x1, y1 = normal(2, 1, 3), torch.tensor([[1], [-1]])
case("one time step", "ctc", x1, lambda x: ctc(x, y1, (y1 >= 0).sum(1)), label=y1, kind="sequence")

out = pathlib.Path(__file__).with_suffix(".json")
out.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases,", out.stat().st_size, "bytes")
