"""Steps of the two networks of images in PyTorch, with memory laid out channels last."""

import statistics
import time

import numpy as np
import torch
from torch.nn import functional


PACKAGES = ("torch", "numpy")
PARTS = {
    "aten::mkldnn_convolution": "convolutions",
    "aten::_slow_conv2d_forward": "convolutions",
    "aten::convolution_backward": "their gradients",
    "aten::native_batch_norm": "normalisation",
    "aten::native_batch_norm_backward": "normalisation",
}


class Normalised(torch.nn.Sequential):
    """A convolution without a bias, and batch normalisation."""

    def __init__(self, kernel):
        outputs, inputs, size, _ = kernel.shape
        convolution = torch.nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        with torch.no_grad():
            convolution.weight.copy_(kernel)
        super().__init__(convolution, torch.nn.BatchNorm2d(outputs))


class VGG(torch.nn.Module):
    def __init__(self, kernels, widths, depth):
        super().__init__()
        self.stages = torch.nn.ModuleList(
            torch.nn.ModuleList(Normalised(next(kernels)) for _ in range(depth)) for _ in widths
        )

    def forward(self, x):
        for number, stage in enumerate(self.stages):
            x = functional.max_pool2d(x, 2) if number else x
            for layer in stage:
                x = functional.relu(layer(x))
        return x


class ResNet(torch.nn.Module):
    def __init__(self, kernels, widths, depth):
        super().__init__()
        self.first = Normalised(next(kernels))
        self.stages, before = torch.nn.ModuleList(), widths[0]
        for width in widths:
            blocks = torch.nn.ModuleList()
            for _ in range(depth):
                layers = [Normalised(next(kernels)) for _ in range(2 if before == width else 3)]
                blocks.append(torch.nn.ModuleList(layers))
                before = width
            self.stages.append(blocks)

    def forward(self, x):
        x = functional.relu(self.first(x))
        for blocks in self.stages:
            x = functional.max_pool2d(x, 2)
            for one, two, *beside in blocks:
                same = beside[0](x) if beside else x
                x = functional.relu(same + two(functional.relu(one(x))))
        return x


class Classifier(torch.nn.Module):
    def __init__(self, network, weight):
        super().__init__()
        self.network, self.linear = network, torch.nn.Linear(*weight.shape[::-1])
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.zero_()

    def forward(self, x):
        return self.linear(self.network(x).mean((2, 3)))


def images(configuration):
    """Median seconds of a step on images handed over, which are tensors of bytes before the clock starts.

    A step: the pixels as numbers, forward, cross-entropy with smoothing, backward, SGD with Nesterov momentum, the loss
    read. The shares are of the time that PyTorch's profiler finds in operations.
    """
    torch.set_num_threads(configuration["threads"])
    with np.load(configuration["given"]) as file:
        given = {name: torch.tensor(file[name]) for name in file}
    kernels = (given[f"kernel_{number}"] for number in range(sum(name.startswith("kernel_") for name in given)))
    network = {"VGG": VGG, "ResNet": ResNet}[configuration["network"]]
    network = network(kernels, configuration["widths"], configuration["depth"])
    model = Classifier(network, given["linear"]).to(memory_format=torch.channels_last).train()
    weights = list(model.parameters())
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": configuration["weight_decay"]},
        {"params": [weight for weight in weights if weight.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(
        groups, lr=configuration["learning_rate"], momentum=configuration["momentum"], nesterov=True
    )
    mean, deviation = given["pixels"].tolist()
    # [steps, batch, height, width, channels] seen as [steps, batch, channels, height, width]: channels last already.
    batches = list(zip(given["images"].permute(0, 1, 4, 2, 3), given["labels"].long()))

    def step(image, label):
        logits = model((image.float() - mean) / deviation)
        loss = functional.cross_entropy(logits, label, label_smoothing=configuration["smoothing"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    losses, seconds = [], []
    for number in range(len(batches) * (1 + configuration["repeats"])):
        began = time.perf_counter()
        losses.append(step(*batches[number % len(batches)]))
        seconds.append(time.perf_counter() - began)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for batch in batches:
            step(*batch)
    first = losses[: len(batches)]
    return {
        "seconds": statistics.median(seconds[len(first) :]),
        "examples": given["labels"].shape[1],
        "losses": first,
        "metrics": {"loss": statistics.mean(first)},
        "shares": shares(profile.key_averages()),
    }


def shares(listed):
    found = dict.fromkeys(("convolutions", "their gradients", "normalisation", "the rest"), 0.0)
    for operation in listed:
        found[PARTS.get(operation.key, "the rest")] += operation.self_cpu_time_total
    total = sum(found.values())
    return {part: time / total for part, time in found.items()}
