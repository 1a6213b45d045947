"""The JSON files that stages write, as typed objects: one module for each kind of file.

board = read(Leaderboard, layout.leaderboard)
write(board, layout.leaderboard)
"""

from pydantic import BaseModel

from components.data.manifest import Manifest
from components.data.shard_index import ShardIndex
from components.training.callback import Validation
from pipeline.documents.base import Section, read, read_by_name, read_lines, read_lists, write, write_by_name
from pipeline.documents.calibration import Calibration
from pipeline.documents.evaluation import Evaluation
from pipeline.documents.illustrations import LatentMaps, PrefixCurve
from pipeline.documents.leaderboard import Leaderboard
from pipeline.documents.registry import RegistryRecord
from pipeline.documents.run import RunRecord
from pipeline.documents.validation import Passed, Verdict

DOCUMENTS: dict[str, type[BaseModel]] = {
    "data/raw/<name>/manifest.json": Manifest,
    "data/shards/<name>/index.json": ShardIndex,
    "data/validation/<name>/passed.json": Passed,
    "data/validation/<name>/verdict.json": Verdict,
    "evaluation/<name>/metrics.json": Evaluation,
    "evaluation/<name>/reconstructions/<set>/prefixes/curve.json": PrefixCurve,
    "evaluation/<name>/reconstructions/<set>/maps.json": LatentMaps,
    "models/<name>/calibration.json": Calibration,
    "models/<name>/history.jsonl": Validation,
    "leaderboard.json": Leaderboard,
    "registry.json": RegistryRecord,
    "results/<name>/run.json": RunRecord,
}
"""Path in a checkout -> what the file holds."""

__all__ = [
    "DOCUMENTS",
    "Calibration",
    "Evaluation",
    "LatentMaps",
    "Leaderboard",
    "Passed",
    "PrefixCurve",
    "RegistryRecord",
    "RunRecord",
    "Section",
    "Verdict",
    "read",
    "read_by_name",
    "read_lines",
    "read_lists",
    "write",
    "write_by_name",
]
