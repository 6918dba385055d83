"""Every kernel is its plain cell: random sizes, resets, truncation, gradients from outside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmsuite.nn.cells import PLAIN_CELLS
from lmsuite.nn.kernels import CELLS
from lmsuite.nn.parameter import Parameters

SIZES = st.tuples(*[st.integers(1, n) for n in (9, 5, 24)])  # T, B, H


@pytest.mark.parametrize("kind", PLAIN_CELLS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
@given(
    sizes=SIZES,
    resets=st.sampled_from([None, 0.0, 0.3]),
    truncated=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_a_kernel_is_its_plain_cell(
    kind: str,
    dtype: type,
    tolerance: float,
    sizes: tuple[int, int, int],
    resets: float | None,
    truncated: bool,
    seed: int,
) -> None:
    """Outputs and all gradients, each to the tolerance times the largest number of its array."""
    T, B, H = sizes
    rng = np.random.default_rng(seed)
    plain_class, kernel_class = PLAIN_CELLS[kind], CELLS[kind]
    assert kernel_class.forward is not plain_class.forward
    parameters = Parameters(plain_class.shapes("cell", 2, H), dtype)
    plain, kernel = plain_class(parameters, "cell"), kernel_class(parameters, "cell")
    parameters.values[...] = rng.normal(0, H**-0.5, len(parameters))
    drive, state, d_hidden, d_final = (
        rng.normal(0, 1, shape).astype(dtype)
        for shape in (
            (T, plain.gates, B, H),
            (plain.states, B, H),
            (T, B, H),
            (plain.states, B, H),
        )
    )
    is_reset = None if resets is None else rng.random((T, B)) < resets
    results = []
    for cell in (plain, kernel):
        parameters.gradients[...] = np.nan
        hidden, final, cache = cell.forward(drive.copy(), state, is_reset)
        result = [hidden.copy(), final]
        result += cell.backward(d_hidden, None if truncated else d_final, cache)
        result += [cell.d_Wh.copy()] + ([cell.d_b_q.copy()] if kind == "gru" else [])
        results.append(result)
    for definition, tuned in zip(*results, strict=True):
        assert tuned.dtype == dtype and definition.dtype == dtype
        largest = max(1.0, float(np.abs(definition).max()))
        np.testing.assert_allclose(tuned, definition, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("kind", PLAIN_CELLS)
def test_a_step_of_a_kernel_is_a_step_of_its_plain_cell(kind: str) -> None:
    rng = np.random.default_rng(1)
    parameters = Parameters(PLAIN_CELLS[kind].shapes("cell", 2, 6), np.float64)
    parameters.values[...] = rng.normal(size=len(parameters))
    cell = CELLS[kind](parameters, "cell")
    drive, recurrent = rng.normal(size=(2, cell.gates, 3, 6))
    state = rng.normal(size=(cell.states, 3, 6))
    expected, _ = PLAIN_CELLS[kind](parameters, "cell").step(drive, recurrent, state)
    after = np.empty_like(state)
    cell.advance(drive, recurrent, state, after)
    np.testing.assert_allclose(after, expected, rtol=1e-12, atol=1e-14)
