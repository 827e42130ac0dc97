"""Several requests in one inference: what is joined, how it is split, what stays alone."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.batching import Batcher
from engineroom.joining import NoRowsError, Padding, signature, split
from engineroom.service import Service
from engineroom.values import TensorSpec


class Doubler(Service):
    """Doubles; counts what its inference was given, and refuses a batch with a 13 in it."""

    def __init__(self):
        self.given = []

    def _preprocess(self, data):
        return {name: np.asarray(value) for name, value in data.items()}

    def _inference(self, data):
        self.given.append({name: value.shape for name, value in data.items()})
        if any((value == 13).any() for value in data.values()):
            raise RuntimeError("unlucky")
        return {name: value * 2 for name, value in data.items()}

    def _postprocess(self, data):
        return {name: value.tolist() for name, value in data.items()}


def test_requests_that_fit_share_one_inference_and_each_gets_its_own_rows():
    service = Doubler()
    members = Batcher(service, 16).run([{"a": [[1.0]]}, {"a": [[2.0], [3.0]]}, {"a": [[4.0]]}])
    assert [member.value for member in members] == [
        {"a": [[2.0]]}, {"a": [[4.0], [6.0]]}, {"a": [[8.0]]}
    ]  # fmt: skip
    assert service.given == [{"a": (4, 1)}]
    assert [member.shared_with for member in members] == [3, 3, 3]
    assert [len(member.times) for member in members] == [3, 3, 3]


@pytest.mark.parametrize(
    "other",
    [{"b": [[1.0]]}, {"a": [[1]]}, {"a": [[1.0, 2.0]]}, {"a": [1.0]}, {"a": [[1.0]], "b": [[1.0]]}],
    ids=["other name", "other dtype", "other size", "other rank", "one more"],
)
def test_a_request_that_does_not_fit_has_an_inference_of_its_own(other):
    service = Doubler()
    members = Batcher(service, 16).run([{"a": [[1.0]]}, other, {"a": [[5.0]]}])
    assert [member.shared_with for member in members] == [2, 1, 2]
    assert members[2].value == {"a": [[10.0]]}
    assert not any(member.error for member in members)


def test_what_has_no_rows_or_rows_of_several_counts_is_run_alone():
    assert signature({"a": np.float32(1)}) is None
    assert signature({"a": np.ones((2, 1)), "b": np.ones((3, 1))}) is None
    assert signature({"a": "text"}) is None
    assert signature([np.ones(1)]) is None
    assert signature({}) is None


def test_a_run_has_no_more_rows_than_allowed_unless_one_request_has():
    service = Doubler()
    requests = [{"a": np.ones((rows, 1))} for rows in (2, 2, 1, 7, 4)]
    Batcher(service, 4).run(requests)
    assert [given["a"][0] for given in service.given] == [4, 1, 7, 4]


@pytest.mark.parametrize("bad", [0, 1, 4, 7])
def test_the_one_request_that_breaks_its_batch_fails_alone(bad):
    requests = [{"a": [[float(i)]]} for i in range(8)]
    requests[bad] = {"a": [[13.0]]}
    members = Batcher(Doubler(), 16).run(requests)
    assert [i for i, member in enumerate(members) if member.error] == [bad]
    assert str(members[bad].error) == "unlucky"
    good = [member.value["a"] for i, member in enumerate(members) if i != bad]
    assert good == [[[2.0 * i]] for i in range(8) if i != bad]


def test_a_request_that_fails_in_another_step_does_not_reach_the_batch():
    service = Doubler()
    members = Batcher(service, 16).run([{"a": [[1.0]]}, {"a": [[1.0], [2.0, 3.0]]}])
    assert isinstance(members[1].error, ValueError)
    assert members[0].value == {"a": [[2.0]]}
    assert service.given == [{"a": (1, 1)}]


def test_a_run_is_filled_up_to_a_size_that_the_model_was_made_for_and_cut_back():
    service = Doubler()
    members = Batcher(service, 16, sizes=[8, 1, 4]).run([{"a": [[float(i)]]} for i in range(3)])
    assert service.given == [{"a": (4, 1)}]
    assert [member.value["a"] for member in members] == [[[0.0]], [[2.0]], [[4.0]]]


def test_an_output_without_rows_ends_the_sharing_and_loses_no_answer(caplog):
    class Mean(Doubler):
        def _inference(self, data):
            self.given.append({name: value.shape for name, value in data.items()})
            return {name: value.mean(axis=0) for name, value in data.items()}

    service = Mean()
    batcher = Batcher(service, 16)
    for _ in range(2):
        members = batcher.run([{"a": [[1.0, 2, 3]]}, {"a": [[4.0, 5, 6]]}])
        assert [m.value["a"] for m in members] == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert [given["a"][0] for given in service.given] == [2, 1, 1, 1, 1]
    assert 'output "a": expected 2 rows for 2 rows of input, got 3' in caplog.text


def test_a_bare_output_is_split_too():
    assert split([1, 2, 3], [1, 2], 3) == [[1], [2, 3]]
    with pytest.raises(NoRowsError, match="the output: expected 3 rows"):
        split(7, [1, 2], 3)


rows = st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["a", "b"])), min_size=1, max_size=20)


@given(
    rows, st.integers(1, 16), st.lists(st.integers(1, 20), max_size=3), st.sets(st.integers(0, 19))
)
def test_every_request_gets_exactly_its_own_rows_whatever_is_joined(shapes, most, sizes, bad):
    requests = [
        {name: np.full((count, 2), 13.0 if i in bad else 100.0 + i)}
        for i, (count, name) in enumerate(shapes)
    ]
    members = Batcher(Doubler(), most, sizes=sizes).run(requests)
    assert len(members) == len(requests)
    for i, ((count, name), member) in enumerate(zip(shapes, members, strict=True)):
        if i in bad:
            assert str(member.error) == "unlucky"
        else:
            assert member.value == {name: [[200.0 + 2 * i] * 2] * count}


def test_a_step_that_ends_the_interpreter_ends_its_own_request_only():
    class Leaves(Doubler):
        def _preprocess(self, data):
            if data["a"] == [[7.0]]:
                raise SystemExit(1)
            return super()._preprocess(data)

    members = Batcher(Leaves(), 16).run([{"a": [[7.0]]}, {"a": [[1.0]]}])
    assert isinstance(members[0].error, SystemExit)
    assert members[1].value == {"a": [[2.0]]}


def test_the_seconds_of_a_shared_run_are_those_of_the_whole_run():
    class Slow(Doubler):
        def _inference(self, data):
            time.sleep(0.02)
            return super()._inference(data)

    members = Batcher(Slow(), 16).run([{"a": [[1.0]]}, {"a": [[2.0]]}])
    assert all(member.times[1] >= 0.02 for member in members)


def test_inputs_of_other_sizes_are_padded_where_the_script_says_so_and_outputs_cut_back():
    shape = ("N", "length")
    specs = [TensorSpec("ids", shape, "int64"), TensorSpec("mask", shape, "int64")]
    outputs = [TensorSpec("ids", shape, "int64"), TensorSpec("mask", ("N", None), "int64")]
    service = Doubler()
    padding = Padding({"ids": 9, "mask": 0}, specs, outputs)
    members = Batcher(service, 16, padding=padding).run(
        [{"ids": [[1, 2, 3]], "mask": [[1, 1, 1]]}, {"ids": [[4]], "mask": [[1]]}]
    )
    assert service.given == [{"ids": (2, 3), "mask": (2, 3)}]
    assert [member.value["ids"] for member in members] == [[[2, 4, 6]], [[8]]]
    assert members[1].value["mask"] == [[2, 0, 0]], "its dimension has no name"


def test_without_padding_inputs_of_other_sizes_are_not_joined():
    members = Batcher(Doubler(), 16).run([{"a": [[1, 2]]}, {"a": [[1]]}])
    assert [member.shared_with for member in members] == [1, 1]
