"""Decodes music and speech, splits it by package without leaks, and stores band powers for training.

    python prepare.py            decoded sound that is there already is kept

Writes $REFRAIN_CACHE/pcm/<package>/<file>.npy (int16 mono 16 kHz), split.json beside this file, and
$REFRAIN_CACHE/features/: <name>.npy, log10 band powers [frames, bands] as float16 of everything in a bank
end to end, and <name>.json, where each track starts. Banks: music (train, at several speeds), validation,
speech, effects.
"""
import hashlib
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

import config as c
from model import FrontEnd

MUSIC, PCM, FEATURES = c.CACHE / "music", c.CACHE / "pcm", c.CACHE / "features"
SOUND = {".ogg", ".opus", ".mp3", ".flac", ".wav", ".oga", ".m4a", ".mod", ".s3m", ".xm", ".it", ".g722"}


def decode(source: Path, target: Path):
    """Any sound file to int16 mono 16 kHz; an undecodable one becomes an empty array."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", *(["-f", "g722"] if source.suffix == ".g722" else []), "-i", str(source), "-t", "1800", "-ac", "1",
         "-ar", str(c.SAMPLE_RATE), "-f", "s16le", "-"], capture_output=True).stdout
    save(target, np.frombuffer(raw[: len(raw) // 2 * 2], np.int16))


def save(target: Path, array):
    """Written aside and renamed: an interrupted run leaves no half file."""
    temporary = target.with_suffix(".tmp.npy")
    np.save(temporary, array)
    temporary.rename(target)


def pcm_of(package):
    """Decoded files of a package, by their path inside it."""
    root = MUSIC / package
    sources = sorted(p for p in root.rglob("*") if p.suffix in SOUND and p.is_file() and not p.is_symlink())
    names = [str(p.relative_to(root)) for p in sources]
    targets = [PCM / package / (n.replace("/", "__") + ".npy") for n in names]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(decode, sources, targets))
    return dict(zip(names, targets))


def seconds(path):
    return np.load(path, mmap_mode="r").shape[0] / c.SAMPLE_RATE


def is_music(package, name, path):
    """Long files that are not ambience, jingles or voices."""
    if package == "fretsonfire-songs-muldjord" and not name.endswith("song.ogg"):
        return False  # the guitar and rhythm stems of the same songs
    if re.search(r"voice|/amb|ambien(t|ce)_|/sfx/|/sounds?/(?!.*music)", name.lower()):
        return False
    return seconds(path) >= c.MIN_TRACK_SECONDS


class Bands:
    """Band powers of PCM, log10 as float16, extra bands included."""

    def __init__(self):
        self.front = FrontEnd(c.BANDS_BELOW, c.BANDS_ABOVE).eval()

    def __call__(self, pcm):
        x = torch.from_numpy(np.asarray(pcm, np.float32) / 32768)
        x = torch.nn.functional.pad(x, (self.front.span // 2, self.front.span))
        chunk, out = 2000, []
        with torch.no_grad():
            for start in range(0, len(pcm) // c.FRAME_HOP, chunk):
                end = min(start + chunk, len(pcm) // c.FRAME_HOP)
                piece = x[start * c.FRAME_HOP : (end - 1) * c.FRAME_HOP + self.front.span]
                out.append(torch.log10(self.front(piece[None])[0] + 1e-12).half().numpy())
        return np.concatenate(out, 1) if out else np.zeros((c.BANDS + c.BANDS_BELOW + c.BANDS_ABOVE, 0), np.float16)


def coarse(features):
    """Features at 8 frames/s and 21 bands, enough to recognise the same recording."""
    bands, frames = features.shape[0] // 4 * 4, features.shape[1] // 4 * 4
    x = features[:bands, :frames].astype(np.float32).clip(-8, None)
    return x.reshape(bands // 4, 4, frames // 4, 4).mean((1, 3))


def patches(image, every, length=40):
    """Unit-length views of 5 s of a coarse image, without the means of bands (tone) and of frames (fades)."""
    starts = np.arange(0, image.shape[1] - length, every)
    if len(starts) == 0:
        return np.zeros((0, image.shape[0] * length), np.float32)
    views = np.stack([image[:, s : s + length] for s in starts])
    views = views - views.mean(2, keepdims=True)
    views = views - views.mean(1, keepdims=True)
    views = views.reshape(len(starts), -1)
    return views / np.linalg.norm(views, axis=1, keepdims=True).clip(6.0)  # near silence stays short


def shared_with(candidates, keepers, threshold=0.8):
    """Candidates of which at least two 5 s pieces occur in one keeper, with that keeper and how well."""
    found = {}
    queries = {k: torch.from_numpy(patches(v, 64)) for k, v in candidates.items()}
    owners = [k for k, v in queries.items() for _ in range(len(v))]
    matrix = torch.cat(list(queries.values()))
    hits = {}
    for keeper, image in keepers.items():
        views = torch.from_numpy(patches(image, 1))
        if len(views) == 0:
            continue
        best = torch.zeros(len(matrix))
        for s in range(0, len(views), 4096):
            best = torch.maximum(best, (matrix @ views[s : s + 4096].T).amax(1))
        for i in torch.nonzero(best > threshold)[:, 0].tolist():
            hits.setdefault((owners[i], keeper), []).append(float(best[i]))
    for (owner, keeper), scores in hits.items():
        if len(scores) >= 2:
            found[owner] = (keeper, len(scores), max(scores))
    return found


def make_split(tracks, images):
    """Packages to splits; tracks that share audio with a better protected split are taken out."""
    split_of = {p: "test" for p in c.TEST_PACKAGES} | {p: "validation" for p in c.VALIDATION_PACKAGES}
    split_of |= {p: "train" for p in c.TRAIN_PACKAGES}
    of = lambda split: {k: images[k] for k in tracks if split_of[k[0]] == split}
    removed = {
        k: {"package": k[0], "file": k[1], "split": split_of[k[0]], "reason": "sped-up copy of another track of the package"}
        for k in tracks if k[0] in c.SPED_UP_COPIES and k[1].endswith(c.SPED_UP_COPIES[k[0]])
    }
    for candidate, keeper in (("validation", "test"), ("train", "test"), ("train", "validation")):
        left = {k: v for k, v in of(candidate).items() if k not in removed}
        for owner, (where, count, score) in shared_with(left, of(keeper)).items():
            removed[owner] = {
                "package": owner[0], "file": owner[1], "split": candidate,
                "reason": f"shares audio with {keeper}: {where[0]}/{where[1]} ({count} pieces of 5 s, r {score:.2f})",
            }
    document = {
        "packages": split_of,
        "minTrackSeconds": c.MIN_TRACK_SECONDS,
        "removed": sorted(removed.values(), key=lambda r: (r["package"], r["file"])),
        "speech": {"packages": c.SPEECH_PACKAGES, "heldOutPackages": c.HELD_OUT_SPEECH,
                   "heldOutVoices": c.HELD_OUT_VOICES, "trainVoices": c.TRAIN_VOICES,
                   "heldOutRule": "fillets-ng-data-nl: clips in a level folder whose SHA-1 starts with 0-3 are held out"},
    }
    (c.HERE / "split.json").write_text(json.dumps(document, indent=1) + "\n")
    return split_of, removed


def speech_is_held_out(package, name):
    if package == "fillets-ng-data-nl":
        level = re.sub(r".*/sound/", "", name).split("/")[0]
        return hashlib.sha1(level.encode()).hexdigest()[0] in "0123"
    return package in c.HELD_OUT_SPEECH


def synthetic_speech(voice, seed, target: Path):
    """Four minutes of licence texts, read by an espeak-ng or flite voice at several speeds and pitches."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    text = " ".join(p.read_text(errors="ignore") for p in sorted(Path("/usr/share/common-licenses").iterdir()))
    sentences = [s for s in re.split(r"[.;:]\s+", re.sub(r"[^A-Za-z0-9 ,.;:\n]", " ", text)) if 30 < len(s) < 300]
    kind, name = voice.split(":")
    pieces, total = [], 0
    wav = target.with_suffix(".wav")
    while total < 240 * c.SAMPLE_RATE:
        words = re.sub(r"\s+", " ", ". ".join(random.choice(sentences, 4)))
        command = (["espeak-ng", "-v", name, "-s", str(random.integers(120, 230)), "-p", str(random.integers(25, 75)), "-w", wav, words]
                   if kind == "espeak" else ["flite", "-voice", name, "-t", words, "-o", wav])
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        raw = subprocess.run(["ffmpeg", "-v", "error", "-i", wav, "-ac", "1", "-ar", str(c.SAMPLE_RATE), "-f", "s16le", "-"],
                             capture_output=True).stdout
        pieces.append(np.frombuffer(raw, np.int16))
        total += len(pieces[-1])
    wav.unlink()
    save(target, np.concatenate(pieces))


