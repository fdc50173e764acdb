"""Tensors of torch and JAX through to_host: values, types, read-only views, refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from refimpl import backend as B

NARROW = ["bfloat16", "float8_e4m3fn", "float8_e5m2"]
PLAIN = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"]
VALUES = [0.0, 1.0, -1.5, 0.375]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def jnp():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("jax.numpy")


@pytest.mark.parametrize("name", PLAIN)
def test_torch_is_viewed_and_not_writeable(torch, name):
    tensor = torch.tensor(VALUES).to(getattr(torch, name))
    host = B.to_host(tensor)
    assert type(host) is np.ndarray
    assert host.dtype == name == B.dtype_name(tensor)
    assert_array_equal(host, tensor.tolist())
    assert not host.flags.writeable
    tensor[0] = 1
    assert host[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        host[0] = 0


@pytest.mark.parametrize("name", NARROW)
def test_torch_narrow_types_widen_exactly(torch, name):
    tensor = torch.tensor(VALUES).to(getattr(torch, name))
    assert B.dtype_name(tensor) == name
    assert B.to_host(tensor).dtype == np.float32
    assert_array_equal(B.to_host(tensor), VALUES)


def test_torch_gradients_conjugates_and_strides(torch):
    tracked = torch.ones(2, 3, requires_grad=True)
    assert_array_equal(B.to_host(tracked * 2), np.full((2, 3), 2))
    lazy = torch.tensor([1 + 2j]).conj()
    assert_array_equal(B.to_host(lazy), [1 - 2j])
    assert_array_equal(B.to_host(torch.tensor([1 + 2j]).conj().imag), [-2])
    expanded = torch.tensor([[1.0], [2.0]]).expand(2, 3)
    assert_array_equal(B.to_host(expanded.T), [[1, 2]] * 3)
    assert B.to_host(torch.zeros(0, 3)).shape == (0, 3)


def test_torch_without_plain_values_is_refused(torch):
    for tensor in (torch.eye(2).to_sparse(), torch.zeros(2, device="meta")):
        with pytest.raises(TypeError):
            B.to_host(tensor)


@pytest.mark.parametrize("name", ["float16", "float32", "int8", "int32", "uint8", "bool"])
def test_jax_is_viewed(jnp, name):
    array = jnp.asarray(VALUES).astype(name)
    host = B.to_host(array)
    assert host.dtype == name == B.dtype_name(array)
    assert_array_equal(host, np.asarray(array))
    assert not host.flags.writeable


@pytest.mark.parametrize("name", NARROW)
def test_jax_narrow_types_widen_exactly(jnp, name):
    array = jnp.asarray(VALUES).astype(name)
    assert B.dtype_name(array) == name
    assert B.to_host(array).dtype == np.float32
    assert_array_equal(B.to_host(array), VALUES)


def test_numpy_with_ml_dtypes_widens():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array(VALUES).astype(ml_dtypes.bfloat16)
    assert B.dtype_name(array) == "bfloat16"
    assert B.to_host(array).dtype == np.float32
    assert_array_equal(B.to_host(array), VALUES)


def test_any_producer_is_viewed():
    class Producer:
        dtype = np.dtype("float32")

        def __init__(self):
            self.array = np.arange(3, dtype="float32")

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    assert_array_equal(B.to_host(Producer()), [0, 1, 2])


def test_foreign_tensors_never_enter_a_formula_unasked(torch, jnp):
    for tensor in (torch.ones(2), jnp.ones(2), torch.tensor(1.0)):
        assert not B.is_array(tensor)
        with pytest.raises(TypeError, match="refimpl.backend.to_host"):
            B.as_array(tensor)
        with pytest.raises(TypeError, match="refimpl.backend.to_host"):
            B.like(tensor, np.ones(1))
