"""Linear attention whose state forgets: gated linear attention, retention, state-space duality."""

from __future__ import annotations

from refimpl.attention.softmax import scale_of
from refimpl.backend import namespace
from refimpl.core import broadcast_shape
from refimpl.formula import formula
from refimpl.formula.options import Count


@formula(
    "(n,d),(n,d),(n,v),(n,d|1)->(n,v),(d,v)",
    keywords={"scale": "()", "state": "(d,v)"},
    source="Yang et al. 2023 (arXiv:2312.06635), eq. 3",
)
def gated_linear_attention(q, k, v, log_decay, /, *, scale=None, state=None):
    r"""Causal linear attention with a state that decays, by feature or as a whole.

    Formula
    -------
    .. math:: S_i = \operatorname{diag}(e^{g_i})\, S_{i-1} + k_i v_i^T, \qquad
        o_i = \tau\, S_i^T q_i

    With the sums :math:`c_i = g_1 + \ldots + g_i` this is (``form="parallel"``)

    .. math:: o_i = \tau \sum_{j \le i} \Bigl(\sum_a q_{ia} k_{ja} e^{c_{ia} - c_{ja}}\Bigr) v_j

    where only differences are exponentiated: none is positive for a decay. ``form="chunked"`` uses
    it within chunks, and the state between them.

    Parameters
    ----------
    q, k : (..., n, d) queries and keys; v : (..., n, v) values. Heads are a leading axis.
    log_decay : (..., n, d or 1). g, natural logarithm of what is kept; 0 keeps all.
    scale : number or (...,), default 1/sqrt(d). :math:`\tau`.
    state : (..., d, v), optional. S before the first position; 0 by default.

    Returns
    -------
    output (..., n, v), state (..., d, v) after the last position.

    Raises
    ------
    ValueError
        Shapes that do not fit; a chunk below 1.

    Conventions
    -----------
    A position decays the state before it writes, and reads after it has written: the decay of a
    position does not touch its own key. There is no denominator. The scale is that of fla; ONNX
    LinearAttention writes a scale of 0 for this default. fla's chunked code takes the decays before
    beta, its recurrent code after.

    Breaks when
    -----------
    Positive log_decay lets the state grow. Where log_decay is -inf the state is cleared, which the
    parallel and chunked forms do not take (a difference of infinities).

    References
    ----------
    Yang et al. 2023 (arXiv:2312.06635); Katharopoulos et al. 2020 (no decay).

    Examples
    --------
    >>> import refimpl
    >>> import numpy as np
    >>> one = np.ones((2, 1))
    >>> refimpl.gated_linear_attention(one, one, one, np.log(0.5 * one))
    (array([[1. ],
           [1.5]]), array([[1.5]]))
    """
    return _recurrent(q, k, v, log_decay, scale, state)


def _recurrent(q, k, v, log_decay, scale, state):
    xp = namespace(q)
    state = _first_state(q, k, v, log_decay, scale, state)
    queries, decay = q * scale_of(q, scale), xp.exp(log_decay)
    outputs = []
    for i in range(q.shape[-2]):
        state = decay[..., i, :, None] * state + k[..., i, :, None] * v[..., i, None, :]
        outputs.append((queries[..., i, None, :] @ state)[..., 0, :])
    return (xp.stack(outputs, axis=-2) if outputs else queries @ state), state


def _first_state(q, k, v, log_decay, scale, state):
    """A new array (..., d, v) with all leading axes: the given state, or zeros."""
    xp = namespace(q)
    given = [x.shape[:-2] for x in (q, k, v, log_decay, state) if x is not None]
    batch = broadcast_shape([*given, () if scale is None else scale.shape])
    zeros = xp.zeros((*batch, q.shape[-1], v.shape[-1]), dtype=q.dtype)
    return zeros if state is None else zeros + state


def _is_long(bound) -> bool:
    return bound.axes["n"] > 32


