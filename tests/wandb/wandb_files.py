"""Reading ``.wandb`` files back: W&B's log of a run, records of protobuf in LevelDB's log format (32 KiB blocks)."""

import json
import struct
import time
from collections import namedtuple

HEADER, BLOCK = 7, 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4

Session = namedtuple("Session", "run config history axes summary artifacts exit_code")


def messages(path):
    """The protobuf messages of a file; a header of seven bytes goes before the first."""
    data, parts = path.read_bytes(), b""
    assert data[:4] == b":W&B"
    at = HEADER
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # no room for a header: the block's rest is zeros
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + HEADER])
        if at + HEADER + length > len(data):  # not all of it is written yet
            return
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (FULL, LAST):
            yield parts
            parts = b""
        else:
            assert kind in (FIRST, MIDDLE)


def session(path, patience=60):
    """What one session of a run told W&B.

    ``wandb.Run.finish`` does not wait for W&B's service, which may write the last 32 KiB of the file after it returned;
    the file is whole when it has the exit of the run.
    """
    end = time.monotonic() + patience
    while (found := _session(path)).exit_code is None:
        assert time.monotonic() < end, f"{path} has no end"
        time.sleep(0.02)
    return found


def _session(path):
    from wandb.proto import wandb_internal_pb2

    run, config, history, axes, summary, artifacts, exit_code = None, {}, [], {}, {}, [], None
    for message in messages(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(message)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            history.append(_items(record.history.item))
        elif kind == "metric":
            axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "summary":
            summary |= _items(record.summary.update)
        elif kind == "artifact":
            artifacts.append(record.artifact)
        elif kind == "exit":
            exit_code = record.exit.exit_code
    return Session(run, config, history, axes, summary, artifacts, exit_code)


def _items(items):
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def sessions(directory):
    """The sessions of a run directory, the oldest first."""
    files = sorted(directory.path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    return [session(path) for path in files]
