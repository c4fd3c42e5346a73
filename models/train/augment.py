"""What uploaders do to music, as batched operations on band powers.

No sound is rendered in the training loop. A crop is an image of band powers; adding sounds adds powers
(with a random interference term), a room smears them along time, an equaliser scales bands, a tempo or
pitch change resamples the image. `evaluate.py` checks on rendered sound that this carries over.
All functions take and return powers [batch, frames, bands] on any device.
"""
import json
import math

import numpy as np
import torch

import config as c
from model import SEGMENT_FRAMES, FrontEnd

CONTEXT = 32  # frames (1 s) of music before the crop, for reverb to ring from
OFFSET = 8  # frames: +-0.25 s between the two views, the worst of two half-second grids
QUIET = 1e-11


class Bank:
    """Band powers of many recordings, end to end, as float16 log10 [frames, bands]."""

    def __init__(self, name, device):
        index = json.loads((c.CACHE / "features" / f"{name}.json").read_text())
        # Mapped, so that processes on one machine share it.
        data = np.load(c.CACHE / "features" / f"{name}.npy", mmap_mode="c")
        self.data = torch.from_numpy(data).to(device)
        self.speeds = torch.tensor(sorted({t["speed"] for t in index}, key=[t["speed"] for t in index].index), device=device)
        self.tracks = len(index) // len(self.speeds)  # track t at speed number v is entry v * tracks + t
        self.starts = torch.tensor([t["start"] for t in index], device=device)
        self.lengths = torch.tensor([t["frames"] for t in index], device=device)

    def rows(self, track, frames):
        """Log powers at `frames` [batch, n] of `track` [batch]; outside of it there is silence."""
        inside = (frames >= 0) & (frames < self.lengths[track][:, None])
        at = (frames + self.starts[track][:, None]).clamp(0, len(self.data) - 1)
        return torch.where(inside[..., None], self.data[at].float(), math.log10(QUIET))

    def pick(self, count, power=1.0):
        """Tracks by length to some power: below 1 gives short ones more than their share."""
        return torch.multinomial(self.lengths[: self.tracks].float() ** power, count, replacement=True)

    def crop(self, count, frames):
        """Powers of random stretches, only the bands that the network sees."""
        track = self.pick(count)
        start = (torch.rand(count, device=self.data.device) * (self.lengths[track] - frames).clamp(min=1)).long()
        log = self.rows(track, start[:, None] + torch.arange(frames, device=start.device))
        return 10 ** log[..., c.BANDS_BELOW : c.BANDS_BELOW + c.BANDS]


def white_noise(device, seconds=600):
    """White noise as the front end sees it: the fluctuation of powers in every band, mean 1."""
    generator = torch.Generator().manual_seed(1)
    front = FrontEnd().eval()
    pcm = torch.randn(1, c.SAMPLE_RATE * seconds, generator=generator)
    with torch.no_grad():
        power = torch.cat([front(p)[0].T for p in pcm.split(c.SAMPLE_RATE * 60, 1)])
    return (power / power.mean(0)).to(device)


def db(x):
    return 10 ** (x / 10)


