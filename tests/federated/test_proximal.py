"""FedProx adds mu times the distance from the base to the gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ml.errors import ModelproofError
from ml.federated.proximal import Proximal


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def moved(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor + 0.25 for name, tensor in network.state_dict().items()}


def test_gradient_is_mu_times_the_distance(network: nn.Module) -> None:
    base = moved(network)
    Proximal(0.5).penalty(network, base).backward()  # type: ignore[no-untyped-call]
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, torch.full_like(parameter, -0.125))


def test_penalty_is_half_of_mu_times_the_squared_distance(network: nn.Module) -> None:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    penalty = Proximal(0.5).penalty(network, moved(network))
    assert penalty.item() == pytest.approx(0.25 * parameters * 0.25**2)


def test_base_is_left_alone_and_buffers_do_not_count(network: nn.Module) -> None:
    base = dict(network.named_parameters())
    penalty = Proximal(2.0).penalty(network, base)
    assert penalty.item() == 0.0
    penalty.backward()  # type: ignore[no-untyped-call]
    assert all(bool((p.grad == 0).all()) for p in network.parameters() if p.grad is not None)


def test_base_of_another_model_is_refused(network: nn.Module) -> None:
    with pytest.raises(ModelproofError, match=r"lacks '0\.weight'"):
        Proximal(0.1).penalty(network, {})


@pytest.mark.parametrize("mu", [-0.1, math.nan, math.inf])
def test_mu_out_of_range_is_refused(mu: float) -> None:
    with pytest.raises(ModelproofError, match="0 or above, not"):
        Proximal(mu)
