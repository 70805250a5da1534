"""The scalars in an event file of TensorBoard."""

import os
import struct

from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2

from exactloop.watching.growing import Growing
from exactloop.watching.series import Series

HEADER, FRAME = 12, 16  # bytes before a record, and around it
LARGEST = 2**17  # of an event with scalars; a larger one has pictures, or a graph
OF_EPOCH, TRAIN = "epoch_", "train"


class EventReader:
    """One event file; what is not yet there as a whole is left for the next look.

    Args:
        path: The file. Its directory is called like the evaluation that it is about, or `train`.
    """

    def __init__(self, path: str) -> None:
        run = os.path.basename(os.path.dirname(os.path.abspath(path)))
        self._prefix = "" if run == TRAIN else f"{run}_"
        self._file, self.series = Growing(path), Series()

    @property
    def changed(self) -> float:
        """When it was written to last, in seconds since 1970."""
        return self._file.changed

    def read(self) -> None:
        """Takes in what is new. Raises `OSError` if it cannot be read."""
        while True:
            anew, data, size = self._file.look()
            if anew:
                self.series = Series()  # the file was cut by a resume, or exchanged
            at = self._take(data, size)  # bytes of whole records
            self._file.took(data, at)
            if at == 0:
                return

    def _take(self, data: bytes, size: int) -> int:
        """Takes in whole records, and returns how many bytes they have."""
        at = 0
        while at + HEADER <= len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            end = at + FRAME + length
            # Not all of it was read. If it is large, and all of it is there, it is passed over without being read.
            if end > len(data):
                return end if length > LARGEST and end <= size else at
            if length <= LARGEST:  # its checksums are not looked at: a wrong value is gone at the next look
                self._event(data[at + HEADER : at + HEADER + length])
            at = end
        return at

    def _event(self, record: bytes) -> None:
        try:
            event = event_pb2.Event.FromString(record)
        except DecodeError:  # whoever goes on with the run says so
            return
        # A session has begun: times of an earlier one say nothing of how fast this one is.
        if event.HasField("session_log"):
            self.series.times = []
            self.series.at(event.wall_time, event.step - 1)
        for value in event.summary.value:
            if (number := _number(value)) is not None:
                name = value.tag.removeprefix(OF_EPOCH)
                of_epoch = name != value.tag
                if not of_epoch or not self._prefix:  # else it is there twice
                    self.series.put(f"{self._prefix}{name}", event.step, number, of_epoch=of_epoch)
                self.series.at(event.wall_time, event.step)


def _number(value: summary_pb2.Summary.Value) -> float | None:
    """Returns a scalar, of hooks or of `tf.summary`; None if it is something else."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    tensor = value.tensor
    if not value.HasField("tensor") or tensor.dtype != types_pb2.DT_FLOAT or tensor.tensor_shape.dim:
        return None
    # `tf.summary` writes the bytes of a float32, others the number.
    if len(tensor.tensor_content) == 4:
        return float(struct.unpack("<f", tensor.tensor_content)[0])
    return float(tensor.float_val[0]) if tensor.float_val else None
