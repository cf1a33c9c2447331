"""The convolutions of a network on images that are nearly empty, computed only where they are not.

About 250 of the 16,384 pixels of a histogram are filled. Wherever the receptive field of a cell is
empty, its value is known: it is that of an empty image, the same for all frames. So each layer is
worked out for the *active* cells alone, those that see a filled pixel, and the rest is taken from
an empty image that is just large enough (three cells a side after the last pooling) to hold a
corner, an edge and an interior cell, which is all an image with zero padding can have. Because a
convolution is linear, an active cell passes on its difference from the empty image,

    y[p] = y_empty[p] + sum_k  W_k (x[p + k] - x_empty[p + k]),

so that the products are as many as there are active inputs. Nothing is approximated: outputs and
gradients are those of the plain network up to rounding. Every image finds its own active cells; no
common support is assumed, and pixels that no training frame ever filled need no special care.

Images that are filled too densely for this to pay go the plain way.

The idea is that of the ground state in B. Graham, Spatially-sparse convolutional neural networks,
arXiv:1409.6070 (2014); differences, gathers and one embedding bag a layer are ours.
"""

from functools import cache

import torch
from torch.nn import functional as F

DENSE = 0.5  # active fraction after the first pooling beyond which the plain way is faster
CHUNK = 600_000  # products held at a time on a CPU, to stay in its cache (2.4 MB)


def convolve_and_pool(convolutions, images):
    """Convolution, ReLU and 2 x 2 max-pooling in turn: the plain way, for any images.

    Parameters
    ----------
    convolutions : sequence of torch.nn.Conv2d
        With 3 x 3 filters and a padding of 1.
    images : Tensor [n, channels, size, size]

    Returns
    -------
    Tensor [n, channels, size / 2^layers, size / 2^layers]
    """
    for convolution in convolutions:
        images = F.max_pool2d(F.relu(convolution(images)), 2)
    return images


