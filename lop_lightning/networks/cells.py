"""The recurrent cells: LSTM, GRU, and a plain one without gates.

Fast steps work on ``[n, rows, b]``: n networks (or directions), the rows of all gates one gate after another, b
examples side by side. There tanh(x) is computed as 2σ(2x) - 1: on a CPU the logistic function is eight times quicker.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from lop_lightning.networks.cell_base import Blocks, Cell, Packed


class LSTMCell(Cell):
    """i = σ(·), f = σ(·), g = tanh(·), o = σ(·) of W x + b + U h + b';  c ← f c + i g;  h = o tanh(c).

    Source: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; PyTorch's ``nn.LSTM``.
    """

    gates = ("input", "forget", "candidate", "output")
    parts, rows, memory = 2, 4, 2

    def step(
        self, params: Mapping[str, Tensor], x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """See :class:`Cell`; the state is (h, c)."""
        sums = x @ params["weight_ih"].T + params["bias_ih"] + state[0] @ params["weight_hh"].T + params["bias_hh"]
        i, f, g, o = sums.chunk(4, -1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        c = f * state[1] + i * g
        shown = {**dict(zip(self.gates, (i, f, g, o))), "preactivation": c}
        return (o * torch.tanh(c), c), shown

    def pack(self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Packed:
        """See :class:`Cell`; the candidate's rows are doubled, so that one logistic function does for all gates."""
        scale = torch.ones_like(bias_ih[0])
        scale[2 * weight_hh.shape[-1] : 3 * weight_hh.shape[-1]] = 2
        return weight_ih * scale[:, None], weight_hh * scale[:, None], (bias_ih + bias_hh) * scale

    def forward(self, now: Blocks, before: Blocks | None) -> None:
        """See :class:`Cell`; memory is c and tanh(c)."""
        now.all.sigmoid_()
        i, f, g, o = now.gates
        c, bounded = now.memory
        _twice_minus_one(g)
        torch.mul(i, g, out=c)
        if before is not None:
            c.addcmul_(f, before.memory[0])
        _tanh(c, bounded)
        torch.mul(o, bounded, out=now.h)

    def backward(
        self, d: Tensor, parts: tuple[Tensor, ...], dh: Tensor, dm: Tensor, now: Blocks, before: Blocks | None
    ) -> None:
        """See :class:`Cell`; ``dm`` is ∂L/∂c."""
        i, f, g, o = now.gates
        di, df, dg, do = parts
        bounded = now.memory[1]
        torch.mul(dh, bounded, out=do)
        dm.addcmul_(dh, o).addcmul_(do * o, bounded, value=-1)
        torch.mul(dm, g, out=di)
        torch.mul(dm, i, out=dg)
        if before is None:
            df.zero_()
        else:
            torch.mul(dm, before.memory[0], out=df)
        # σ' = σ (1 - σ) of all gates; the candidate is 2σ - 1, and ∂(2σ - 1)/∂(sum) = (1 - g²) / 2.
        slopes = torch.addcmul(now.all, now.all, now.all, value=-1)
        torch.addcmul(_constant(0.5, g), g, g, value=-0.5, out=slopes.narrow(1, 2 * g.shape[1], g.shape[1]))
        d.mul_(slopes)
        dm.mul_(f)
        dh.zero_()


