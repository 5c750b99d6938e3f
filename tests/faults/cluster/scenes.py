"""The scenes that there are, and how one is run."""

import asyncio
import logging
import shutil
from functools import partial
from pathlib import Path

from tests.faults.cluster.nemesis import CARELESS, FILE_FAULTS, REDIS_FAULTS, REWINDING, WORKERS_FAULTS
from tests.faults.cluster.ordeal import Ordeal, Result, Scene
from tests.faults.cluster.stores import File, Redis

__all__ = ["SCENES", "run"]

PATIENCE_SECONDS = 240

SCENES = {
    scene.name: scene
    for scene in (
        Scene("file", 3, File, FILE_FAULTS),
        Scene("workers", 1, partial(File, workers=2), WORKERS_FAULTS),
        Scene("redis", 2, partial(Redis, durability="disk"), REDIS_FAULTS),
        Scene("rewound", 2, partial(Redis, durability="disk", replica=True), REWINDING),
        Scene("careless", 2, partial(Redis, durability="memory", appendfsync="everysec"), CARELESS),
    )
}


def run(folder: Path, scene: Scene, seed: int, seconds: float, kept: Path) -> Result:
    """Run a scene in `folder`; of what finds something, all that tells more of it goes below `kept`."""
    logging.getLogger("asyncio").setLevel(
        logging.ERROR
    )  # it tells of each write to a connection that is lost

    async def go() -> Result:
        ordeal = Ordeal(folder, scene, seed)
        # Told from where it waits, as the suite's own limit does not.
        result = await asyncio.wait_for(ordeal.run(seconds), seconds + PATIENCE_SECONDS)
        if result.findings:
            shutil.rmtree(kept / f"{scene.name}-{seed}", ignore_errors=True)
            result.kept = kept / f"{scene.name}-{seed}"
            result.kept.mkdir(parents=True, exist_ok=True)
            ordeal.record.keep(result.kept / "history.jsonl")
            (result.kept / "findings").write_text("\n".join(result.findings) + "\n")
            ordeal.nodes.keep(result.kept)
            ordeal.store.keep(result.kept)
        return result

    return asyncio.run(go())