def stream(clips, seed, gap=0.5):
    """Short clips end to end at one loudness, with pauses, as someone would speak them."""
    random = np.random.default_rng(seed)
    out = []
    for path in random.permutation(clips):
        clip = np.load(path).astype(np.float32)
        level = np.sqrt(np.mean(clip**2)) if len(clip) else 0
        if level < 30 or len(clip) < 3000:
            continue
        out.append(np.clip(clip * (3000 / level), -32000, 32000).astype(np.int16))
        out.append(np.zeros(int(random.exponential(gap) * c.SAMPLE_RATE), np.int16))
    return np.concatenate(out)


def at_speed(pcm, speed):
    """Played faster or slower, pitch and all."""
    if speed == 1:
        return pcm
    raw = subprocess.run(["ffmpeg", "-v", "error", "-f", "s16le", "-ar", str(round(c.SAMPLE_RATE * speed)), "-ac", "1", "-i", "-",
                          "-ar", str(c.SAMPLE_RATE), "-f", "s16le", "-"], input=pcm.tobytes(), capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.int16)


def write_bank(name, items, bands, speeds=(1.0,)):
    """items: (label, package, function that loads PCM). All of them at the first speed, then at the next."""
    parts, index, frame = [], [], 0
    for speed in speeds:
        for label, package, load in items:
            features = np.ascontiguousarray(bands(at_speed(load(), speed)).T)
            parts.append(features)
            index.append({"name": label, "package": package, "speed": speed, "start": frame, "frames": len(features)})
            frame += len(features)
    save(FEATURES / f"{name}.npy", np.concatenate(parts))
    (FEATURES / f"{name}.json").write_text(json.dumps(index))
    print(f"{name}: {len(items)} tracks, {frame * c.FRAME_HOP / c.SAMPLE_RATE / 3600:.2f} h", flush=True)


