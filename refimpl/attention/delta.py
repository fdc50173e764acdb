"""The delta rule: linear attention that replaces what its state holds for a key."""

from __future__ import annotations

from refimpl.attention.softmax import scale_of
from refimpl.backend import namespace, solve_triangular
from refimpl.core import broadcast_shape
from refimpl.formula import formula
from refimpl.formula.options import Count


@formula(
    "(n,d),(n,d),(n,v),(n)->(n,v),(d,v)",
    keywords={"log_decay": "(n)", "scale": "()", "state": "(d,v)"},
    source="Schlag et al. 2021 (arXiv:2102.11174), eq. 24; Yang et al. 2024 (arXiv:2412.06464)",
)
def delta_rule(q, k, v, beta, /, *, log_decay=None, scale=None, state=None):
    r"""The (gated) delta rule: each position moves the state's answer for its key to its value.

    Formula
    -------
    .. math:: \hat S_i = e^{g_i} S_{i-1}, \qquad
        S_i = \hat S_i + \beta_i k_i (v_i - \hat S_i^T k_i)^T
        = (I - \beta_i k_i k_i^T) \hat S_i + \beta_i k_i v_i^T, \qquad o_i = \tau\, S_i^T q_i

    ``form="chunked"`` solves for the corrections of a whole chunk at once. With
    :math:`c_i = g_1 + \ldots + g_i`, :math:`\Gamma_{ij} = e^{c_i - c_j}` and
    :math:`M = \operatorname{tril}(\operatorname{diag}(\beta) K K^T \circ \Gamma, -1)`,

    .. math:: (I + M)\, E = \operatorname{diag}(\beta) (V - e^{c} K S_0), \quad
        O = \tau \bigl[ e^{c} Q S_0 + \operatorname{tril}(Q K^T \circ \Gamma) E \bigr], \quad
        S = e^{c_C} S_0 + (e^{c_C - c} K)^T E

    Parameters
    ----------
    q, k : (..., n, d) queries and keys, keys usually of length 1; v : (..., n, v) values.
    beta : (..., n) how much is replaced: 0 nothing, 1 all (for keys of length 1).
    log_decay : (..., n), optional. g; without it nothing decays.
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
    The state decays before the error is formed, as in fla and the paper (fla issue 885). Keys are
    not normalised here; fla normalises outside too, or with ``use_qk_l2norm_in_kernel``.

    Breaks when
    -----------
    It is stable where |1 - beta |k|^2| <= 1.

    References
    ----------
    Schlag et al. 2021 (arXiv:2102.11174); Yang et al. 2024 (arXiv:2406.06484, chunks;
    arXiv:2412.06464, gates).

    Examples
    --------
    >>> import refimpl
    >>> x = [[1.0], [1.0]]
    >>> refimpl.delta_rule(x, x, [[3.0], [5.0]], [1.0, 0.5])
    (array([[3.],
           [4.]]), array([[4.]]))
    """
    xp = namespace(q)
    state, queries, decay = _start(q, k, v, beta, log_decay, scale, state)
    outputs = []
    for i in range(q.shape[-2]):
        key, state = k[..., i, :, None], decay[..., i, None, None] * state
        error = v[..., i, None, :] - key.swapaxes(-1, -2) @ state
        state = state + (beta[..., i, None, None] * key) * error
        outputs.append((queries[..., i, None, :] @ state)[..., 0, :])
    return (xp.stack(outputs, axis=-2) if outputs else queries @ state), state


def _start(q, k, v, beta, log_decay, scale, state):
    """The first state with all leading axes, scaled queries, and the decays (..., n)."""
    xp = namespace(q)
    decay = xp.ones((q.shape[-2],), dtype=q.dtype) if log_decay is None else xp.exp(log_decay)
    given = [x.shape[:-2] for x in (q, k, v, state) if x is not None]
    given += [x.shape[:-1] for x in (beta, decay)]
    batch = broadcast_shape([*given, () if scale is None else scale.shape])
    zeros = xp.zeros((*batch, q.shape[-1], v.shape[-1]), dtype=q.dtype)
    return (zeros if state is None else zeros + state), q * scale_of(q, scale), decay