@gated_linear_attention.form("chunked", beyond=_is_long)
def chunked_gated_linear_attention(
    q, k, v, log_decay, /, *, scale=None, state=None, chunk: Count = 32
):
    """Within a chunk by pairs of positions, between chunks by the state."""
    xp = namespace(q)
    n = q.shape[-2]
    state, queries = _first_state(q, k, v, log_decay, scale, state), q * scale_of(q, scale)
    outputs = []
    for start in range(0, n, chunk):
        part = slice(start, min(start + chunk, n))
        keys, values = k[..., part, :], v[..., part, :]
        total = xp.cumsum(log_decay[..., part, :], axis=-2)
        pairs = _decayed_products(queries[..., part, :], keys, total)
        outputs.append((queries[..., part, :] * xp.exp(total)) @ state + pairs @ values)
        last = total[..., -1:, :]
        # What is left of each key at the end of the chunk.
        kept = keys * xp.exp(last - total)
        state = xp.exp(last).swapaxes(-1, -2) * state + kept.swapaxes(-1, -2) @ values
    return (xp.concatenate(outputs, axis=-2) if outputs else queries @ state), state


@gated_linear_attention.form("parallel")
def parallel_gated_linear_attention(q, k, v, log_decay, /, *, scale=None, state=None):
    """All pairs of positions at once."""
    chunk = max(q.shape[-2], 1)
    return chunked_gated_linear_attention(q, k, v, log_decay, scale=scale, state=state, chunk=chunk)


def _decayed_products(queries, keys, total):
    """sum_a q_ia k_ja exp(c_ia - c_ja) for j <= i, else 0."""
    xp = namespace(queries)
    n = queries.shape[-2]
    seen = xp.arange(n)[:, None] >= xp.arange(n)
    # Differences before exponentials: exp(c_i) exp(-c_j) overflows.
    gaps = xp.where(seen[..., None], total[..., :, None, :] - total[..., None, :, :], -xp.inf)
    decay = xp.exp(gaps)
    if decay.shape[-1] == 1:
        return (queries @ keys.swapaxes(-1, -2)) * decay[..., 0]
    return (queries[..., :, None, :] * keys[..., None, :, :] * decay).sum(axis=-1)


@gated_linear_attention.defvjp
def gated_linear_attention_vjp(g, q, k, v, log_decay, /, *, scale=None, state=None):
    """The states forwards, then their cotangents backwards: dS_i = tau q_i g_i^T + e^g dS_{i+1}."""
    xp = namespace(q)
    g_output, dstate = g
    factor, decay = scale_of(q, scale), xp.exp(log_decay)
    states = [_first_state(q, k, v, log_decay, scale, state)]
    for i in range(q.shape[-2]):
        written = k[..., i, :, None] * v[..., i, None, :]
        states.append(decay[..., i, :, None] * states[-1] + written)
    dq, dk, dv, dlog_decay = [], [], [], []
    for i in reversed(range(q.shape[-2])):
        dread = g_output[..., i, :]
        dq.append((states[i + 1] @ dread[..., None])[..., 0])
        dstate = dstate + (factor * q[..., i, :, None]) * dread[..., None, :]
        dk.append((dstate @ v[..., i, :, None])[..., 0])
        dv.append((k[..., i, None, :] @ dstate)[..., 0, :])
        dstate = decay[..., i, :, None] * dstate
        forgotten = (dstate * states[i]).sum(axis=-1)
        if log_decay.shape[-1] == 1:
            forgotten = forgotten.sum(axis=-1, keepdims=True)
        dlog_decay.append(forgotten)
    if not dq:
        return 0 * q, 0 * k, 0 * v, 0 * log_decay, (0 * q).sum(axis=(-1, -2)), dstate
    dq, dk, dv, dlog_decay = (xp.stack(x[::-1], axis=-2) for x in (dq, dk, dv, dlog_decay))
    return factor * dq, dk, dv, dlog_decay, (dq * q).sum(axis=(-1, -2)), dstate


