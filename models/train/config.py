"""Every number of the recipe, in one place. Times are frames of 31.25 ms unless a name says otherwise."""
import os
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("REFRAIN_CACHE", Path.home() / ".cache" / "refrain"))
MODEL_ID = "refrain-fp-1"
MODEL_DIR = HERE.parent / MODEL_ID

# --- Front end -------------------------------------------------------------------------------------
SAMPLE_RATE = 16_000
FRAME_HOP = 500  # samples; 16 frames make the segment hop of exactly 0.5 s
BANDS = 80
BANDS_PER_OCTAVE = 15  # log spaced: a pitch shift is a translation, 2 semitones are 2.5 bands
LOWEST_HZ = 180.0  # bands at 180 .. 6930 Hz
BANDS_BELOW, BANDS_ABOVE = 3, 2  # extra bands kept in training features, so that shifted images have edges
LEVEL_FRAMES = 17  # each frame is measured against the mean power of the half second around it
FLOOR = 1e-5  # of that mean power: what lies 50 dB below is not audible, hence not evidence

# --- Segments --------------------------------------------------------------------------------------
COLUMN_FRAMES = 16  # frames per segment hop (the product of the network's strides)
HOP_SAMPLES = COLUMN_FRAMES * FRAME_HOP
DIMENSION = 128

# --- Data ------------------------------------------------------------------------------------------
TEST_PACKAGES = ["wesnoth-1.16-music", "hedgewars-data", "fretsonfire-songs-muldjord", "unknown-horizons"]
VALIDATION_PACKAGES = ["ufoai-music", "supertuxkart-data"]
TRAIN_PACKAGES = [
    "warzone2100-music", "naev-data", "supertux-data", "berusky2-data", "freedroidrpg-data",
    "megaglest-data", "redeclipse-data", "fillets-ng-data", "enigma-data", "btanks-data", "asc-music",
    "openarena-088-data", "freeorion-data", "lincity-ng-data", "amoebax-data", "extremetuxracer-data",
    "scorched3d-data", "lugaru-data", "tumiki-fighters-data", "torus-trooper-data", "cube2-data",
    "endless-sky-data",
]
SPEECH_PACKAGES = [
    "fillets-ng-data-nl", "asterisk-core-sounds-en-g722", "asterisk-core-sounds-fr-g722",
    "asterisk-core-sounds-es-g722", "asterisk-core-sounds-it-g722", "asterisk-core-sounds-ru-g722",
    "ktuberling-data",
]
# Never heard in training; for the speech overlays of validation and test.
HELD_OUT_SPEECH = ["asterisk-core-sounds-it-g722", "asterisk-core-sounds-ru-g722"]
HELD_OUT_VOICES = ["espeak:en-us+f3", "espeak:de+m5", "espeak:en-gb-scotland+f2", "flite:slt", "flite:awb"]
TRAIN_VOICES = [
    "espeak:en-us", "espeak:en-gb+m3", "espeak:en-us+f1", "espeak:en-us+f4", "espeak:en-gb-x-rp+m7",
    "espeak:de+f2", "espeak:fr+m1", "espeak:fr+f5", "espeak:es+f1", "espeak:it+m4", "espeak:pl+m2",
    "espeak:ru+f2", "espeak:nl+m6", "espeak:pt+f4", "espeak:sv+m1", "espeak:tr+f3", "espeak:cmn+m2",
    "espeak:hi+f1", "espeak:en-us+klatt2", "espeak:en-us+croak", "flite:kal16", "flite:rms",
]
MIN_TRACK_SECONDS = 20.0
# Last laps are the same recording played faster: right answers that a catalogue without them would call false alarms.
SPED_UP_COPIES = {"supertuxkart-data": "_fast.ogg"}
# Training music is also stored resampled. An image shifted by whole bands is not what the front end sees of shifted
# music (its windows have the same length in every band): cosine 0.84 to the real thing, against 0.97 for tempo.
SPEEDS = (1.0, 0.875, 0.915, 1.092, 1.142, 0.8, 0.836, 1.196, 1.25)


@dataclass
class Training:
    """One run. Overridable from the command line: python train.py --set batch=256 steps=40000."""

    seed: int = 20261123
    steps: int = 20_000
    batch: int = 64  # crops per process; each gives `columns` pairs
    columns: int = 3  # adjacent segments of a crop share their work
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 200
    temperature: float = 0.055
    same_music: float = 0.9  # clean images that correlate above this are the same music: not negatives
    ema: float = 0.998
    hard_from: float = 0.3  # difficulty at the first step, and
    hard_at: float = 0.2  # share of the run after which it is full
    checkpoint_every: int = 200
    threads: int = 1  # per process
    device: str = "auto"
