"""Exports a checkpoint's averaged weights as models/<id>/model.onnx and model.json.

    python export.py --name default

One graph: pcm [batch, samples] -> embeddings [batch, segments, 128], batch and length dynamic, BatchNorm
folded, trunk weights stored as float16 and cast to float32 when the file is loaded. An existing `calibration` in
model.json is kept: the matching side writes it.
"""
import argparse
import hashlib
import json
import warnings

import numpy as np
import onnx
import onnxruntime
import torch

import config as c
from model import SEGMENT_SAMPLES, Fingerprint, Trunk


def load_trunk(run):
    state = torch.load(c.CACHE / "train" / run / "checkpoint.pt", map_location="cpu")
    trunk = Trunk()
    trunk.load_state_dict(state["average"])
    return trunk.eval(), state


def halve(model):
    """Trunk weights as float16 plus a Cast, which the runtime folds away when it loads the graph."""
    kept, casts = [], []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and tensor.name.startswith(("trunk", "onnx::Conv")) and values.size > 256:
            kept.append(onnx.numpy_helper.from_array(values.astype(np.float16), tensor.name + "_half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name + "_half"], [tensor.name], to=onnx.TensorProto.FLOAT))
        else:
            kept.append(tensor)
    nodes = casts + list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def export_onnx(network, path):
    example = torch.zeros(1, SEGMENT_SAMPLES + c.HOP_SAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), (example,), str(path), input_names=["pcm"], output_names=["embeddings"],
                          dynamic_axes={"pcm": {0: "batch", 1: "samples"}, "embeddings": {0: "batch", 1: "segments"}},
                          opset_version=17, dynamo=False)
    model = halve(onnx.load(path))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def parity(network, path, columns=9):
    """Largest difference between torch and the exported file, on noise with fades and silence."""
    random = np.random.default_rng(5)
    samples = SEGMENT_SAMPLES + (columns - 1) * c.HOP_SAMPLES
    pcm = (random.standard_normal((2, samples)) * np.geomspace(1e-4, 0.3, samples)).astype(np.float32)
    pcm[1, : SEGMENT_SAMPLES] = 0
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {"pcm": pcm})[0]
    with torch.no_grad():
        want = network(torch.from_numpy(pcm)).numpy()
    assert got.shape == want.shape == (2, columns, c.DIMENSION) and np.isfinite(got).all()
    return float(np.abs(got - want).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="default")
    args = parser.parse_args()
    trunk, state = load_trunk(args.name)
    network = Fingerprint(trunk).eval()
    c.MODEL_DIR.mkdir(exist_ok=True)
    path, card = c.MODEL_DIR / "model.onnx", c.MODEL_DIR / "model.json"
    export_onnx(network, path)
    difference = parity(network, path)
    assert difference < 5e-3, difference
    music = json.loads((c.CACHE / "features" / "music.json").read_text())
    music = [t for t in music if t["speed"] == 1]
    hours = sum(t["frames"] for t in music) * c.FRAME_HOP / c.SAMPLE_RATE / 3600
    before = json.loads(card.read_text()) if card.exists() else {}
    document = {
        "id": c.MODEL_ID, "family": "refrain", "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size,
        "licence": "Apache-2.0",
        "sampleRate": c.SAMPLE_RATE, "segmentSamples": SEGMENT_SAMPLES, "hopSamples": c.HOP_SAMPLES,
        "dimension": c.DIMENSION, "similarity": "cosine",
        "input": {"name": "pcm", "layout": "window"}, "output": {"name": "embeddings"},
        "energyFloorDbfs": -60,
        "calibration": before.get("calibration", {}),
        "provenance": {
            "trainedOn": f"{len(music)} tracks of freely licensed game music from Debian packages; see MODEL_CARD.md",
            "commands": ["models/train/fetch_music.sh", "python prepare.py", "python train.py", "python export.py"],
            "pairs": state["pairs"], "hours": round(hours, 2),
        },
    }
    card.write_text(json.dumps(document, indent=2) + "\n")
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, torch and file differ by {difference:.1e}, step {state['step']}")


if __name__ == "__main__":
    main()