class GRUCell(Cell):
    """r = σ(·), z = σ(·) of W x + b + U h + b';  n = tanh(Wₙ x + bₙ + r (Uₙ h + b'ₙ));  h ← (1-z) n + z h.

    Source: Cho et al. 2014, in the form of PyTorch's ``nn.GRU``.
    """

    gates = ("reset", "update", "candidate")
    parts, rows, memory = 1, 4, 1

    def step(
        self, params: Mapping[str, Tensor], x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """See :class:`Cell`; the state is (h,)."""
        from_x = x @ params["weight_ih"].T + params["bias_ih"]
        from_h = state[0] @ params["weight_hh"].T + params["bias_hh"]
        (rx, zx, nx), (rh, zh, nh) = from_x.chunk(3, -1), from_h.chunk(3, -1)
        r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
        q = nx + r * nh
        n = torch.tanh(q)
        return ((1 - z) * n + z * state[0],), {**dict(zip(self.gates, (r, z, n))), "preactivation": q}

    def pack(self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Packed:
        """See :class:`Cell`; four blocks of rows: r, z, and the candidate's two sums apart, since r multiplies one."""
        width = weight_hh.shape[-1]
        wx, wh = weight_ih.split(2 * width, 1), weight_hh.split(2 * width, 1)
        bx, bh = bias_ih.split(2 * width, 1), bias_hh.split(2 * width, 1)
        from_x = torch.cat([*wx, torch.zeros_like(wx[1])], 1)
        from_h = torch.cat([wh[0], torch.zeros_like(wh[1]), wh[1]], 1)
        return from_x, from_h, torch.cat([bx[0] + bh[0], bx[1], bh[1]], 1)

    def forward(self, now: Blocks, before: Blocks | None) -> None:
        """See :class:`Cell`; the candidate's first block ends as n, memory is q."""
        r, z, n, nh = now.gates
        now.all.narrow(1, 0, 2 * n.shape[1]).sigmoid_()
        torch.addcmul(n, r, nh, out=now.memory[0])
        _tanh(now.memory[0], n)
        torch.addcmul(n, z, n, value=-1, out=now.h)
        if before is not None:
            now.h.addcmul_(z, before.h)

    def backward(
        self, d: Tensor, parts: tuple[Tensor, ...], dh: Tensor, dm: Tensor, now: Blocks, before: Blocks | None
    ) -> None:
        """See :class:`Cell`; ``dm`` is not used."""
        r, z, n, nh = now.gates
        dr, dz, dn, dnh = parts
        if before is None:
            torch.neg(n, out=dz)
        else:
            torch.sub(before.h, n, out=dz)
        dz.mul_(dh).mul_(torch.addcmul(z, z, z, value=-1))
        dh_z = dh * z
        torch.sub(dh, dh_z, out=dn)
        dn.addcmul_(dn * n, n, value=-1)
        torch.mul(dn, nh, out=dr)
        dr.mul_(torch.addcmul(r, r, r, value=-1))
        torch.mul(dn, r, out=dnh)
        dh.copy_(dh_z)


class PlainCell(Cell):
    """h ← tanh(W x + b + U h + b'): no gates, the candidate is the state.

    Source: Elman 1990, in the form of PyTorch's ``nn.RNN``.
    """

    gates = ("candidate",)
    parts, rows, memory = 1, 1, 1

    def step(
        self, params: Mapping[str, Tensor], x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """See :class:`Cell`; the state is (h,)."""
        sums = x @ params["weight_ih"].T + params["bias_ih"] + state[0] @ params["weight_hh"].T + params["bias_hh"]
        h = torch.tanh(sums)
        return (h,), {"candidate": h, "preactivation": sums}

    def pack(self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Packed:
        """See :class:`Cell`."""
        return weight_ih, weight_hh, bias_ih + bias_hh

    def forward(self, now: Blocks, before: Blocks | None) -> None:
        """See :class:`Cell`; memory is the sum."""
        now.memory[0].copy_(now.all)
        _tanh(now.memory[0], now.all)
        now.h.copy_(now.all)

    def backward(
        self, d: Tensor, parts: tuple[Tensor, ...], dh: Tensor, dm: Tensor, now: Blocks, before: Blocks | None
    ) -> None:
        """See :class:`Cell`; ``dm`` is not used."""
        torch.addcmul(dh, dh * now.h, now.h, value=-1, out=d)
        dh.zero_()


CELLS: dict[str, Cell] = {"lstm": LSTMCell(), "gru": GRUCell(), "rnn": PlainCell()}


def _tanh(x: Tensor, out: Tensor) -> None:
    """tanh(x) = 2σ(2x) - 1."""
    torch.add(x, x, out=out)
    out.sigmoid_()
    _twice_minus_one(out)


def _twice_minus_one(x: Tensor) -> None:
    """2x - 1 in one operation."""
    torch.add(_constant(-1.0, x), x, alpha=2, out=x)


@lru_cache
def _number(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(value, dtype=dtype, device=device)


def _constant(value: float, like: Tensor) -> Tensor:
    """A number as a tensor: made once, where a Python number is turned into one at every use."""
    return _number(value, like.dtype, like.device)