@formula(
    "(n,d),(n,d),(n,v),()->(n,v),(d,v)",
    keywords={"scale": "()", "state": "(d,v)"},
    source="Sun et al. 2023 (arXiv:2307.08621), eqs. 3-7",
)
def retention(q, k, v, decay, /, *, scale=None, state=None):
    r"""Retention: linear attention whose state decays by one factor per position and head.

    Formula
    -------
    .. math:: S_i = \gamma S_{i-1} + k_i v_i^T, \qquad o_i = \tau\, S_i^T q_i
        = \tau \sum_{j \le i} \gamma^{i-j} (q_i \cdot k_j)\, v_j

    Parameters
    ----------
    q, k : (..., n, d) queries and keys, rotated already if they are to be; v : (..., n, v) values.
    decay : (...,) :math:`\gamma > 0`; RetNet has 1 - 2^(-5 - h) for heads h = 0, 1, ...
    scale : number or (...,), default 1/sqrt(d). :math:`\tau`.
    state : (..., d, v), optional. S before the first position; 0 by default.

    Returns
    -------
    output (..., n, v), state (..., d, v) after the last position.

    Raises
    ------
    ValueError
        Shapes that do not fit; a decay that is not positive.

    Conventions
    -----------
    The retention itself: RetNet's rotation, division of the rows and group normalisation are left
    to the caller. RetNet scales the keys by 1/sqrt(d), which is the same.

    Breaks when
    -----------
    A parallel form with gamma^i gamma^-j overflows for long sequences; differences of the exponents
    do not.

    References
    ----------
    Sun et al. 2023 (arXiv:2307.08621); cpcp1998/PermuteFormer issue 2 (ratios of powers).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.retention([[1.0], [1.0]], [[1.0], [1.0]], [[1.0], [1.0]], 0.5)
    (array([[1. ],
           [1.5]]), array([[1.5]]))
    """
    return _retained(gated_linear_attention.__wrapped__, q, k, v, decay, scale, state)


def _retained(attend, q, k, v, decay, scale, state):
    return attend(q, k, v, _log_decays(decay, q.shape[-2]), scale=scale, state=state)


def _log_decays(decay, n):
    """log gamma at every position, (..., n, 1)."""
    xp = namespace(decay)
    return xp.log(_positive(decay))[..., None, None] * xp.ones((n, 1), dtype=decay.dtype)


def _positive(decay):
    if not bool((decay > 0).all()):
        raise ValueError("decay: expected positive numbers")
    return decay


@retention.form("textbook")
def retention_textbook(q, k, v, decay, /, *, scale=None, state=None):
    """The recurrence: S = gamma S + k v^T, o = tau S^T q."""
    xp = namespace(q)
    gamma, tau = _positive(decay)[..., None, None], scale_of(q, scale)
    s = xp.zeros((q.shape[-1], v.shape[-1]), dtype=q.dtype) + (0 if state is None else state)
    outputs = []
    for i in range(q.shape[-2]):
        s = gamma * s + k[..., i, :, None] * v[..., i, None, :]
        outputs.append(tau * q[..., i, None, :] @ s)
    return (xp.concatenate(outputs, axis=-2) if outputs else q @ s), s


@retention.form("chunked", beyond=_is_long)
def chunked_retention(q, k, v, decay, /, *, scale=None, state=None):
    """As chunked gated linear attention."""
    return _retained(chunked_gated_linear_attention, q, k, v, decay, scale, state)


@retention.form("parallel")
def parallel_retention(q, k, v, decay, /, *, scale=None, state=None):
    """All pairs of positions at once."""
    return _retained(parallel_gated_linear_attention, q, k, v, decay, scale, state)


@retention.defvjp
def retention_vjp(g, q, k, v, decay, /, *, scale=None, state=None):
    """As gated linear attention; dgamma is the sum of the gradients in log gamma over gamma."""
    log_decay = _log_decays(decay, q.shape[-2])
    found = gated_linear_attention_vjp(g, q, k, v, log_decay, scale=scale, state=state)
    return *found[:3], found[3].sum(axis=(-1, -2)) / decay, *found[4:]


