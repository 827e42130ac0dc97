"""Devices, and what TensorFlow must be told before its first operation.

``tf`` is the module ``tensorflow``, an argument so that a test can stand in for a graphics card.
"""

from __future__ import annotations

import contextlib
from typing import Any

from engineroom.errors import DeviceError
from engineroom.values import CPU, Device

NAMES = {"cuda": "GPU", "cpu": "CPU"}


def devices(tf: Any) -> tuple[Device, ...]:
    """The cards that ``tf.config.list_physical_devices`` sees, then the CPU.

    That call starts no device and takes none of its memory; whether a card works shows in
    :func:`start`. The ROCm build calls its cards GPU as well.
    """
    cards = tf.config.list_physical_devices("GPU")
    return (*(Device("cuda", index) for index in range(len(cards))), CPU)


def start(tf: Any, device: Device, threads: int) -> str:
    """TensorFlow's name for ``device``, on which one operation has just run.

    Raises:
        DeviceError: TensorFlow has no such device, or took another one.
    """
    if device.kind not in NAMES:
        hint = " (its adapter for Ascend ends with TensorFlow 2.6)" if device.kind == "npu" else ""
        raise DeviceError(
            f"device {device}: TensorFlow {tf.__version__} runs on cpu and cuda only{hint}"
        )
    # All of these are the process's, and settled once its first operation has run: a second model
    # takes them as they are.
    with contextlib.suppress(RuntimeError):
        for card in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(card, True)
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    name = f"{NAMES[device.kind]}:{device.index}"
    try:
        with tf.device(f"/device:{name}"):
            used = str(tf.add(1.0, 1.0).device)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise DeviceError(f"device {device} could not be started: {error}") from error
    # Where the device is not there, TensorFlow goes on with the CPU and says nothing.
    if not used.endswith(f"device:{name}"):
        raise DeviceError(
            f"device {device} was asked for and TensorFlow used {used.rpartition('device:')[2]}; "
            "install a build with support for the card, or use --device cpu"
        )
    return f"/device:{name}"
