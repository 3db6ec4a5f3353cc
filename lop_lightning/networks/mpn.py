"""Multi-plasticity networks: synapses that are modulated while the network reads (Aitken & Mihalas 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from lop_lightning.errors import check_choice, check_flag, check_number
from lop_lightning.networks.base import Trace
from lop_lightning.networks.hebbian import check_lists, check_widths
from lop_lightning.networks.layers import Draw
from lop_lightning.networks.noise import register_noise
from lop_lightning.networks.plastic import PlasticLayer
from lop_lightning.networks.plastic_loop import UpdateRule
from lop_lightning.networks.plastic_network import UNSTABLE, PlasticNetwork, features, readout
from lop_lightning.networks.plasticity import LEAST_DECAY, SHAPES, Draws, Plasticity, constant, sizes
from lop_lightning.randomness import normal

ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear")


class MPN(PlasticNetwork):
    """Plastic layers one after another, with the variants of multi-plasticity networks (``model=mpn``).

    The modulations M are P: a = (W ∘ (1 + M)) x + b, or (W + M) x + b. W and the readout are Xavier uniform, biases 0.
    η, of any sign: a matrix Xavier uniform, a vector of n numbers U(±√(6/n)), a scalar -5/F. λ = r is put back into
    [0.001, ``decay_max``] after each update; a scalar begins at its greatest value, others are uniform in that range.

    Args:
        input_shape: See :class:`PlasticNetwork`.
        output_size: Outputs of a reading.
        hidden_dims: Units of each layer.
        plastic_types: ``M`` (multiplicative) or ``A`` (additive), a layer each.
        eta_shape: ``matrix``, ``post`` (one a unit), ``pre`` (one an input) or ``scalar``.
        decay_shape: The same of λ; ``matrix`` and ``pre`` go frame by frame.
        decay_max: Greatest λ.
        activation: f of all layers: ``tanh``, ``sigmoid``, ``relu`` or ``linear``.
        update: ``plain``, ``normalised`` or ``oja``; see :class:`UpdateRule`. All but the first go frame by frame, and
            so does what follows, where it is not as by default.
        product: ``both``, ``pre`` or ``post``.
        bound: ``none`` or ``tanh``.
        start: M at the beginning of a sequence: ``zero``, or ``trained``, from zero.
        sparsity: Share of synapses that are not there, drawn once.
        input_noise: Standard deviation of what is added, in training, to every number that the network reads: Gaussian,
            new in every pass, and the same for one seed alone and among others.
        hidden_noise: The same of what is added to the sums a of all layers at every frame.
        plastic: False: M stays zero, and η and λ are not there.
        truncation: Frames after which gradients are not followed further back; 0: they are followed to the beginning.
        scan: ``fast``, or ``reference``: frame by frame.
        ragged: See :class:`PlasticNetwork`. The stream says it, and what follows.
        read_every: See :class:`PlasticNetwork`.

    Raises:
        ConfigError: a setting is out of its range, or lists do not fit each other.

    Source: Aitken & Mihalas (2023), "Neural population dynamics of computing with synaptic modulations", eLife 83035;
    spec, section 2.3. The initial W and biases are ours.
    """

    remedy = UNSTABLE.format("model.decay_max")
    noise_key: Tensor
    noise_clock: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        hidden_dims: Sequence[int] = (100,),
        plastic_types: Sequence[str] = ("M",),
        eta_shape: str = "matrix",
        decay_shape: str = "scalar",
        decay_max: float = 1.0,
        activation: str = "tanh",
        update: str = "plain",
        product: str = "both",
        bound: str = "none",
        start: str = "zero",
        sparsity: float = 0.0,
        input_noise: float = 0.0,
        hidden_noise: float = 0.0,
        plastic: bool = True,
        truncation: int = 0,
        scan: str = "fast",
        ragged: bool = False,
        read_every: int | None = None,
    ) -> None:
        check_widths(hidden_dims)
        check_lists(plastic_types, ["matrix"] * len(hidden_dims), len(hidden_dims))
        for name, shape in (("eta_shape", eta_shape), ("decay_shape", decay_shape)):
            check_choice(name, shape, SHAPES)
        check_number("decay_max", decay_max, LEAST_DECAY, 1)
        check_choice("activation", activation, ACTIVATIONS)
        check_number("sparsity", sparsity, 0, 1, open_high=True)
        for name, deviation in (("input_noise", input_noise), ("hidden_noise", hidden_noise)):
            check_number(name, deviation, 0)
        check_flag("plastic", plastic)
        rule, read, layers = UpdateRule(update, product, bound), features(input_shape), []
        for units, kind in zip(hidden_dims, plastic_types):
            settings = Plasticity(
                kind, eta_shape, "free", "clamp", decay_shape, decay_max, rule, start, truncation, scan
            )
            bounds = (LEAST_DECAY, decay_max) if decay_shape != "scalar" else (decay_max, decay_max)
            decay = Draw("uniform", (bounds[1] - bounds[0]) / 2, sum(bounds) / 2)
            draws = Draws(_xavier(units, read), constant(0.0), _eta(eta_shape, units, read), decay)
            layers.append(PlasticLayer(read, units, activation, draws, settings, plastic, sparsity=sparsity))
            read = units
        head = readout(_xavier(output_size, read), constant(0.0), output_size, read)
        super().__init__(input_shape, layers, head, ragged, read_every)
        self.input_noise, self.hidden_noise = input_noise, hidden_noise
        if self.is_noisy:
            register_noise(self, "noise")

    @property
    def is_noisy(self) -> bool:
        """Whether there is noise in training."""
        return self.input_noise > 0 or self.hidden_noise > 0

    def trace(self, inputs: Tensor) -> Trace:
        """See :class:`Network`."""
        trace = super().trace(inputs)
        if self.is_noisy and self.training:
            trace.buffers["noise_clock"] = self.noise_clock + 1
        return trace

    def _frames(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        x, lengths = super()._frames(inputs)
        if self.training and self.input_noise:
            x = x + self.input_noise * normal(self.noise_key, self.noise_clock, 0, x.shape, x.dtype)
        return x, lengths

    def _noise(self, layer: int, x: Tensor) -> Tensor | None:
        if not (self.training and self.hidden_noise):
            return None
        shape = (*x.shape[:2], self._plastic_layers[layer].units)
        return self.hidden_noise * normal(self.noise_key, self.noise_clock, layer + 1, shape, x.dtype)


def _xavier(units: int, inputs: int) -> Draw:
    return Draw("uniform", math.sqrt(6 / (units + inputs)))


def _eta(shape: str, units: int, inputs: int) -> Draw:
    if shape == "scalar":
        return constant(-5 / inputs)
    if shape == "matrix":
        return _xavier(units, inputs)
    return Draw("uniform", math.sqrt(6 / math.prod(sizes(shape, units, inputs))))