def convolve_and_pool_sparse(convolutions, images, empty):
    """As `convolve_and_pool`, computed only where the images are not empty.

    Images that want a gradient themselves go the plain way.

    Parameters
    ----------
    convolutions, images
        As for `convolve_and_pool`; the size must be divisible by 2^layers.
    empty : float
        Value of an empty pixel. Another value than the images' own costs time, not correctness.

    Returns
    -------
    Tensor [n, channels, size / 2^layers, size / 2^layers]

    Raises
    ------
    ValueError
        If the images are not square or their size is not divisible.
    """
    n, channels, size = images.shape[:3]
    depth = len(convolutions)
    if images.shape[3] != size or size % 2**depth or size < 3 * 2**depth:
        raise ValueError(f"images of {tuple(images.shape[2:])} pixels, {depth} layers of pooling")
    padded = F.pad(images, (1, 1, 1, 1), value=empty)
    cells = (padded != empty).any(dim=1).flatten().nonzero()[:, 0]
    layout = _layout(size, 2**depth, images.device)
    pooled = _reached(cells, n, layout)
    if images.requires_grad or not 0 < len(pooled) < DENSE * n * size**2 / 4:
        return convolve_and_pool(convolutions, images)
    ground = images.new_full((1, channels, 3 * 2**depth, 3 * 2**depth), empty)
    difference = None
    for layer, convolution in enumerate(convolutions):
        frame, place = pooled // layout.pooled_area, pooled % layout.pooled_area
        ground = convolution(ground)
        if layer == 0:
            values = _first(convolution, images, frame, layout.corner[place])
        else:
            outputs = (frame * layout.area + layout.corner[place])[:, None] + layout.square
            edges = _edges(cells, outputs.flatten(), n, layout)
            weight = convolution.weight.permute(1, 2, 3, 0).flatten(1)  # [in, 9 * out]
            places = layout.like_four[place].flatten()
            chunks = _chunks(cells // layout.area, frame, n, CHUNK // weight.shape[1])
            rows = _rows(ground)
            values = _SparseConvolution.apply(difference, weight, rows, *edges, places, chunks)
        values = _PooledReLU.apply(values)
        ground = F.relu(F.max_pool2d(ground, 2))
        rows, whole, size = _rows(ground), layout.like_all, size // 2
        there = frame * size**2 + layout.unpadded[place]
        if layer < depth - 1:
            difference = values - F.embedding(layout.like_pooled[place], rows)
            cells, layout = pooled, _layout(size, 2 ** (depth - layer - 1), images.device)
            pooled = _reached(cells, n, layout)
    features = F.embedding(whole, rows).repeat(n, 1).index_copy(0, there, values)
    return features.unflatten(0, (n, size, size)).permute(0, 3, 1, 2)


# --- where to compute ----------------------------------------------------------------------------
#
# A cell is a number: its place in the images of a batch one after another, each with a border of
# one cell on every side.


class _Layout:
    """Places in an image of `size` x `size` cells, and what becomes of them by pooling.

    The empty image has three blocks of `block` cells a side: one like the beginning of an image,
    one like its inside, one like its end.
    """

    def __init__(self, size, block, device):
        width, half = size + 2, size // 2
        grid = torch.arange(width)
        self.area, self.pooled_area = width**2, (half + 2) ** 2
        # the 2 x 2 pooled cells that see a cell; beyond the image, the nearest one inside
        near = torch.stack([grid >> 1, (grid + 2) >> 1]).clamp(1, half)  # [2, width]
        reaches = near[:, None, :, None] * (half + 2) + near[None, :, None, :]
        self.reaches = reaches.flatten(2).flatten(0, 1).T.contiguous()  # [area, 4]
        # of a pooled cell: the first of its four cells, its place without a border
        inner = torch.arange(half + 2)
        first = 2 * inner - 1
        self.corner = (first[:, None] * width + first).flatten()
        self.unpadded = ((inner - 1)[:, None] * half + inner - 1).flatten()
        self.square = torch.tensor([0, 1, width, width + 1])
        self.shifts = torch.tensor([a * width + b for a in (-1, 0, 1) for b in (-1, 0, 1)])
        # places in the empty image with the same surroundings
        pair = torch.tensor([0, 1])
        along = _along((2 * (inner - 1)[:, None] + pair).clamp(0, size - 1), size, block)
        four = along[:, None, :, None] * (3 * block) + along[None, :, None, :]
        self.like_four = four.flatten(2).flatten(0, 1)  # [pooled area, 4]
        along = _along((inner - 1).clamp(0, half - 1), half, block // 2)
        like = along[:, None] * (3 * block // 2) + along
        self.like_pooled, self.like_all = like.flatten(), like[1:-1, 1:-1].flatten()
        for name, values in vars(self).items():
            if isinstance(values, torch.Tensor):
                setattr(self, name, values.to(device))


_layout = cache(_Layout)


def _along(place, size, block):
    """Coordinate in the empty image of a coordinate in an image."""
    inside = torch.where(place < size - block, block, place - size + 3 * block)
    return torch.where(place < block, place, inside)


def _reached(cells, n, layout):
    """Pooled cells whose 4 x 4 receptive field holds one of the cells given, in order."""
    hit = torch.zeros(n * layout.pooled_area, dtype=torch.bool, device=cells.device)
    start = cells // layout.area * layout.pooled_area
    hit[start[:, None] + layout.reaches[cells % layout.area]] = True
    return hit.nonzero()[:, 0]


def _edges(inputs, outputs, n, layout):
    """Which input reaches which output of a convolution, and by which of the nine weights.

    Returns
    -------
    reaches : Tensor [inputs, 9]
        Output that each input adds to by each weight; one beyond the last outside the image.
    terms : Tensor [outputs, 9]
        Number input * 9 + weight of what reaches an output; negative where nothing does.
    """
    number = torch.full((n * layout.area,), len(outputs), device=inputs.device)
    number[outputs] = torch.arange(len(outputs), device=inputs.device)
    reaches = number[inputs[:, None] - layout.shifts]
    number.fill_(-9)
    number[inputs] = torch.arange(0, 9 * len(inputs), 9, device=inputs.device)
    terms = number[outputs[:, None] + layout.shifts] + torch.arange(9, device=inputs.device)
    return reaches, terms


def _chunks(of_inputs, of_pooled, n, most):
    """Ranges of inputs, `most` if possible, and outputs: (inputs from, to, outputs from, to).

    `of_inputs` and `of_pooled` say which image an input and four outputs belong to.
    """
    if of_inputs.device.type != "cpu" or len(of_inputs) <= most:
        return [(0, len(of_inputs), 0, 4 * len(of_pooled))]
    images = torch.arange(n + 1)
    inputs = torch.searchsorted(of_inputs, images).tolist()
    outputs = (4 * torch.searchsorted(of_pooled, images)).tolist()
    chunks, first = [], 0
    for last in range(1, n + 1):
        if last == n or inputs[last + 1] - inputs[first] > most:
            chunks.append((inputs[first], inputs[last], outputs[first], outputs[last]))
            first = last
    return chunks


# --- the arithmetic ------------------------------------------------------------------------------


def _rows(image):
    """The pixels of one image as rows, [size * size, channels]."""
    return image[0].flatten(1).T.contiguous()


def _first(convolution, images, frame, corner):
    """First convolution at the four cells of each pooled one, from 4 x 4 patches of the images."""
    channels, width = images.shape[1], images.shape[3] + 2
    four = torch.arange(4, device=images.device) - 1
    plane = torch.arange(channels, device=images.device) * width**2
    offsets = (plane[:, None, None] + four[:, None] * width + four).flatten()
    start = frame * (channels * width**2) + corner
    patches = F.pad(images, (1, 1, 1, 1)).flatten()[start[:, None] + offsets]
    weight = convolution.weight
    shifted = [F.pad(weight, (b, 1 - b, a, 1 - a)) for a in (0, 1) for b in (0, 1)]
    weight = torch.stack(shifted).flatten(0, 1).flatten(1)  # [4 * out, channels * 16]
    values = F.linear(patches, weight, convolution.bias.repeat(4))
    return values.view(-1, len(convolution.bias))


class _SparseConvolution(torch.autograd.Function):
    """Rows [inputs, in] and weights [in, 9 * out] to rows [outputs, out], over the edges given.

    The rows of the empty image, [places, out], are added: each output is the sum of one of them
    and of the products that reach it.
    """

    @staticmethod
    def forward(ctx, inputs, weight, ground, reaches, terms, places, chunks):
        ctx.save_for_backward(inputs, weight, reaches, places)
        ctx.chunks, ctx.n_places = chunks, len(ground)
        most = max(stop - start for start, stop, _, _ in chunks)
        table = torch.cat([ground, ground.new_empty(9 * most, ground.shape[1])])
        products, done = table[len(ground) :], []
        for start, stop, first, last in chunks:
            out = products[: 9 * (stop - start)].view(stop - start, weight.shape[1])
            torch.mm(inputs[start:stop], weight, out=out)
            chosen = terms[first:last]
            there = chosen >= 0
            chosen = torch.where(there, chosen + (len(ground) - 9 * start), -1)
            chosen = torch.cat([places[first:last, None], chosen], dim=1)
            count = there.sum(dim=1) + 1
            starts = count.cumsum(0) - count
            done.append(F.embedding_bag(chosen[chosen >= 0], table, starts, mode="sum"))
        return torch.cat(done)

    @staticmethod
    def backward(ctx, gradient):
        inputs, weight, reaches, places = ctx.saved_tensors
        extended = F.pad(gradient, (0, 0, 0, 1))  # a row of zeros for what leaves the image
        to_inputs, to_weight = torch.empty_like(inputs), torch.zeros_like(weight)
        for start, stop, _, _ in ctx.chunks:
            gathered = extended.index_select(0, reaches[start:stop].flatten())
            gathered = gathered.view(stop - start, weight.shape[1])
            torch.mm(gathered, weight.T, out=to_inputs[start:stop])
            to_weight.addmm_(inputs[start:stop].T, gathered)
        to_ground = torch.ops.aten.embedding_dense_backward(
            gradient, places, ctx.n_places, -1, False
        )
        return to_inputs, to_weight, to_ground, None, None, None, None


class _PooledReLU(torch.autograd.Function):
    """ReLU of the largest of each four rows, [4 n, channels] to [n, channels].

    Of equal ones the first gets the gradient.
    """

    @staticmethod
    def forward(ctx, values):
        image = values.view(1, -1, 4, values.shape[1]).permute(0, 3, 1, 2)  # channels last: no copy
        largest, row = F.max_pool2d(image, (1, 4), return_indices=True)
        largest, row = largest[0, :, :, 0].T.clamp_(min=0), row[0, :, :, 0].T
        ctx.save_for_backward(largest, row)
        return largest

    @staticmethod
    def backward(ctx, gradient):
        largest, row = ctx.saved_tensors
        to_values = gradient.new_zeros(4 * len(largest), largest.shape[1])
        return to_values.scatter_(0, row, gradient * (largest > 0))