def main():
    torch.set_num_threads(2)
    FEATURES.mkdir(parents=True, exist_ok=True)
    files = {}
    for package in c.TEST_PACKAGES + c.VALIDATION_PACKAGES + c.TRAIN_PACKAGES:
        for name, path in pcm_of(package).items():
            files[package, name] = path
        print("decoded", package, flush=True)
    tracks = {k: p for k, p in files.items() if is_music(*k, p)}
    bands = Bands()
    images = {k: coarse(bands(np.load(p))) for k, p in tracks.items()}
    split_of, removed = make_split(tracks, images)
    print(f"{len(tracks)} tracks, {len(removed)} removed for sharing audio", flush=True)

    def bank(split):
        return [(k[1], k[0], lambda p=p: np.load(p)) for k, p in tracks.items() if split_of[k[0]] == split and k not in removed]

    write_bank("music", bank("train"), bands, c.SPEEDS)
    write_bank("validation", bank("validation"), bands)
    effects = [p for k, p in files.items() if split_of[k[0]] == "train" and k not in tracks and 0.3 < seconds(p) < 15]
    write_bank("effects", [("effects", "", lambda: stream(effects, 1, 0.2))], bands)
    speech = []
    for package in c.SPEECH_PACKAGES:
        clips = [p for n, p in pcm_of(package).items() if not speech_is_held_out(package, n)]
        if clips:
            speech.append((package, package, lambda clips=clips: stream(clips, 2)))
    for number, voice in enumerate(c.TRAIN_VOICES + c.HELD_OUT_VOICES):
        path = PCM / "synthetic" / (re.sub(r"\W", "_", voice) + ".npy")
        synthetic_speech(voice, number, path)
        if voice in c.TRAIN_VOICES:
            speech.append((voice, "synthetic", lambda path=path: stream([path], 3)))
    write_bank("speech", speech, bands)


if __name__ == "__main__":
    main()
