"""Exports a checkpoint's averaged weights as models/<id>/model.onnx and model.json.

    python export.py --name default
    python export.py --front-only        # the front end of model.py before the trunk of the file that is there

One graph: pcm [batch, samples] -> embeddings [batch, segments, 128], batch and length dynamic, BatchNorm
folded, trunk weights stored as float16 and cast to float32 when the file is loaded. An existing `calibration` in
model.json is kept: the matching side writes it.
"""
import argparse
import hashlib
import json
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import torch

import config as c
from model import SEGMENT_SAMPLES, Fingerprint, FrontEnd, Trunk


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


def to_onnx(module, path, output, axes):
    example = torch.zeros(1, SEGMENT_SAMPLES + c.HOP_SAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (example,), str(path), input_names=["pcm"], output_names=[output],
                          dynamic_axes={"pcm": {0: "batch", 1: "samples"}, output: axes},
                          opset_version=17, dynamo=False)
    return onnx.load(path)


def export_onnx(network, path):
    save(halve(to_onnx(network, path, "embeddings", {0: "batch", 1: "segments"})), path)


def save(model, path):
    onnx.checker.check_model(model)
    onnx.save(model, path)


def replace_front(path):
    """The same network behind the front end of model.py, for when that became faster and no checkpoint is at hand."""
    before = onnx.load(path)
    is_front = lambda node: node.name.lstrip("/").startswith("front/")
    powers = {name for node in before.graph.node if is_front(node) and node.op_type != "Constant" for name in node.output}
    [joint] = powers & {name for node in before.graph.node if not is_front(node) for name in node.input}
    rest = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(before)).extract_model([joint], ["embeddings"])
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        front = to_onnx(FrontEnd(), file.name, joint, {0: "batch", 2: "frames"})
    front = onnx.compose.add_prefix(front, "front", rename_inputs=False, rename_outputs=False)
    model = onnx.compose.merge_models(front, rest, io_map=[(joint, joint)])
    del model.graph.value_info[:]
    model.producer_name, model.producer_version = before.producer_name, before.producer_version
    save(model, path)


def run(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda pcm: session.run(None, {"pcm": pcm})[0]


def parity(expected, path, columns=9):
    """Largest difference between what is expected and the exported file, on noise with fades and silence."""
    random = np.random.default_rng(5)
    samples = SEGMENT_SAMPLES + (columns - 1) * c.HOP_SAMPLES
    pcm = (random.standard_normal((2, samples)) * np.geomspace(1e-4, 0.3, samples)).astype(np.float32)
    pcm[1, : SEGMENT_SAMPLES] = 0
    got, want = run(path)(pcm), expected(pcm)
    assert got.shape == want.shape == (2, columns, c.DIMENSION) and np.isfinite(got).all()
    return float(np.abs(got - want).max())


def in_torch(network):
    return lambda pcm: network(torch.from_numpy(pcm)).detach().numpy()


def provenance(state):
    music = json.loads((c.CACHE / "features" / "music.json").read_text())
    music = [t for t in music if t["speed"] == 1]
    hours = sum(t["frames"] for t in music) * c.FRAME_HOP / c.SAMPLE_RATE / 3600
    return {
        "trainedOn": f"{len(music)} tracks of freely licensed game music from Debian packages; see MODEL_CARD.md",
        "commands": ["models/train/fetch_music.sh", "python prepare.py", "python train.py", "python export.py"],
        "pairs": state["pairs"], "hours": round(hours, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="default")
    parser.add_argument("--front-only", action="store_true")
    args = parser.parse_args()
    c.MODEL_DIR.mkdir(exist_ok=True)
    path, card = c.MODEL_DIR / "model.onnx", c.MODEL_DIR / "model.json"
    before = json.loads(card.read_text()) if card.exists() else {}
    if args.front_only:
        expected, origin = run(path), before["provenance"]
        replace_front(path)
        difference = parity(expected, path)
        assert difference < 1e-3, difference
    else:
        trunk, state = load_trunk(args.name)
        network = Fingerprint(trunk).eval()
        export_onnx(network, path)
        difference, origin = parity(in_torch(network), path), provenance(state)
        assert difference < 5e-3, difference
    document = {
        "id": c.MODEL_ID, "family": "refrain", "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size,
        "licence": "Apache-2.0",
        "sampleRate": c.SAMPLE_RATE, "segmentSamples": SEGMENT_SAMPLES, "hopSamples": c.HOP_SAMPLES,
        "dimension": c.DIMENSION, "similarity": "cosine",
        "input": {"name": "pcm", "layout": "window"}, "output": {"name": "embeddings"},
        "energyFloorDbfs": -60,
        "calibration": before.get("calibration", {}),
        "provenance": origin,
    }
    card.write_text(json.dumps(document, indent=2) + "\n")
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, differs by {difference:.1e} from what it was made of")


if __name__ == "__main__":
    main()
