"""How a checkpoint does on validation music, with distortions rendered as real sound.

    python evaluate.py --name default            or  --onnx ../refrain-fp-1/model.onnx

The catalogue is the validation music (a fifth of its tracks kept out, for negatives) plus the training
music as distractors. Queries are rendered once, by ffmpeg, rubberband and sox, into $REFRAIN_CACHE/queries.
Printed per condition: segments whose nearest neighbour is the right half second; then right track at
5 and 10 s, by best guess and at 1 % false alarms. The voting is crude on purpose: the product's own
matching is measured by the bench. This ranks checkpoints and shows what does not carry over to sound.
"""
import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

import config as c
from model import SEGMENT_SAMPLES, Fingerprint
from prepare import PCM, speech_is_held_out

RATE, SECONDS = c.SAMPLE_RATE, 10.0
SLOPES = np.array([0.75, 0.8, 0.85, 0.9, 0.95, 0.97, 1.0, 1.03, 1.05, 1.1, 1.15, 1.2, 1.25])


# --- Distortions: float arrays in, float arrays out ---------------------------------------------------
def through(pcm, command, suffix="wav"):
    """Runs `command` (with {i} and {o}) on a sound file."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in.wav", f"{folder}/out.{suffix}"
        write_wav(source, pcm)
        subprocess.run(command.format(i=source, o=target), shell=True, check=True, capture_output=True)
        raw = subprocess.run(["ffmpeg", "-v", "error", "-i", target, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"],
                             capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32)


def write_wav(path, pcm):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "f32le", "-ar", str(RATE), "-ac", "1", "-i", "-", path],
                   input=pcm.astype(np.float32).tobytes(), check=True)


def add(pcm, other, snr):
    gain = np.sqrt(np.mean(pcm**2) / (np.mean(other**2) + 1e-12)) * 10 ** (-snr / 20)
    mixed = pcm + other[: len(pcm)] * gain
    return mixed / max(1.0, np.abs(mixed).max())


def held_out_speech(random, samples):
    clips = [p for p in sorted((PCM / "fillets-ng-data-nl").glob("*.npy"))
             if speech_is_held_out("fillets-ng-data-nl", p.stem.replace("__", "/"))]
    clips += sorted((PCM / "asterisk-core-sounds-it-g722").glob("*.npy"))
    out = np.zeros(0, np.float32)
    while len(out) < samples:
        clip = np.load(clips[random.integers(len(clips))]).astype(np.float32)
        if len(clip) > 4000 and clip.std() > 50:
            out = np.concatenate([out, clip / clip.std(), np.zeros(int(random.integers(0, 6000)), np.float32)])
    return out[:samples]


def reverb(pcm, random, rt60):
    length = int(rt60 * RATE)
    tail = random.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail[0] = np.sqrt(np.sum(tail**2)) * 0.7
    wet = np.fft.irfft(np.fft.rfft(pcm, 2**19) * np.fft.rfft(tail, 2**19))[: len(pcm)].astype(np.float32)
    return wet * 0.5 / np.abs(wet).max()


def noise(pcm, random, snr):
    return add(pcm, random.standard_normal(len(pcm)), snr)


def codec(pcm, name):
    options = {"mp3": ("-c:a libmp3lame -b:a 64k", "mp3"), "opus": ("-c:a libopus -b:a 24k", "opus")}[name]
    return through(pcm, f"ffmpeg -v error -i {{i}} {options[0]} {{o}}", options[1])


def filmed(pcm, random):
    x = reverb(through(pcm, "sox {i} {o} highpass 300 lowpass 3400"), random, 0.4)
    return codec(noise(x, random, 10), "mp3")


# name -> (seconds of source per second of query, function)
CONDITIONS = {
    "clean": (1, lambda x, r: x),
    "mp3 64k": (1, lambda x, r: codec(x, "mp3")),
    "opus 24k": (1, lambda x, r: codec(x, "opus")),
    "phone": (1, lambda x, r: through(x, "sox {i} {o} highpass 300 highpass 300 lowpass 3400 lowpass 3400")),
    "noise 10": (1, lambda x, r: noise(x, r, 10)),
    "noise 0": (1, lambda x, r: noise(x, r, 0)),
    "speech 0": (1, lambda x, r: add(x, held_out_speech(r, len(x)), 0)),
    "speech +10": (1, lambda x, r: add(x, held_out_speech(r, len(x)), -10)),
    "reverb": (1, lambda x, r: reverb(x, r, 0.5)),
    "pitch 5%": (1, lambda x, r: through(x, f"rubberband -q -p {r.choice([-1, 1]) * 0.845} {{i}} {{o}}")),
    "pitch 12%": (1, lambda x, r: through(x, f"rubberband -q -p {r.choice([-2, 2])} {{i}} {{o}}")),
    "tempo 20%": (1.2, lambda x, r: through(x, "rubberband -q -T 1.2 {i} {o}")),
    "tempo -20%": (0.8, lambda x, r: through(x, "rubberband -q -T 0.8 {i} {o}")),
    "speed 3%": (1.03, lambda x, r: through(x, "sox {i} {o} speed 1.03")),
    "speed 8%": (1.08, lambda x, r: through(x, "sox {i} {o} speed 1.08")),
    "speed -12%": (0.88, lambda x, r: through(x, "sox {i} {o} speed 0.88")),
    "filmed": (1, filmed),
}


def tracks_of(packages):
    split = json.loads((c.HERE / "split.json").read_text())
    removed = {(r["package"], r["file"]) for r in split["removed"]}
    banks = [json.loads((c.CACHE / "features" / f"{b}.json").read_text()) for b in ("validation", "music")]
    return [(t["package"], t["name"], PCM / t["package"] / (t["name"].replace("/", "__") + ".npy"))
            for bank in banks for t in bank if t["speed"] == 1 and split["packages"][t["package"]] in packages
            and (t["package"], t["name"]) not in removed]


def render(count, seed=7):
    """Queries by condition: (track, start second, pcm); rendered once."""
    validation = tracks_of(["validation"])
    for name, (stretch, change) in CONDITIONS.items():
        target = c.CACHE / "queries" / (re.sub(r"[^\w+-]+", "_", name) + f"_{count}.npz")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            random = np.random.default_rng([seed, *name.encode()])
            sounds, truth = [], []
            while len(sounds) < count:
                track = int(random.integers(len(validation)))
                pcm = np.load(validation[track][2], mmap_mode="r")
                need = int(SECONDS * stretch * RATE)
                if len(pcm) < need + 2 * RATE:
                    continue
                start = int(random.integers(0, len(pcm) - need))
                piece = pcm[start : start + need].astype(np.float32) / 32768
                if np.sqrt(np.mean(piece**2)) < 0.005:
                    continue
                out = change(piece, random)[: int(SECONDS * RATE)]
                sounds.append(np.pad(out, (0, int(SECONDS * RATE) - len(out))).astype(np.float16))
                truth.append((track, start / RATE, stretch))
            np.savez(target, sounds=np.stack(sounds), truth=np.array(truth))
        data = np.load(target)
        yield name, data["sounds"], data["truth"]


# --- Matching, crude -------------------------------------------------------------------------------
class Embedder:
    def __init__(self, run=None, onnx=None):
        if onnx:
            import onnxruntime
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
            self.run = lambda x: session.run(None, {"pcm": x[None]})[0][0]
        else:
            from export import load_trunk
            trunk, self.state = load_trunk(run)
            network = Fingerprint(trunk).eval()
            self.run = lambda x: network(torch.from_numpy(x)[None])[0].numpy()

    @torch.no_grad()
    def __call__(self, pcm, window=120):
        pcm = pcm.astype(np.float32) / (32768 if pcm.dtype == np.int16 else 1)
        count = (len(pcm) - SEGMENT_SAMPLES) // c.HOP_SAMPLES + 1
        return np.concatenate([self.run(pcm[s * c.HOP_SAMPLES : (min(s + window, count) - 1) * c.HOP_SAMPLES + SEGMENT_SAMPLES])
                               for s in range(0, count, window)]) if count > 0 else np.zeros((0, c.DIMENSION), np.float32)


def vote(query, catalogue, owner, position, top=20):
    """Best (score, track, start second): hits weighted by cosine above the background, on straight lines."""
    cosine = query @ catalogue.T
    background = np.float32(0.35)
    hits = np.argpartition(-cosine, top, 1)[:, :top]
    weight = np.clip(np.take_along_axis(cosine, hits, 1) - background, 0, None)
    time = np.arange(len(query))[:, None] * 0.5
    best = (0.0, -1, 0.0)
    for slope in SLOPES:
        line = position[hits] - slope * time
        for shift in (0, 0.5):
            bins = owner[hits] * 100_000 + np.floor(line + shift).astype(np.int64) + 1000
            keys, inverse = np.unique(bins, return_inverse=True)
            sums = np.bincount(inverse.ravel(), weight.ravel())
            i = sums.argmax()
            if sums[i] > best[0]:
                best = (float(sums[i]), int(keys[i] // 100_000), float(keys[i] % 100_000 - 1000))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="default")
    parser.add_argument("--onnx")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--distractor-hours", type=float, default=6.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    embed = Embedder(args.name, args.onnx)
    validation, others = tracks_of(["validation"]), tracks_of(["train"])
    vectors, owner, position, hours = [], [], [], 0.0
    for number, (package, name, path) in enumerate(validation + others):
        if (number < len(validation) and number % 5 == 0) or hours > args.distractor_hours:
            continue  # kept out: queries from it are negatives
        v = embed(np.load(path))
        hours += len(v) / 7200 if number >= len(validation) else 0
        vectors.append(v)
        owner.append(np.full(len(v), number))
        position.append(np.arange(len(v)) * 0.5)
    catalogue, owner, position = np.concatenate(vectors), np.concatenate(owner), np.concatenate(position)
    print(f"catalogue: {len(catalogue)} segments", flush=True)

    results, negatives = {}, {5: [], 10: []}
    for name, sounds, truth in render(args.count):
        if args.only and name not in args.only:
            continue
        rows = {"segment": [], "cosine": [], 5: [], 10: []}
        for sound, (track, start, stretch) in zip(sounds, truth):
            query = embed(sound.astype(np.float32))
            track = int(track)
            absent = track % 5 == 0
            for length in (5, 10):
                part = query[: int((length * RATE - SEGMENT_SAMPLES) / c.HOP_SAMPLES) + 1]
                score, found, at = vote(part, catalogue, owner, position)
                (negatives[length] if absent else rows[length]).append(score if absent else (score, found == track))
            if not absent:
                nearest = (query @ catalogue.T).argmax(1)
                middle = SEGMENT_SAMPLES / RATE / 2
                expected = start + stretch * (np.arange(len(query)) * 0.5 + middle) - middle
                rows["segment"] += list((owner[nearest] == track) & (np.abs(position[nearest] - expected) < 0.75))
                exact = np.flatnonzero(owner == track)
                exact = exact[np.clip(np.round(expected * 2).astype(int), 0, len(exact) - 1)]
                rows["cosine"] += list((query * catalogue[exact]).sum(1))
        results[name] = rows
    thresholds = {k: np.quantile(v, 0.99) for k, v in negatives.items()}
    print(f"{'':12} segment cosine |  5 s  10 s | at 1 % false alarms: 5 s  10 s   ({len(negatives[5])} negatives)")
    for name, rows in results.items():
        share = lambda k, least: 100 * np.mean([ok and s > least for s, ok in rows[k]])
        print(f"{name:12} {100 * np.mean(rows['segment']):6.1f}  {np.mean(rows['cosine']):.3f} | {share(5, 0):5.0f} {share(10, 0):5.0f} |"
              f" {share(5, thresholds[5]):22.0f} {share(10, thresholds[10]):5.0f}", flush=True)


if __name__ == "__main__":
    main()
