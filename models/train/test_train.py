"""Quick checks that need no data:  python -m pytest -q models/train"""
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import config as c
from augment import Bank
from export import export_onnx, in_torch, parity, replace_front
from model import FRAME_SPAN, SEGMENT_SAMPLES, Fingerprint, FrontEnd, LevelFree
from train import contrastive, describe


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    network = Fingerprint()
    for layer in network.modules():  # as after training: BatchNorm and shortcuts do something
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.uniform_(layer.running_mean, -0.2, 0.2)
    return network.eval()


def samples(segments):
    return (segments - 1) * c.HOP_SAMPLES + SEGMENT_SAMPLES


@torch.no_grad()
def test_windows_do_not_change_vectors(network):
    pcm = torch.randn(1, samples(12)) * torch.linspace(0.001, 0.3, samples(12))
    whole = network(pcm)[0]
    assert whole.shape == (12, c.DIMENSION)
    for first, count in ((0, 5), (5, 7), (11, 1)):
        start = first * c.HOP_SAMPLES
        part = network(pcm[:, start : start + samples(count)])[0]
        assert torch.allclose(part, whole[first : first + count], atol=1e-5)


@torch.no_grad()
def test_volume_does_not_matter_and_silence_is_harmless(network):
    pcm = torch.randn(1, samples(3)) * 0.1
    assert torch.allclose(network(pcm), network(pcm * 0.05), atol=1e-3)
    silent = network(torch.zeros(1, samples(3)))
    assert torch.isfinite(silent).all() and torch.allclose(silent.norm(dim=2), torch.ones(1, 3), atol=1e-4)


def test_the_exported_file_computes_the_same(network, tmp_path):
    export_onnx(network, tmp_path / "model.onnx")
    assert parity(in_torch(network), tmp_path / "model.onnx") < 5e-3  # weights are stored as float16


def test_a_front_end_can_be_replaced(network, tmp_path):
    export_onnx(network, tmp_path / "model.onnx")
    replace_front(tmp_path / "model.onnx")
    assert parity(in_torch(network), tmp_path / "model.onnx") < 5e-3


@torch.no_grad()
@pytest.mark.parametrize("length", [FRAME_SPAN, FRAME_SPAN + 1, 20_000])
def test_what_is_filtered_many_at_once_is_what_is_filtered_one_by_one(length):
    front, pcm = FrontEnd(), torch.randn(2, 1, length)
    one_by_one = torch.nn.functional.conv1d(pcm, front.fir[:1, :, : front.FIR], stride=front.DECIMATION)
    assert torch.allclose(front._decimated(pcm), one_by_one, atol=1e-6)


@torch.no_grad()
def test_a_tone_lands_in_its_band_and_pitch_is_a_translation():
    front, time = FrontEnd(), torch.arange(c.SAMPLE_RATE) / c.SAMPLE_RATE
    for hz in (220.0, 880.0, 3000.0, 6000.0):
        expected = c.BANDS_PER_OCTAVE * np.log2(hz / c.LOWEST_HZ)
        found = front(torch.sin(2 * np.pi * hz * time)[None])[0].mean(1).argmax().item()
        assert abs(found - expected) <= 1


def test_the_right_pairs_lower_the_loss():
    settings = c.Training(columns=3)
    image = torch.rand(4, c.BANDS, 103)
    described = describe(image, 3)
    one = torch.nn.functional.normalize(torch.randn(12, c.DIMENSION), dim=1)
    keep, position = torch.ones(12, dtype=torch.bool), torch.arange(12) * 100
    right, hits = contrastive(one, one, described, position, keep, settings)
    wrong, _ = contrastive(one, one.roll(6, 0), described, position, keep, settings)
    assert hits == 1 and right < wrong