class Augment:
    """Draws pairs (reference view, upload view) of the same music."""

    def __init__(self, columns, device):
        self.device = device
        self.frames = SEGMENT_FRAMES + (columns - 1) * c.COLUMN_FRAMES
        self.columns = columns
        self.music = Bank("music", device)
        self.speech = Bank("speech", device)
        self.effects = Bank("effects", device)
        self.white = white_noise(device)
        self.band = torch.arange(c.BANDS, device=device)
        hz = c.LOWEST_HZ * 2 ** (self.band / c.BANDS_PER_OCTAVE)
        # Interference of two sounds averages out where a band holds several bins.
        self.coherence = (200 / hz).sqrt().clamp(0.3, 1.0)

    # --- random numbers, one per sample ---------------------------------------------------------------
    def uniform(self, low, high, count):
        return low + (high - low) * torch.rand(count, device=self.device)

    def chance(self, probability, count):
        return torch.rand(count, device=self.device) < probability

    def fluctuation(self, count, frames):
        start = torch.randint(0, len(self.white) - frames, (count, 1), device=self.device)
        return self.white[start + torch.arange(frames, device=self.device)]

    def coloured(self, count, frames):
        """Steady noise from brown to white. Bands widen with their pitch: an even power in all of them is pink."""
        octaves = (self.band - c.BANDS / 2) / c.BANDS_PER_OCTAVE
        slope = self.uniform(-4, 4, count).view(-1, 1, 1)  # dB per octave against pink: brown -3, white +3
        return self.fluctuation(count, frames) * db(slope * octaves)

    def babble(self, count):
        """Six people at once, as loud as each other on average."""
        voices = [self.speech.crop(count, self.frames) for _ in range(6)]
        return sum(voice / (voice.sum(2).mean(1).view(-1, 1, 1) + QUIET) for voice in voices)

    def curve(self, count, depth_db):
        """Smooth random gain over the bands, as power factors [count, 1, bands]."""
        knots = torch.randn(count, 1, 6, device=self.device)
        smooth = torch.nn.functional.interpolate(knots, size=c.BANDS, mode="linear", align_corners=True)
        tilt = torch.randn(count, 1, 1, device=self.device) * (self.band / c.BANDS - 0.5)
        return db((0.6 * smooth + 1.2 * tilt) * depth_db.view(-1, 1, 1))

    def edges(self, count, low_hz, high_hz, slope):
        """Band limits at two corner frequencies with a slope in dB per octave."""
        octave = self.band / c.BANDS_PER_OCTAVE
        low = torch.log2(low_hz / c.LOWEST_HZ).view(-1, 1, 1)
        high = torch.log2(high_hz / c.LOWEST_HZ).view(-1, 1, 1)
        fall = (low - octave).clamp(min=0) + (octave - high).clamp(min=0)
        return db(-(fall * slope.view(-1, 1, 1)).clamp(max=70))

    # --- what happens to a sound ----------------------------------------------------------------------
    def view(self, track, centre, rate, bands_up, skip=None, skip_at=None):
        """Music resampled: `rate` source frames per frame, shifted by bands, perhaps with a piece cut out.

        The stored speed nearest in pitch is taken; the image is warped by what is left to do."""
        count = len(track)
        total = CONTEXT + self.frames
        t = torch.arange(total, device=self.device)[None] - (CONTEXT + self.frames / 2)
        source = centre[:, None] + t * rate[:, None]
        if skip is not None:
            later = t > skip_at[:, None]
            # The longer side of the cut stays in place.
            keep_first = (skip_at > 0)[:, None]
            source = source + skip[:, None] * torch.where(keep_first, later.float(), -(~later).float())
        stored_up = torch.log2(self.music.speeds) * c.BANDS_PER_OCTAVE
        nearest = (stored_up[None] - bands_up[:, None]).abs().argmin(1)
        bands_up = bands_up - stored_up[nearest]
        track = track + nearest * self.music.tracks
        stored = source / self.music.speeds[nearest][:, None]
        base = stored.floor()
        share = (stored - base)[..., None]
        log = self.music.rows(track, base.long()) * (1 - share) + self.music.rows(track, base.long() + 1) * share
        whole = bands_up.floor()
        part = (bands_up - whole).view(-1, 1, 1)
        index = c.BANDS_BELOW + self.band[None] - whole.long()[:, None]
        top = log.shape[2] - 1
        at = lambda i: log.gather(2, i.clamp(0, top)[:, None].expand(count, total, c.BANDS))
        return 10 ** (at(index) * (1 - part) + at(index - 1) * part), source

    def mix(self, a, b, ratio_db):
        """a + b, with b at `ratio_db` against a; powers of b's louder half count, as speech has pauses."""
        loud = b.sum(2).topk(b.shape[1] // 2, 1).values.mean(1)
        gain = db(ratio_db) * a.sum(2).mean(1) / (loud + QUIET)
        b = b * gain.view(-1, 1, 1)
        phase = torch.cos(2 * math.pi * torch.rand_like(a)) * self.coherence
        return a + b + 2 * torch.sqrt(a * b) * phase * 0.95

    def room(self, power, rt60, direct_db):
        """Exponential tails, shorter in the treble, and their interference with the direct sound."""
        high = rt60 * self.uniform(0.35, 1.0, len(rt60))
        per_band = rt60[:, None] + (high - rt60)[:, None] * (self.band / c.BANDS)
        decay = 10 ** (-6 * c.FRAME_HOP / c.SAMPLE_RATE / per_band)
        tail, tails = torch.zeros_like(power[:, 0]), []
        for frame in power.unbind(1):
            tails.append(tail)
            tail = tail * decay + frame
        # A held tone meets one fixed gain per band, a random sum of reflections; noisy sounds fluctuate.
        count, frames = power.shape[:2]
        tonal = self.uniform(0, 1, count).view(-1, 1, 1)
        gain = tonal * self.fluctuation(count, 1) + (1 - tonal) * self.fluctuation(count, frames)
        wet = torch.stack(tails, 1) * (1 - decay)[:, None] * gain
        early = self.curve(count, torch.full_like(rt60, 4.0))
        dry = power * early * db(direct_db).view(-1, 1, 1)
        phase = torch.cos(2 * math.pi * torch.rand_like(power[:, :1])) * self.coherence
        return dry + wet + 2 * torch.sqrt(dry * wet) * phase * tonal * 0.9

    def codec(self, power, depth_db, low_pass):
        """Lossy coding: what a neighbour masks is dropped or turned to noise; the treble may go."""
        spread = torch.nn.functional.avg_pool1d(power, 9, 1, 4)
        threshold = spread * db(-depth_db).view(-1, 1, 1)
        noise = threshold * 0.3 * self.fluctuation(*power.shape[:2])
        coded = torch.where(power > threshold, power, power * 0.02) + noise
        return coded * self.edges(len(power), torch.full_like(low_pass, 20.0), low_pass, torch.full_like(low_pass, 60.0))

    def channel(self, count):
        """A phone line, or a high-pass, a low-pass, or both."""
        exponential = lambda low, high: 2 ** self.uniform(math.log2(low), math.log2(high), count)
        phone, has_low, has_high = self.chance(0.3, count), self.chance(0.6, count), self.chance(0.6, count)
        low = torch.where(phone, exponential(260, 350), torch.where(has_low, exponential(60, 1000), 40.0))
        high = torch.where(phone, exponential(3000, 3800), torch.where(has_high, exponential(1100, 6000), 9000.0))
        return self.edges(count, low, high, self.uniform(9, 60, count))

    def levelled(self, power, strength):
        """Compression: loud and quiet frames move towards each other."""
        level = power.sum(2, keepdim=True) + QUIET
        smooth = torch.nn.functional.avg_pool1d(level.transpose(1, 2), 5, 1, 2).transpose(1, 2)
        return power * (smooth / smooth.mean(1, keepdim=True)) ** -strength.view(-1, 1, 1)

    def saturated(self, power, depth_db):
        """Clipping: products of loud frames spread over all bands."""
        smeared = torch.nn.functional.avg_pool1d(power, 31, 1, 15) + 0.3 * power.mean(2, keepdim=True)
        loud = power.sum(2, keepdim=True)
        excess = (loud / loud.mean(1, keepdim=True)).clamp(max=4)
        return power + smeared * excess * db(-depth_db).view(-1, 1, 1) * self.fluctuation(*power.shape[:2])

    def some(self, chosen, power, change):
        """Applies `change(powers, count, rows)` to the chosen samples only: most are untouched by most steps."""
        rows = torch.nonzero(chosen)[:, 0]
        if len(rows):
            power[rows] = change(power[rows], len(rows), rows)
        return power

    # --- the two views --------------------------------------------------------------------------------
    def pairs(self, count, hardness):
        """Powers [count, bands, frames] of reference and upload, the clean original, where in the bank each
        column lies, and which columns still correspond. The latter two are [count, columns]."""
        music = self.music
        track = music.pick(count, 0.8)
        length = music.lengths[track]
        centre = 40 + torch.rand(count, device=self.device) * (length - 80).clamp(min=1)
        centre = centre.round() + (self.frames % 2) / 2
        one, zero = torch.ones(count, device=self.device), torch.zeros(count, device=self.device)
        reference, where = self.view(track, centre, one, zero)
        clean = reference[:, CONTEXT:]
        upload, corresponds = self.upload(track, centre, where, hardness)
        audible = clean.sum(2).unfold(1, SEGMENT_FRAMES, c.COLUMN_FRAMES).mean(2) > 3e-7  # about -60 dBFS
        corresponds &= audible
        column = torch.arange(self.columns, device=self.device) * c.COLUMN_FRAMES
        position = (music.starts[track] + centre)[:, None] + column
        return self.reference(clean.clone()), upload, clean.transpose(1, 2), position, corresponds

    def reference(self, power):
        """References are masters; some come as lossy files or a little equalised."""
        n, u = len(power), self.uniform
        power = self.some(self.chance(0.3, n), power, lambda p, k, _: p * self.curve(k, u(0, 3, k)))
        power = self.some(self.chance(0.25, n), power, lambda p, k, _: self.codec(p, u(14, 25, k), u(5000, 9000, k)))
        return self.delivered(power)

    def delivered(self, power):
        """A noise floor under everything and some playback level, for both views."""
        n = len(power)
        floor = power.sum(2).mean(1) / c.BANDS * db(-self.uniform(35, 75, n))
        power = power + floor.view(-1, 1, 1) * self.fluctuation(n, power.shape[1])
        return (power * db(self.uniform(-30, 6, n)).view(-1, 1, 1)).transpose(1, 2)

    def upload(self, track, centre, where, hardness):
        n, u, frames = len(track), self.uniform, self.frames
        zero = torch.zeros(n, device=self.device)
        # Tempo, pitch and speed: most small, some to the limits that the product promises; large speeds are the hardest.
        size = lambda limit, power=1.0: torch.sign(torch.rand_like(zero) - 0.5) * limit * torch.rand_like(zero) ** power
        kind = torch.rand_like(zero)
        tempo = torch.where((kind < 0.16) | (kind > 0.88), size(0.24), size(0.004))
        pitch = torch.where(((kind > 0.16) & (kind < 0.38)) | (kind > 0.88), size(0.19), size(0.004))  # octaves: 14 %
        other_speed = (kind > 0.38) & (kind < 0.64)
        speed = torch.where(other_speed, size(0.34, 0.5), zero)  # -21 .. +27 %
        skip = torch.where(self.chance(0.12, n), u(16, 48, n), zero)
        power, source = self.view(track, centre + u(-OFFSET, OFFSET, n), (1 + tempo) * 2**speed,
                                  (pitch + speed) * c.BANDS_PER_OCTAVE, skip, u(-frames / 2, frames / 2, n))

        # The sound itself: equaliser, compressor, a room (often with all of "filmed off a speaker").
        filmed = self.chance(0.28 * hardness, n)
        power = self.some(self.chance(0.45, n), power, lambda p, k, _: p * self.curve(k, u(0, 12, k) * (0.4 + 0.6 * hardness)))
        power = self.some(self.chance(0.25, n), power, lambda p, k, _: self.levelled(p, u(0.1, 0.6, k)))
        power = self.some(filmed & self.chance(0.5, n), power, lambda p, k, _: p * self.edges(k, u(150, 500, k), u(2500, 8000, k), u(12, 36, k)))
        power = self.some(self.chance(0.25, n) | filmed | (other_speed & self.chance(0.25, n)), power, lambda p, k, _: self.room(p, u(0.2, 1.3, k), u(-8, 8, k)))
        power = power[:, CONTEXT:]

        # What is heard besides it, at a ratio of music to it. `ease` lifts the ratios early in the run.
        ease = 8 * (1 - hardness)
        kind = torch.rand_like(zero)
        hiss = lambda k: self.coloured(k, frames) * self.curve(k, u(0, 10, k))
        talk = lambda k: self.speech.crop(k, frames) * self.curve(k, u(0, 6, k))
        for chosen, sound, low, high in (
            ((kind < 0.29) | (filmed & (kind > 0.46)), hiss, -9, 14),
            ((kind > 0.29) & (kind < 0.46), self.babble, -9, 13),
            ((kind > 0.46) & (kind < 0.71), talk, -13, 6),
            ((kind > 0.71) & (kind < 0.75), lambda k: self.effects.crop(k, frames), -5, 15),
            ((kind > 0.75) & (kind < 0.84), lambda k: self.music.crop(k, frames), -2, 14),
        ):
            power = self.some(chosen, power, lambda p, k, _: self.mix(p, sound(k), -(u(low, high, k) + ease)))

        # The way it was recorded, edited and sent.
        power = self.some(self.chance(0.15, n), power, lambda p, k, _: self.saturated(p, u(8, 25, k)))
        power = self.some(self.chance(0.25, n) | (filmed & self.chance(0.4, n)), power, lambda p, k, _: p * self.channel(k))
        power = self.some(self.chance(0.35, n) | (filmed & self.chance(0.6, n)), power, lambda p, k, _: self.codec(p, u(5, 22, k), u(3400, 14000, k)))
        power = self.some(self.chance(0.12, n), power, lambda p, k, _: self.cut_out(p))

        # A column corresponds when at least half of what it hears lies where the reference has it.
        expected = where[:, CONTEXT:]
        drift = (source[:, CONTEXT:] - expected).abs() < OFFSET + 8 + 0.3 * SEGMENT_FRAMES / 2
        spans = drift.float().unfold(1, SEGMENT_FRAMES, c.COLUMN_FRAMES).mean(2)
        inside = (expected >= 0) & (expected < self.music.lengths[track][:, None])
        full = inside.float().unfold(1, SEGMENT_FRAMES, c.COLUMN_FRAMES).mean(2)
        return self.delivered(power), (spans > 0.55) & (full > 0.7)

    def cut_out(self, power):
        """A stretch of time or of bands falls out."""
        n, frames = power.shape[:2]
        gap = lambda size, limit: (lambda start: (torch.arange(size, device=self.device)[None] >= start) & (
            torch.arange(size, device=self.device)[None] < start + self.uniform(1, limit, n)[:, None]))(self.uniform(0, size, n)[:, None])
        in_time = self.chance(0.5, n)
        lost = torch.where(in_time[:, None, None], gap(frames, 16)[:, :, None], gap(c.BANDS, 14)[:, None, :])
        return torch.where(lost, power * 1e-5, power)