@delta_rule.form("chunked", beyond=lambda bound: bound.axes["n"] > 32)
def chunked_delta_rule(
    q, k, v, beta, /, *, log_decay=None, scale=None, state=None, chunk: Count = 32
):
    """One triangular solve for the corrections of each chunk."""
    xp = namespace(q)
    state, queries, _ = _start(q, k, v, beta, log_decay, scale, state)
    if log_decay is None:
        log_decay = xp.zeros((q.shape[-2],), dtype=q.dtype)
    outputs = []
    for start in range(0, q.shape[-2], chunk):
        part = slice(start, min(start + chunk, q.shape[-2]))
        total = xp.cumsum(log_decay[..., part], axis=-1)
        outputs_of_part, state = _chunk(
            queries[..., part, :], k[..., part, :], v[..., part, :], beta[..., part], total, state
        )
        outputs.append(outputs_of_part)
    return (xp.concatenate(outputs, axis=-2) if outputs else queries @ state), state


def _chunk(queries, keys, values, beta, total, state):
    xp = namespace(queries)
    n = queries.shape[-2]
    place = xp.arange(n)
    seen = place[:, None] >= place
    # Differences before exponentials: exp(c_i) exp(-c_j) overflows.
    decay = xp.exp(xp.where(seen, total[..., :, None] - total[..., None, :], -xp.inf))
    products = (keys @ keys.swapaxes(-1, -2)) * decay * beta[..., None]
    system = xp.tril(products, -1) + xp.eye(n, dtype=queries.dtype)
    grown = xp.exp(total)[..., None]
    errors = beta[..., None] * (values - grown * (keys @ state))
    errors = solve_triangular(system, errors)
    pairs = (queries @ keys.swapaxes(-1, -2)) * decay
    output = grown * (queries @ state) + pairs @ errors
    last = total[..., -1:]
    kept = keys * xp.exp(last - total)[..., None]
    return output, xp.exp(last)[..., None] * state + kept.swapaxes(-1, -2) @ errors


@delta_rule.defvjp
def delta_rule_vjp(g, q, k, v, beta, /, *, log_decay=None, scale=None, state=None):
    """States and errors forwards; then backwards through the write, the error and the decay."""
    xp = namespace(q)
    g_output, dstate = g
    state, queries, decay = _start(q, k, v, beta, log_decay, scale, state)
    decayed, errors, states = [], [], []
    for i in range(q.shape[-2]):
        key, before = k[..., i, :, None], decay[..., i, None, None] * state
        errors.append(v[..., i, None, :] - key.swapaxes(-1, -2) @ before)
        state = before + (beta[..., i, None, None] * key) * errors[-1]
        decayed.append(before)
        states.append(state)
    dq, dk, dv, dbeta, dlog_decay = [], [], [], [], []
    for i in reversed(range(q.shape[-2])):
        dread, key, error = g_output[..., i, None, :], k[..., i, :, None], errors[i]
        dq.append((states[i] @ dread.swapaxes(-1, -2))[..., 0])
        dstate = dstate + queries[..., i, :, None] * dread
        strength = beta[..., i, None, None]
        written = key.swapaxes(-1, -2) @ dstate
        derror = strength * written
        dbeta.append((written * error).sum(axis=(-1, -2)))
        dkey = strength * (dstate @ error.swapaxes(-1, -2))
        dk.append((dkey - decayed[i] @ derror.swapaxes(-1, -2))[..., 0])
        dv.append(derror[..., 0, :])
        dstate = dstate - key * derror
        dlog_decay.append((dstate * decayed[i]).sum(axis=(-1, -2)))
        dstate = decay[..., i, None, None] * dstate
    if not dq:
        return 0 * q, 0 * k, 0 * v, 0 * beta, 0 * decay, (0 * q).sum(axis=(-1, -2)), dstate
    dq, dk, dv = (xp.stack(x[::-1], axis=-2) for x in (dq, dk, dv))
    dbeta, dlog_decay = (xp.stack(x[::-1], axis=-1) for x in (dbeta, dlog_decay))
    dscale = (dq * q).sum(axis=(-1, -2))
    return scale_of(q, scale) * dq, dk, dv, dbeta, dlog_decay, dscale, dstate
