"""Trajectories of PyTorch's optimizers and schedules: python optimizers.py > optimizers.json

20 steps on a matrix (with weight decay) and a vector (without), with the gradients that are written to the file as well.
"""

import json
import sys

import torch
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR, StepLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

STEPS = 20
torch.manual_seed(1)
start = {"weight": torch.randn(5, 7), "bias": torch.randn(7)}
gradients = [{k: torch.randn_like(v) * (1 + step / 5) for k, v in start.items()} for step in range(STEPS)]


def flat(tensors):
    return [float(x) for k in ("weight", "bias") for x in tensors[k].detach().flatten()]


def groups(parameters, decay):
    return [
        {"params": [parameters["weight"]], "weight_decay": decay},
        {"params": [parameters["bias"]], "weight_decay": 0.0},
    ]


def trajectory(make, decay, schedule=None, clip=None, micro=1):
    parameters = {k: torch.nn.Parameter(v.clone()) for k, v in start.items()}
    optimizer = make(groups(parameters, decay))
    scheduler = schedule(optimizer) if schedule else None
    values, norms = [], []
    for step in range(STEPS // micro):
        for k, p in parameters.items():
            p.grad = sum(gradients[step * micro + i][k] for i in range(micro)) / micro
        if clip:
            norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), clip)))
        optimizer.step()
        if scheduler:
            scheduler.step()
        values.append(flat(parameters))
    return {"values": values[::4] + [values[-1]], **({"norms": norms} if clip else {})}


def average(decay):
    class Holder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(start["weight"].clone())

    model = Holder()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    averaged.update_parameters(model)
    optimizer = SGD(model.parameters(), lr=0.05)
    values = []
    for step in range(STEPS):
        model.weight.grad = gradients[step]["weight"]
        optimizer.step()
        averaged.update_parameters(model)
        values.append([float(x) for x in averaged.module.weight.flatten()])
    return values[-1]


def rates(schedule, lr):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = schedule(optimizer)
    made = []
    for _ in range(STEPS):
        made.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return made


def one_cycle(optimizer):
    return OneCycleLR(optimizer, max_lr=0.1, total_steps=STEPS + 1, cycle_momentum=False)


def cosine(optimizer):
    return CosineAnnealingLR(optimizer, T_max=STEPS)


def warm(optimizer):
    rise = LinearLR(optimizer, start_factor=0.1, total_iters=5)
    return SequentialLR(optimizer, [rise, CosineAnnealingLR(optimizer, T_max=STEPS - 5, eta_min=0.01)], [5])


json.dump(
    {
        "torch": torch.__version__,
        "start": flat(start),
        "gradients": [flat(g) for g in gradients],
        "trajectories": {
            "sgd": trajectory(lambda g: SGD(g, lr=0.05), 0.02),
            "momentum": trajectory(lambda g: SGD(g, lr=0.05, momentum=0.9), 0.02),
            "nesterov": trajectory(lambda g: SGD(g, lr=0.05, momentum=0.9, nesterov=True), 0.02, cosine),
            "adam": trajectory(lambda g: Adam(g, lr=0.05), 0.02),
            "adamw": trajectory(lambda g: AdamW(g, lr=0.05, betas=(0.8, 0.95), eps=1e-6), 0.1, one_cycle),
            "clipped": trajectory(lambda g: SGD(g, lr=0.05, momentum=0.9), 0.02, clip=7.5),
            "accumulated": trajectory(lambda g: AdamW(g, lr=0.05), 0.1, micro=4),
        },
        "average": average(0.3),
        "rates": {
            "step": rates(lambda o: StepLR(o, step_size=6, gamma=0.3), 0.1),
            "cosine": rates(lambda o: CosineAnnealingLR(o, T_max=STEPS, eta_min=0.001), 0.1),
            "oneCycle": rates(one_cycle, 0.1),
            "warmUp": rates(warm, 0.1),
        },
    },
    sys.stdout,
    separators=(",", ":"),
)
