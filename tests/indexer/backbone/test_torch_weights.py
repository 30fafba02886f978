"""The files are put together by hand, byte for byte as `torch.save` of old wrote them; PyTorch is not needed."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.backbone.torch_weights import read_torch_weights
from shared.errors import WeightsError

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _plain(value: Any) -> bytes:
    """The opcodes that leave `value`, of plain Python types, on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def _tensor(key: str, dtype: str, length: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The opcodes of one tensor: a call of `_rebuild_tensor_v2` on a persistent reference to its storage."""
    reference = b"(" + _plain("storage") + _name("torch", dtype) + _plain(key) + _plain("cpu") + _plain(length) + b"Nt"
    hooks = _name("collections", "OrderedDict") + b")R"
    arguments = reference + b"Q" + _plain(offset) + _plain(shape) + _plain(strides) + b"\x89" + hooks
    return _name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def _state(**tensors: bytes) -> bytes:
    """The pickle of an ordered dict of tensors."""
    entries = b"".join(_plain(name) + tensor for name, tensor in tensors.items())
    return b"\x80\x02" + _name("collections", "OrderedDict") + b")R(" + entries + b"u."


def _file(
    state: bytes, storages: dict[str, np.ndarray], magic: Any = _MAGIC, version: Any = _VERSION, system: Any = None
) -> bytes:
    head = [pickle.dumps(magic, 2), pickle.dumps(version, 2), system or pickle.dumps(_SYSTEM, 2)]
    keys = pickle.dumps(list(storages), 2)
    raw = [struct.pack("<q", array.size) + array.tobytes() for array in storages.values()]
    return b"".join([*head, state, keys, *raw])


def _floats(n: int) -> np.ndarray:
    return np.arange(n, dtype="<f4") / 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_floats_and_counters_are_read(path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype("<f4")
    state = _state(
        weight=_tensor("1", "FloatStorage", 12, 0, (4, 3), (3, 1)), steps=_tensor("2", "LongStorage", 1, 0, (), ())
    )
    path.write_bytes(_file(state, {"1": weight, "2": np.array([2**40], "<i8")}))
    found = read_torch_weights(path)
    assert list(found) == ["weight", "steps"]
    assert found["weight"].dtype == np.float32
    np.testing.assert_array_equal(found["weight"], weight)
    assert (found["steps"].dtype, found["steps"].shape, int(found["steps"])) == (np.dtype(np.int64), (), 2**40)


def test_the_order_of_the_storages_is_that_of_the_keys(path: Path) -> None:
    state = _state(a=_tensor("10", "FloatStorage", 2, 0, (2,), (1,)), b=_tensor("9", "LongStorage", 3, 0, (3,), (1,)))
    path.write_bytes(_file(state, {"9": np.array([7, 8, 9], "<i8"), "10": np.array([1, 2], "<f4")}))
    found = read_torch_weights(path)
    assert found["a"].tolist() == [1, 2]
    assert found["b"].tolist() == [7, 8, 9]


def test_strides_and_offset_are_followed(path: Path) -> None:
    state = _state(
        transposed=_tensor("1", "FloatStorage", 12, 0, (3, 4), (1, 3)),
        column=_tensor("1", "FloatStorage", 12, 2, (4,), (3,)),
        last=_tensor("1", "FloatStorage", 12, 11, (1,), (1,)),
        repeated=_tensor("1", "FloatStorage", 12, 5, (2, 2), (0, 1)),
        empty=_tensor("1", "FloatStorage", 12, 0, (0, 4), (4, 1)),
    )
    path.write_bytes(_file(state, {"1": _floats(12)}))
    found = read_torch_weights(path)
    whole = _floats(12).reshape(4, 3)
    np.testing.assert_array_equal(found["transposed"], whole.T)
    np.testing.assert_array_equal(found["column"], whole[:, 2])
    assert found["last"].tolist() == [2.75]
    assert found["repeated"].tolist() == [[1.25, 1.5], [1.25, 1.5]]
    assert found["empty"].shape == (0, 4)


def test_tensors_of_one_storage_are_copies_of_their_own(path: Path) -> None:
    state = _state(a=_tensor("1", "FloatStorage", 4, 0, (4,), (1,)), b=_tensor("1", "FloatStorage", 4, 2, (2,), (1,)))
    path.write_bytes(_file(state, {"1": _floats(4)}))
    found = read_torch_weights(path)
    found["a"][:] = 100
    assert found["b"].tolist() == [0.5, 0.75]


# Names that a pickle must not have. Each payload would make a file if it ran.


def _reduce(module: str, name: str, argument: str) -> bytes:
    return b"\x80\x02" + _name(module, name) + b"(" + _plain(argument) + b"tR."


def _stack_global(module: str, name: str, argument: str) -> bytes:
    """The same call in protocol 4, where names come from the stack."""
    return b"\x80\x04" + _plain(module) + _plain(name) + b"\x93(" + _plain(argument) + b"tR."


def _old_instance(module: str, name: str, argument: str) -> bytes:
    """The same call by INST, which has its name in the opcode."""
    return b"(" + _plain(argument) + f"i{module}\n{name}\n.".encode()


_CALLS = [_reduce, _stack_global, _old_instance]
_NAMES = [
    ("os", "system", "touch {}"),
    ("posix", "system", "touch {}"),
    ("subprocess", "getoutput", "touch {}"),
    ("builtins", "eval", "open({!r}, 'w')"),
    ("builtins", "exec", "open({!r}, 'w')"),
    ("__builtin__", "eval", "open({!r}, 'w')"),
    ("os", "mkdir", "{}"),
    ("torch", "load", "{}"),
    ("torch", "DoubleStorage", "{}"),
    ("torch._utils", "_rebuild_parameter", "{}"),
    ("numpy.core.multiarray", "_reconstruct", "{}"),
    ("numpy", "load", "{}"),
    ("collections", "Counter", "{}"),
    ("collections", "OrderedDict.fromkeys", "{}"),
    ("indexer.backbone.torch_weights", "read_torch_weights", "{}"),
]


def test_the_payloads_are_dangerous_to_a_plain_unpickler(tmp_path: Path) -> None:
    """Or the tests below would prove nothing."""
    for number, call in enumerate(_CALLS):
        trace = tmp_path / str(number)
        pickle.loads(call("os", "mkdir", str(trace)))
        assert trace.exists()


@pytest.mark.parametrize("call", _CALLS)
@pytest.mark.parametrize(("module", "name", "argument"), _NAMES)
def test_another_name_is_refused_and_never_called(path: Path, call: Any, module: str, name: str, argument: str) -> None:
    trace = path.with_name("trace")
    payload = call(module, name, argument.format(str(trace)))
    path.write_bytes(_file(payload, {}))
    with pytest.raises(WeightsError, match=f"it names {module}.{name}, which a file of weights does not need"):
        read_torch_weights(path)
    assert not trace.exists()


@pytest.mark.parametrize("place", ["magic", "version", "system", "state", "keys"])
def test_every_pickle_of_the_file_is_guarded(path: Path, place: str) -> None:
    trace = path.with_name("trace")
    payload = _reduce("os", "mkdir", str(trace))
    parts = {
        "magic": pickle.dumps(_MAGIC, 2),
        "version": pickle.dumps(_VERSION, 2),
        "system": pickle.dumps(_SYSTEM, 2),
        "state": _state(),
        "keys": pickle.dumps([], 2),
    }
    path.write_bytes(b"".join(parts.values()))
    assert read_torch_weights(path) == {}
    path.write_bytes(b"".join({**parts, place: payload}.values()))
    with pytest.raises(WeightsError, match=r"it names os\.mkdir"):
        read_torch_weights(path)
    assert not trace.exists()


def test_a_name_inside_a_value_is_refused(path: Path) -> None:
    trace = path.with_name("trace")
    inner = _name("os", "mkdir") + b"(" + _plain(str(trace)) + b"tR"
    system = b"\x80\x02}" + _plain("type_sizes") + b"}" + _plain("short") + inner + b"ss."
    path.write_bytes(_file(_state(), {}, system=system))
    with pytest.raises(WeightsError, match=r"it names os\.mkdir"):
        read_torch_weights(path)
    path.write_bytes(_file(_state(a=inner), {}))
    with pytest.raises(WeightsError, match=r"it names os\.mkdir"):
        read_torch_weights(path)
    assert not trace.exists()


def test_a_reference_to_something_else_than_a_storage_is_refused(path: Path) -> None:
    state = b"\x80\x02(" + _plain("module") + _name("torch", "FloatStorage") + _plain("1") + b"NK\x01NtQ."
    path.write_bytes(_file(state, {}))
    with pytest.raises(WeightsError, match="it refers to a 'module'; expected only storages"):
        read_torch_weights(path)


# Damage


@pytest.fixture
def good() -> bytes:
    return _file(_state(a=_tensor("1", "FloatStorage", 4, 0, (4,), (1,))), {"1": _floats(4)})


def test_a_truncated_file_is_refused_wherever_it_ends(path: Path, good: bytes) -> None:
    path.write_bytes(good)
    assert read_torch_weights(path)["a"].tolist() == [0, 0.25, 0.5, 0.75]
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(WeightsError, match=r"weights\.pth"):
            read_torch_weights(path)


def test_bytes_after_the_end_are_refused(path: Path, good: bytes) -> None:
    path.write_bytes(good + b"\0")
    with pytest.raises(WeightsError, match="it continues after the last storage"):
        read_torch_weights(path)


@pytest.mark.parametrize(("magic", "version"), [(_MAGIC + 1, _VERSION), (_MAGIC, 1002), (None, _VERSION)])
def test_another_format_is_refused(path: Path, magic: Any, version: int) -> None:
    path.write_bytes(_file(_state(), {}, magic, version))
    with pytest.raises(WeightsError, match="its magic number and version are"):
        read_torch_weights(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 the zip format", b"plain text\n", b"\x89HDF\r\n\x1a\n", bytes(64)]
)
def test_a_file_of_another_kind_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pth is (rejected|not a legacy PyTorch state dict)"):
        read_torch_weights(path)


@pytest.mark.parametrize("wrong", ["gone.pth", "."])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(WeightsError, match=r"can't be read: (No such file or directory|Is a directory)"):
        read_torch_weights(tmp_path / wrong)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (4,), (1,)),
        (-1, (2,), (1,)),
        (4, (1,), (1,)),
        (0, (5,), (1,)),
        (0, (2, 2), (3, 1)),
        (3, (2,), (-1,)),
        (0, (2,), (2**40,)),
    ],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    path.write_bytes(_file(_state(a=_tensor("1", "FloatStorage", 4, offset, shape, strides)), {"1": _floats(4)}))
    with pytest.raises(WeightsError, match="reaches outside its storage"):
        read_torch_weights(path)


def test_a_tensor_with_more_sizes_than_strides_is_refused(path: Path) -> None:
    path.write_bytes(_file(_state(a=_tensor("1", "FloatStorage", 4, 0, (2, 2), (1,))), {"1": _floats(4)}))
    with pytest.raises(WeightsError, match="is not a legacy PyTorch state dict"):
        read_torch_weights(path)


def test_a_storage_of_another_length_is_refused(path: Path) -> None:
    path.write_bytes(_file(_state(a=_tensor("1", "FloatStorage", 4, 0, (4,), (1,))), {"1": _floats(3)}))
    with pytest.raises(WeightsError, match="a storage has 3 elements and 12 bytes; expected 4 elements"):
        read_torch_weights(path)


def test_a_storage_that_gives_another_length_than_it_has_is_refused(path: Path, good: bytes) -> None:
    at = good.rindex(struct.pack("<q", 4))
    path.write_bytes(good[:at] + struct.pack("<q", 5) + good[at + 8 :])
    with pytest.raises(WeightsError, match="a storage has 5 elements and 16 bytes; expected 4 elements"):
        read_torch_weights(path)


def test_a_storage_that_is_not_there_is_refused(path: Path) -> None:
    path.write_bytes(_file(_state(a=_tensor("1", "FloatStorage", 4, 0, (4,), (1,))), {}))
    with pytest.raises(WeightsError, match="is not a legacy PyTorch state dict"):
        read_torch_weights(path)
