"""The gated cells, LSTM and GRU: one step in plain form, and the same step in place with its backward pass.

Fast steps work on ``[n, rows, b]``: n networks (or directions), the rows of all gates one gate after another, b
examples side by side. There tanh(x) is computed as 2σ(2x) - 1: on a CPU the logistic function is eight times quicker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

Packed = tuple[Tensor, Tensor, Tensor]
"""Weights of the inputs ``[D, rows, F]``, weights of the states ``[D, rows, H]``, biases ``[D, rows]``."""


class Cell(ABC):
    """A gated recurrent cell. PyTorch's layout: gate q of unit j is row qH + j of every weight and bias.

    Attributes:
        gates: Names of the gates in that order; the candidate is one of them.
        parts: How many vectors the state has; the first is h.
        rows: How many blocks of H rows the fast step computes.
        memory: How many blocks of H rows it leaves for the backward pass besides the gates; the first is what the
            unit's nonlinearity (tanh) is applied to.
    """

    gates: tuple[str, ...]
    parts: int
    rows: int
    memory: int

    @abstractmethod
    def step(
        self, params: Mapping[str, Tensor], x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """One step of one network as the formulas have it: ``x [B, F]``, the state's parts ``[B, H]``, h first.

        Returns the new state and the values of the gates, and under ``preactivation`` what the unit's tanh is applied
        to. ``params`` are ``weight_ih``, ``weight_hh``, ``bias_ih`` and ``bias_hh``.
        """

    @abstractmethod
    def pack(self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Packed:
        """Parameters ``[D, GH, ...]`` of D directions in the form that the fast step takes; differentiable."""

    @abstractmethod
    def forward(self, a: Tensor, h: Tensor, memory: Tensor, before: tuple[Tensor, Tensor] | None) -> None:
        """Fills ``h [n, H, b]`` and ``memory``; ``a [n, rows·H, b]`` goes from sums to gates.

        ``before`` are h and memory of the step before, ``None`` at the first (states begin with zeros).
        """

    @abstractmethod
    def backward(
        self, d: Tensor, dh: Tensor, dm: Tensor, a: Tensor, memory: Tensor, before: tuple[Tensor, Tensor] | None
    ) -> None:
        """Fills ``d`` with ∂L/∂(sums), given ``dh`` = ∂L/∂h of this step.

        ``dh`` becomes the share of ∂L/∂h of the step before that does not go through the sums; ``dm`` carries what else
        flows back from step to step.
        """


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

    def forward(self, a: Tensor, h: Tensor, memory: Tensor, before: tuple[Tensor, Tensor] | None) -> None:
        """See :class:`Cell`; memory is c and tanh(c)."""
        a.sigmoid_()
        i, f, g, o = a.chunk(4, 1)
        c, bounded = memory.chunk(2, 1)
        g.mul_(2).sub_(1)
        torch.mul(i, g, out=c)
        if before is not None:
            c.addcmul_(f, before[1].chunk(2, 1)[0])
        _tanh(c, bounded)
        torch.mul(o, bounded, out=h)

    def backward(
        self, d: Tensor, dh: Tensor, dm: Tensor, a: Tensor, memory: Tensor, before: tuple[Tensor, Tensor] | None
    ) -> None:
        """See :class:`Cell`; ``dm`` is ∂L/∂c."""
        i, f, g, o = a.chunk(4, 1)
        di, df, dg, do = d.chunk(4, 1)
        bounded = memory.chunk(2, 1)[1]
        torch.mul(dh, bounded, out=do)
        dm.addcmul_(dh, o).addcmul_(do * o, bounded, value=-1)
        torch.mul(dm, g, out=di)
        torch.mul(dm, i, out=dg)
        if before is None:
            df.zero_()
        else:
            torch.mul(dm, before[1].chunk(2, 1)[0], out=df)
        slopes = torch.addcmul(a, a, a, value=-1)
        torch.addcmul(_half(g), g, g, value=-0.5, out=slopes.chunk(4, 1)[2])
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

    def forward(self, a: Tensor, h: Tensor, memory: Tensor, before: tuple[Tensor, Tensor] | None) -> None:
        """See :class:`Cell`; the candidate's first block ends as n, memory is q."""
        width = h.shape[1]
        a[:, : 2 * width].sigmoid_()
        r, z, n, nh = a.chunk(4, 1)
        torch.addcmul(n, r, nh, out=memory)
        _tanh(memory, n)
        torch.addcmul(n, z, n, value=-1, out=h)
        if before is not None:
            h.addcmul_(z, before[0])

    def backward(
        self, d: Tensor, dh: Tensor, dm: Tensor, a: Tensor, memory: Tensor, before: tuple[Tensor, Tensor] | None
    ) -> None:
        """See :class:`Cell`; ``dm`` is not used."""
        r, z, n, nh = a.chunk(4, 1)
        dr, dz, dn, dnh = d.chunk(4, 1)
        torch.mul(n, -1, out=dz)
        if before is not None:
            dz.add_(before[0])
        dz.mul_(dh).mul_(torch.addcmul(z, z, z, value=-1))
        dh_z = dh * z
        torch.sub(dh, dh_z, out=dn)
        dn.addcmul_(dn * n, n, value=-1)
        torch.mul(dn, nh, out=dr)
        dr.mul_(torch.addcmul(r, r, r, value=-1))
        torch.mul(dn, r, out=dnh)
        dh.copy_(dh_z)


CELLS: dict[str, Cell] = {"lstm": LSTMCell(), "gru": GRUCell()}


def _tanh(x: Tensor, out: Tensor) -> None:
    torch.mul(x, 2, out=out)
    out.sigmoid_().mul_(2).sub_(1)


def _half(like: Tensor) -> Tensor:
    return like.new_full((1, 1, 1), 0.5).expand_as(like)
