import pytest
import torch


@pytest.fixture(autouse=True)
def _same_noise_every_run():
    torch.manual_seed(0)
