"""Trains the fingerprint: contrastive pairs of (reference view, upload view) of the same half seconds.

    python train.py                                  resumes from the last checkpoint of this run
    python train.py --name wide --set batch=512 steps=60000 device=cuda
    torchrun --nproc-per-node 2 train.py           one single-threaded process per CPU core: on a machine
                                                   that others use, threads of one process wait for each other

Checkpoints and the log lie in $REFRAIN_CACHE/train/<run>/. Every crop gives a few adjacent segments that
share their work; each segment is to be found among all others of the batch (NT-Xent). There is no queue of
negatives from earlier batches: the network learned to turn all its vectors away from the queue's mean,
together (mean cosine of unrelated segments 0.4), and got worse on real sound.
"""
import argparse
import copy
import dataclasses
import json
import math
import os
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F

import config as c
from augment import Augment
from model import SEGMENT_FRAMES, LevelFree, Trunk


def describe(clean, columns):
    """A plain description of each clean segment [n, values], to see that two are the same music."""
    x = torch.log10(clean + 1e-9)
    x = x.unfold(2, SEGMENT_FRAMES, c.COLUMN_FRAMES)[:, :, :columns]
    n, bands = x.shape[:2]
    x = x.transpose(1, 2).reshape(n * columns, bands, SEGMENT_FRAMES)
    x = F.avg_pool2d(x[:, None], (4, 4))[:, 0]
    x = x - x.mean(2, keepdim=True)
    return F.normalize(x.flatten(1), dim=1)


def contrastive(reference, upload, described, position, keep, settings):
    """NT-Xent over both sides of the batch; rows without a valid positive are dropped."""
    n = len(reference)
    z = torch.cat([reference, upload])
    logits = z @ z.T / settings.temperature
    # No negatives of each other: what lies within 0.75 s in the same recording, and loops.
    near = (position[:, None] - position[None]).abs() < 24
    masked = (near | (described @ described.T > settings.same_music)).repeat(2, 2)
    index = torch.arange(n, device=z.device)
    target = torch.cat([index + n, index])
    masked[torch.arange(2 * n, device=z.device), target] = False
    logits = logits.masked_fill(masked, -1e4)
    rows = keep.repeat(2)
    loss = F.cross_entropy(logits[rows], target[rows])
    with torch.no_grad():  # uploads that find their reference among everything else
        hit = (logits[n:].argmax(1) == target[n:])[keep].float().mean()
    return loss, hit


def rate_at(step, progress, s):
    """Warm-up, then cosine to almost nothing at progress 1."""
    return s.learning_rate * min(1, (step + 1) / s.warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1, progress))))


def share_gradients(model, world):
    """The mean gradient of all processes, in one message."""
    gradients = [p.grad for p in model.parameters()]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= world
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(mean.view_as(gradient))


@torch.no_grad()
def follow(average, model, decay):
    """EMA of weights and BatchNorm statistics: the model that is exported."""
    for a, b in zip(average.state_dict().values(), model.state_dict().values()):
        a.lerp_(b, 1 - decay) if a.is_floating_point() else a.copy_(b)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="default")
    parser.add_argument("--set", nargs="*", default=[], metavar="name=value")
    parser.add_argument("--minutes", type=float, default=math.inf, help="a deadline: the schedule ends then if not by steps")
    args = parser.parse_args()
    settings = c.Training()
    for item in args.set:
        name, value = item.split("=")
        setattr(settings, name, type(getattr(settings, name))(value))
    folder = c.CACHE / "train" / args.name
    folder.mkdir(parents=True, exist_ok=True)
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if world > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(settings.seed)
    device = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"

    augment = Augment(settings.columns, device)
    level = LevelFree().to(device)
    model = Trunk().to(device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": settings.weight_decay},
                                   {"params": plain, "weight_decay": 0.0}], lr=settings.learning_rate)
    step, pairs, seen, progress = 0, 0, 0.0, 0.0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, pairs, seen, progress = state["step"], state["pairs"], state["seconds"], state["progress"]
    torch.manual_seed(settings.seed + 1000 * step + rank)  # from here on every process draws its own crops

    def save():
        temporary = checkpoint.with_suffix(".tmp")
        torch.save({"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(),
                    "step": step, "pairs": pairs, "seconds": seen, "progress": progress, "world": world, "settings": dataclasses.asdict(settings)}, temporary)
        temporary.rename(checkpoint)

    log = (folder / "log.jsonl").open("a")
    begun, sums, spent = time.time(), torch.zeros(3), {"augment": 0.0, "network": 0.0}
    resumed = progress
    while progress < 1:
        tick = time.time()
        torch.set_num_threads(1)  # many small operations: on a busy machine a second thread only waits
        hardness = settings.hard_from + (1 - settings.hard_from) * min(1.0, progress / settings.hard_at)
        with torch.no_grad():
            reference, upload, clean, position, keep = augment.pairs(settings.batch, hardness)
            images = level(torch.cat([reference, upload]))
            described = describe(clean, settings.columns)
        spent["augment"] += time.time() - tick
        tick = time.time()
        torch.set_num_threads(settings.threads)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, progress, settings)
        model.train()
        with torch.autocast(device, dtype=torch.bfloat16):
            vectors = model(images)
        one, two = vectors.float().flatten(0, 1).chunk(2)
        keep, position = keep.flatten(), position.flatten()
        loss, hit = contrastive(one, two, described, position, keep, settings)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if world > 1:
            share_gradients(model, world)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        follow(average, model, min(settings.ema, (step + 1) / (step + 20)))
        step += 1
        pairs += settings.batch * settings.columns * world
        elapsed = torch.tensor((time.time() - begun) / 60 / args.minutes)
        if world > 1:
            dist.broadcast(elapsed, 0)  # all processes must agree on when to stop
        progress = max(step / settings.steps, resumed + (1 - resumed) * elapsed.item())
        spent["network"] += time.time() - tick
        sums += torch.tensor([loss.item(), hit.item(), keep.float().mean().item()])
        if step % 50 == 0 and rank == 0:
            mean = (sums / 50).tolist()
            seen += sum(spent.values())
            row = {"step": step, "loss": round(mean[0], 4), "hit": round(mean[1], 4), "kept": round(mean[2], 3),
                   "pairs": pairs, "hours": round(seen / 3600, 3),
                   **{k: round(v / 50 * 1000) for k, v in spent.items()}}
            log.write(json.dumps(row) + "\n")
            log.flush()
            print(row, flush=True)
            sums, spent = torch.zeros(3), {"augment": 0.0, "network": 0.0}
        if step % settings.checkpoint_every == 0 and rank == 0:
            save()
    if rank == 0:
        save()


if __name__ == "__main__":
    main()
