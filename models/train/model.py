"""The fingerprint network: waveform in, one L2-normalised vector per half second out.

    pcm [batch, samples] -> powers of 80 log-spaced bands -> level-free log image
        -> convolutions, 'valid' in time -> embeddings [batch, segments, 128]

Nothing is padded in time and nothing is averaged over the input, so that segment i depends on
pcm[i * HOP_SAMPLES : i * HOP_SAMPLES + SEGMENT_SAMPLES] and on nothing else: a track may be cut into
windows anywhere on the grid and gives the same vectors, while neighbours share their work.
"""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import config as c


class FrontEnd(nn.Module):
    """Band powers by two fixed banks of windowed sinusoids, each a strided Conv1d.

    Below SPLIT_HZ bands are narrow and need long windows (128 ms), which are cheap on a signal
    decimated by 4. Above, 64 ms are enough. A Hann window's lobe is four bins wide, so in wide bands
    every other bin (above 4 kHz every fourth) is left out: a third of the work, the same picture.
    """

    SPLIT_HZ = 1750.0
    DECIMATION = 4
    LOW_WINDOW, HIGH_WINDOW = 512, 1024  # samples at 4 and at 16 kHz
    FIR = 65
    AT_ONCE = 16  # outputs of the FIR: one at a time, runtimes spend their time on copying its 65 samples together

    def __init__(self, bands_below=0, bands_above=0):
        super().__init__()
        index = np.arange(-bands_below, c.BANDS + bands_above)
        centres = c.LOWEST_HZ * 2 ** (index / c.BANDS_PER_OCTAVE)
        low = centres < self.SPLIT_HZ
        self.low_bands = int(low.sum())
        taps = np.sinc(0.46 * (np.arange(self.FIR) - self.FIR // 2)) * np.kaiser(self.FIR, 7.0)
        shifts = [self.DECIMATION * i for i in range(self.AT_ONCE)]
        fir = [np.pad(taps / taps.sum(), (shift, shifts[-1] - shift)) for shift in shifts]
        self.register_buffer("fir", torch.tensor(np.array(fir))[:, None].float())
        low_rate = c.SAMPLE_RATE / self.DECIMATION
        for name, rate, window, chosen in (
            ("low", low_rate, self.LOW_WINDOW, centres[low]),
            ("high", c.SAMPLE_RATE, self.HIGH_WINDOW, centres[~low]),
        ):
            kernels, mixing = self._bank(rate, window, chosen)
            self.register_buffer(f"{name}_kernels", torch.tensor(kernels)[:, None].float())
            self.register_buffer(f"{name}_mixing", torch.tensor(mixing)[:, :, None].float())
        # The low path starts FIR//2 samples earlier and is centred with the high one.
        low_span = (self.LOW_WINDOW - 1) * self.DECIMATION + self.FIR
        self.span = low_span  # samples under one frame
        self.high_start = (low_span - self.HIGH_WINDOW) // 2

    @staticmethod
    def _bank(rate, window, centres):
        """Cosine and sine kernels of the bins in use, and how bins add up to bands."""
        spacing = rate / window
        half = 2 ** (0.5 / c.BANDS_PER_OCTAVE)
        first, last = centres[0] / half**2, centres[-1] * half**2
        bins = np.arange(int(first / spacing), int(np.ceil(last / spacing)) + 1)
        bins_per_band = bins * (half**2 - 1) * 2
        step = np.where(bins_per_band > 16, 4, np.where(bins_per_band > 7, 2, 1))
        bins, step = bins[bins % step == 0], step[bins % step == 0]
        hann = np.hanning(window + 2)[1:-1]
        phase = 2 * np.pi * np.outer(bins, np.arange(window) - window / 2) / window
        scale = 1 / hann.sum()
        kernels = np.concatenate([np.cos(phase), np.sin(phase)]) * hann * scale
        # Triangles on the log axis, reaching to the neighbouring centres; narrow ones get one bin at least.
        octaves = np.log2(bins * spacing)[None] - np.log2(centres)[:, None]
        reach = np.maximum(1 / c.BANDS_PER_OCTAVE, np.log2(1 + spacing / centres))[:, None]
        mixing = np.clip(1 - np.abs(octaves) / reach, 0, None) * step[None]
        return kernels, mixing

    def _powers(self, signal, kernels, mixing, stride):
        spectrum = F.conv1d(signal, kernels, stride=stride)
        power = spectrum * spectrum
        # Cosine and sine of a bin carry the same weight: one matrix adds squares and bands at once.
        return F.conv1d(power, torch.cat([mixing, mixing], 1))

    def _decimated(self, x):
        step = self.AT_ONCE * self.DECIMATION
        count = (x.shape[2] - self.FIR) // self.DECIMATION + 1
        blocks = F.conv1d(F.pad(x, (0, step - self.DECIMATION)), self.fir, stride=step)
        return blocks.transpose(1, 2).flatten(1)[:, None, :count]

    def forward(self, pcm):
        """[batch, samples] -> powers [batch, bands, frames]."""
        x = pcm[:, None]
        slow = self._decimated(x)
        low = self._powers(slow, self.low_kernels, self.low_mixing, c.FRAME_HOP // self.DECIMATION)
        high = self._powers(x[:, :, self.high_start:], self.high_kernels, self.high_mixing, c.FRAME_HOP)
        frames = low.shape[2]
        return torch.cat([low, high[:, :, :frames]], 1)


class LevelFree(nn.Module):
    """Powers -> log image that does not know the volume, with what is inaudible filled in.

    Each frame is taken relative to the mean power of the LEVEL_FRAMES around it, and everything
    FLOOR below that mean is floor: a slow automatic gain, invariant to compression and fades.
    Digital silence becomes the constant 0 dB of the floor, never NaN.
    """

    SILENCE = 1e-10  # power, about -100 dBFS per band

    def __init__(self):
        super().__init__()
        tilt = 10 ** (0.3 * np.arange(c.BANDS) / c.BANDS_PER_OCTAVE)  # +3 dB/octave: treble counts too
        self.register_buffer("tilt", torch.tensor(tilt)[None, :, None].float())
        self.register_buffer("box", torch.full((1, 1, c.LEVEL_FRAMES), 1 / c.LEVEL_FRAMES))

    def forward(self, power):
        power = power.float() * self.tilt
        level = F.conv1d(power.mean(1, keepdim=True), self.box) + self.SILENCE
        margin = c.LEVEL_FRAMES // 2
        centre = power[:, :, margin:power.shape[2] - margin]
        return torch.log10(centre / level + c.FLOOR) * 0.5 + 1.25


def conv(inputs, outputs, kernel, stride=(1, 1)):
    """Convolution (frequency x time), padded in frequency only, then BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel[0] // 2, 0), bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is trimmed by what they eat of the time axis."""

    def __init__(self, channels, first, second):
        super().__init__()
        self.first = conv(channels, channels, first)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, second, padding=(second[0] // 2, 0), bias=False),
            nn.BatchNorm2d(channels),
        )
        nn.init.zeros_(self.second[1].weight)
        self.margin = (first[1] + second[1] - 2) // 2

    def forward(self, x):
        shortcut = x[:, :, :, self.margin:x.shape[3] - self.margin] if self.margin else x
        return F.relu(shortcut + self.second(self.first(x)))


class Trunk(nn.Module):
    """Image [batch, 80, frames] -> unit vectors [batch, columns, 128], one per COLUMN_FRAMES."""

    def __init__(self, width=(16, 48, 128, 256)):
        super().__init__()
        a, b, d, e = width
        self.layers = nn.Sequential(
            conv(1, a, (3, 3), (2, 2)),
            conv(a, b, (3, 3), (2, 2)),
            Residual(b, (3, 3), (3, 1)),
            conv(b, d, (3, 3), (2, 2)),
            Residual(d, (3, 3), (3, 1)),
            conv(d, e, (3, 3), (2, 2)),
            Residual(e, (3, 1), (3, 1)),
        )
        self.head = nn.Conv2d(e, c.DIMENSION, (c.BANDS // 16, 1))

    def forward(self, image):
        x = self.layers(image[:, None].contiguous(memory_format=torch.channels_last))
        x = self.head(x)[:, :, 0].transpose(1, 2).float()
        return x * torch.rsqrt((x * x).sum(2, keepdim=True) + 1e-12)


def receptive_frames():
    """Power frames under one segment: the trunk's receptive field and the level's margin."""
    field, jump = 1, 1
    for kernel, stride in ((3, 2), (3, 2), (3, 1), (3, 2), (3, 1), (3, 2)):
        field += (kernel - 1) * jump
        jump *= stride
    return field + c.LEVEL_FRAMES - 1


SEGMENT_FRAMES = receptive_frames()
FRAME_SPAN = (FrontEnd.LOW_WINDOW - 1) * FrontEnd.DECIMATION + FrontEnd.FIR
SEGMENT_SAMPLES = (SEGMENT_FRAMES - 1) * c.FRAME_HOP + FRAME_SPAN


class Fingerprint(nn.Module):
    """The whole graph, as exported."""

    def __init__(self, trunk=None):
        super().__init__()
        self.front = FrontEnd()
        self.level = LevelFree()
        self.trunk = trunk or Trunk()

    def forward(self, pcm):
        return self.trunk(self.level(self.front(pcm)))