@formula(
    "(n,p),(n),(),(n,s),(n,s)->(n,p),(s,p)",
    keywords={"skip": "()", "state": "(s,p)"},
    source="Dao & Gu 2024 (arXiv:2405.21060), eqs. 1 and 16",
)
def state_space_duality(x, step, rate, b, c, /, *, skip=None, state=None):
    r"""The selective state space of Mamba-2, which is gated linear attention.

    Formula
    -------
    .. math:: H_i = e^{\Delta_i A} H_{i-1} + \Delta_i\, b_i x_i^T, \qquad
        y_i = H_i^T c_i + D x_i

    Parameters
    ----------
    x : (..., n, p) inputs of a head.
    step : (..., n) step sizes :math:`\Delta > 0`, after the softplus.
    rate : (...,) A < 0, one number per head.
    b, c : (..., n, s) input and output maps, shared by the heads of a group.
    skip : number or (...,), optional. D.
    state : (..., s, p), optional. H before the first position; 0 by default.

    Returns
    -------
    output (..., n, p), state (..., s, p) after the last position.

    Raises
    ------
    ValueError
        Shapes that do not fit.

    Conventions
    -----------
    In attention's words c are queries, b keys, :math:`\Delta x` values, :math:`\Delta A` log
    decays, and there is no scale. Mamba's code keeps the state as (p, s), parametrises A as
    -exp(A_log), and its ``ssd_minimal`` takes x and A multiplied by the steps already.

    Breaks when
    -----------
    As :func:`gated_linear_attention`.

    References
    ----------
    Dao & Gu 2024 (arXiv:2405.21060).

    Examples
    --------
    >>> import refimpl
    >>> one = [[1.0], [1.0]]
    >>> output, state = refimpl.state_space_duality(one, [1.0, 1.0], -1.0, one, one)
    >>> output.round(6).tolist(), state.round(6).tolist()
    ([[1.0], [1.367879]], [[1.367879]])
    """
    return _dual(gated_linear_attention.__wrapped__, x, step, rate, b, c, skip, state)


def _dual(attend, x, step, rate, b, c, skip, state):
    one = namespace(x).ones((), dtype=x.dtype)
    arrays = c, b, step[..., None] * x, (step * rate[..., None])[..., None]
    output, state = attend(*arrays, scale=one, state=state)
    return (output if skip is None else output + skip[..., None, None] * x), state


@state_space_duality.form("textbook")
def state_space_duality_textbook(x, step, rate, b, c, /, *, skip=None, state=None):
    """The recurrence: H = exp(step A) H + step b x^T, y = H^T c + D x."""
    xp = namespace(x)
    decay = xp.exp(step * rate[..., None])
    h = xp.zeros((b.shape[-1], x.shape[-1]), dtype=x.dtype) + (0 if state is None else state)
    outputs = []
    for i in range(x.shape[-2]):
        written = b[..., i, :, None] * x[..., i, None, :]
        h = decay[..., i, None, None] * h + step[..., i, None, None] * written
        outputs.append(c[..., i, None, :] @ h)
    y = xp.concatenate(outputs, axis=-2) if outputs else c @ h
    return (y if skip is None else y + skip[..., None, None] * x), h


@state_space_duality.form("chunked", beyond=_is_long)
def chunked_state_space_duality(x, step, rate, b, c, /, *, skip=None, state=None):
    """As chunked gated linear attention."""
    return _dual(chunked_gated_linear_attention, x, step, rate, b, c, skip, state)


@state_space_duality.form("parallel")
def parallel_state_space_duality(x, step, rate, b, c, /, *, skip=None, state=None):
    """The attention with the decay matrix: all pairs of positions at once."""
    return _dual(parallel_gated_linear_attention, x, step, rate, b, c, skip, state)


@state_space_duality.defvjp
def state_space_duality_vjp(g, x, step, rate, b, c, /, *, skip=None, state=None):
    """As gated linear attention, and through the products with the steps."""
    one = namespace(x).ones((), dtype=x.dtype)
    arrays = c, b, step[..., None] * x, (step * rate[..., None])[..., None]
    dc, db, dvalues, dlog, _, dstate = gated_linear_attention_vjp(
        g, *arrays, scale=one, state=state
    )
    dx, dlog = step[..., None] * dvalues, dlog[..., 0]
    dstep = (dvalues * x).sum(axis=-1) + dlog * rate[..., None]
    dskip = None
    if skip is not None:
        dx = dx + skip[..., None, None] * g[0]
        dskip = (g[0] * x).sum(axis=(-1, -2))
    return dx, dstep, (dlog * step).sum(axis=-1), db, dc, dskip, dstate
